"""Fields of options that say all about themselves: meaning, bounds, flag, weight. No TensorFlow.

What is told here of a field makes its flag, the flag's help, the check of its value and, where
another value makes another run, its place in run_config.json.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

from bert_tf.errors import UserError

# The most that TensorFlow's int32 holds; nobody counts further.
MOST_INTEGER = 2**31 - 1
# A number that is finite, and so is its square in float32.
MOST_FLOAT = 1e18


@dataclasses.dataclass(frozen=True)
class Setting:
  """What there is to know of a field besides name, type and default.

  Attributes:
    help: what it means.
    least: of numbers; the bounds are allowed values.
    most: of numbers.
    choices: the allowed words; none: any.
    flag: the name of its flag; None: the field's own. Where it is another, both are flags.
    shared: whether all scripts that train have the flag; others define it themselves.
    another_run: whether weights come out differently with another value.
  """

  help: str
  least: float | None = None
  most: float | None = None
  choices: tuple[str, ...] = ()
  flag: str | None = None
  shared: bool = True
  another_run: bool = False


def text(help: str, default: Any = None, **more: Any) -> Any:
  """A field that holds a word, a switch or nothing; `more` as in `Setting`."""
  return _field(default, Setting(help, **more))


def number(help: str, default: Any, least: float, most: float | None = None, **more: Any) -> Any:
  """A field that holds a number from `least` to `most`, at first what a whole or other number may
  be at most; `default` may be `dataclasses.MISSING`.
  """
  if most is None:
    most = MOST_FLOAT if isinstance(default, float) else MOST_INTEGER
  return _field(default, Setting(help, least, most, **more))


def _field(default: Any, setting: Setting) -> Any:
  return dataclasses.field(default=default, metadata={"setting": setting})


def of(options: Any) -> dict[str, Setting]:
  """The settings of a class of options, or of options, by the names of their fields."""
  return {field.name: field.metadata["setting"] for field in dataclasses.fields(options)}


def check(options: Any) -> None:
  """Raises UserError where a field holds what its setting does not allow."""
  for field in dataclasses.fields(options):
    setting, value = field.metadata["setting"], getattr(options, field.name)
    if setting.choices:
      check_choice(field.name, value, setting.choices)
    if setting.least is not None:
      check_number(field.name, value, setting.least, setting.most, whole=field.type == "int")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
  """Raises UserError where the setting `name` is none of `choices`."""
  if value not in choices:
    raise UserError(f"`{name}`: expected one of {', '.join(choices)}, found {value!r}")


def check_number(name: str, value: Any, least: float, most: float | None, *, whole: bool) -> None:
  """Raises UserError where the setting `name` is no number, or out of bounds."""
  if problem := wrong_number(value, least, most, whole=whole):
    raise UserError(f"`{name}`: {problem}")


def wrong_number(value: Any, least: float, most: float | None, *, whole: bool) -> str | None:
  """What was expected and found where a value is no number from `least` to `most`."""
  kind: Any = numbers.Integral if whole else numbers.Real
  if isinstance(value, bool) or not isinstance(value, kind):
    return f"expected a {'whole ' if whole else ''}number, found {value!r}"
  # Not `value < least`: that would let a NaN pass.
  if not value >= least:
    return f"expected at least {least:g}, found {value}"
  if most is not None and not value <= most:
    return f"expected at most {most if whole else format(most, 'g')}, found {value}"
  return None
