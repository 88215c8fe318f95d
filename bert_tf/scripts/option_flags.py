"""Flags with bounds, and flags made of the fields of a class of options."""

from __future__ import annotations

import dataclasses
import re
from typing import Any, TypeVar

from absl import flags

from bert_tf.errors import UserError
from bert_tf.training import settings
from bert_tf.training.settings import MOST_FLOAT, MOST_INTEGER, Setting, wrong_number

FLAGS = flags.FLAGS
# The flags are those of the modules that call the functions here: `--help` sorts by them.
flags.disclaim_key_flags()
T = TypeVar("T")


class _Whole(flags.IntegerParser):
  """A whole number within bounds; absl's own bounds let NaN pass and say less."""

  def __init__(self, least: float, most: float):
    super().__init__()
    self._bounds = least, most

  def parse(self, argument: str | int) -> int:
    return _within(argument, lambda: super(_Whole, self).convert(argument), self._bounds, True)


class _Real(flags.FloatParser):
  def __init__(self, least: float, most: float):
    super().__init__()
    self._bounds = least, most

  def parse(self, argument: str | float) -> float:
    return _within(argument, lambda: super(_Real, self).convert(argument), self._bounds, False)


def _within(argument: Any, convert: Any, bounds: tuple[float, float], whole: bool) -> Any:
  try:
    value = convert()
  except (ValueError, TypeError) as error:
    kind = "whole number" if whole else "number"
    raise ValueError(f"expected a {kind}, found {argument!r}") from error
  if problem := wrong_number(value, *bounds, whole=whole):
    raise ValueError(problem)
  return value


def define_integer(
  name: str, default: int | None, help: str, *, least: float = 0, most: float = MOST_INTEGER
) -> None:
  """Defines a flag for a whole number from `least` to `most`."""
  flags.DEFINE(_Whole(least, most), name, default, help, serializer=flags.ArgumentSerializer())


def define_float(
  name: str, default: float | None, help: str, *, least: float = 0, most: float = MOST_FLOAT
) -> None:
  """Defines a flag for a number from `least` to `most`."""
  flags.DEFINE(_Real(least, most), name, default, help, serializer=flags.ArgumentSerializer())


def define_options(options: type) -> None:
  """Defines a flag for every field that is shared, with its type, default and help."""
  for name, setting, field in _shared(options):
    flag = setting.flag or name
    _define(flag, setting, field)
    if flag != name:
      flags.DEFINE_alias(name, flag)


def _shared(options: type) -> list[tuple[str, Setting, dataclasses.Field]]:
  found = settings.of(options)
  return [(f.name, found[f.name], f) for f in dataclasses.fields(options) if found[f.name].shared]


def _define(flag: str, setting: Setting, field: dataclasses.Field) -> None:
  default: Any = field.default
  if setting.choices:
    flags.DEFINE_enum(flag, default, list(setting.choices), setting.help)
  elif setting.least is not None:
    define = define_integer if field.type == "int" else define_float
    most = MOST_INTEGER if setting.most is None else setting.most
    define(flag, default, setting.help, least=setting.least, most=most)
  elif field.type == "bool":
    flags.DEFINE_bool(flag, default, setting.help)
  elif field.type.startswith("tuple"):
    flags.DEFINE_list(flag, [], setting.help)
  else:
    flags.DEFINE_string(flag, default, setting.help)


def options_of_flags(options: type[T], **given: Any) -> T:
  """The options that the flags say; `given` are the fields without a flag, or with another value.

  Raises:
    UserError: the flags contradict each other.
  """
  said = {
    name: _pair(setting.flag or name) if field.type.startswith("tuple") else FLAGS[name].value
    for name, setting, field in _shared(options)
  }
  return options(**{**said, **given})


def _pair(flag: str) -> tuple[int, int] | None:
  values = FLAGS[flag].value
  if not values:
    return None
  if len(values) != 2 or not all(re.fullmatch(r"\s*\d{1,9}\s*", value) for value in values):
    raise UserError(f"`{flag}`: expected two steps such as 10,20, found {','.join(values)}")
  return int(values[0]), int(values[1])
