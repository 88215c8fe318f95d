"""What a search tries: lists and ranges of values of flags, and how they are drawn."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.errors import UserError

# BERT paper, appendix A.3: what worked well on all tasks.
PAPER = {
  "train_batch_size": ("16", "32"),
  "learning_rate": ("5e-5", "3e-5", "2e-5"),
  "num_train_epochs": ("2", "3", "4"),
}
Settings = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Choices:
  """A flag that takes one of some values, as they are written on a command line."""

  values: tuple[str, ...]

  def draw(self, generator: np.random.Generator) -> str:
    """One of them."""
    return self.values[int(generator.integers(len(self.values)))]


@dataclasses.dataclass(frozen=True)
class Range:
  """A flag that takes a number from `least` to `most`.

  Attributes:
    least: the bounds are values, too.
    most: likewise.
    kind: "uniform", "log" (uniform in the logarithm) or "int" (whole numbers).
  """

  least: float
  most: float
  kind: str = "uniform"

  def draw(self, generator: np.random.Generator) -> str:
    """A number, with four digits or whole, as on a command line."""
    if self.kind == "int":
      return str(int(generator.integers(int(self.least), int(self.most), endpoint=True)))
    if self.kind == "log":
      return self.written(math.exp(generator.uniform(math.log(self.least), math.log(self.most))))
    return self.written(generator.uniform(self.least, self.most))

  def written(self, value: float) -> str:
    """A number of the range as a command line has it."""
    if self.kind == "int":
      return str(round(value))
    return f"{min(max(float(f'{value:.4g}'), self.least), self.most):g}"


Space = Mapping[str, Choices | Range]


def choices(text: str) -> tuple[str, Choices]:
  """Reads "learning_rate=2e-5,3e-5".

  Raises:
    UserError: it is not written so.
  """
  name, equals, values = text.partition("=")
  found = tuple(part.strip() for part in values.split(",") if part.strip())
  if not equals or not re.fullmatch(r"\w+", name) or not found:
    raise UserError(
      f"`values`: expected a flag and values such as learning_rate=2e-5,3e-5, found {text!r}"
    )
  if len(set(found)) < len(found):
    raise UserError(f"`values`: expected each value of {name} once, found {values}")
  return name, Choices(found)


def range_of(text: str) -> tuple[str, Range]:
  """Reads "learning_rate=1e-5:1e-4:log", or without "log", or with "int".

  Raises:
    UserError: it is not written so, or the bounds are no bounds.
  """
  name, _, bounds = text.partition("=")
  parts = bounds.split(":")
  try:
    least, most = float(parts[0]), float(parts[1])
    kind = parts[2] if len(parts) > 2 else "uniform"
  except (ValueError, IndexError):
    least, most, kind = 0.0, 0.0, ""
  known = kind in ("uniform", "log", "int") and len(parts) <= 3
  if not known or not -math.inf < least < most < math.inf:
    raise UserError(
      "`range`: expected a flag, two numbers, the smaller one first, and log, int or neither, such"
      f" as learning_rate=1e-5:1e-4:log, found {text!r}"
    )
  if (kind == "log" and least <= 0) or (kind == "int" and (least % 1 or most % 1)):
    raise UserError(f"`range`: expected bounds that suit {kind}, found {text!r}")
  return name, Range(least, most, kind)


def grid(space: Space) -> list[Settings]:
  """All combinations, the last flag's values changing first; raises UserError for a range."""
  lists = []
  for name, values in space.items():
    if not isinstance(values, Choices):
      raise UserError(f"`sampler`: expected random or tpe for the range of {name}, found grid")
    lists.append([(name, value) for value in values.values])
  return [dict(found) for found in itertools.product(*lists)]


def random(space: Space, seed: int, number: int) -> Settings:
  """The settings of trial `number`, which depend on nothing but it and the seed."""
  generator = np.random.default_rng([seed, number])
  return {name: values.draw(generator) for name, values in space.items()}


def value_of(text: str) -> Any:
  """A value of a flag as a number where it is one, for tables and pictures."""
  for kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      continue
  return text


class Tpe:
  """Optuna's tree-structured Parzen estimator: trials where earlier ones scored well."""

  def __init__(self, space: Space, seed: int):
    """Raises UserError where Optuna is not installed, or the space has nothing to estimate."""
    try:
      import optuna
    except ImportError as error:
      raise UserError(
        "`sampler=tpe`: expected Optuna, found none; pip install 'bert_tf[search]'"
      ) from error
    self._optuna, self._space, self._seed = optuna, space, seed
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    self._distributions = {name: self._distribution(values) for name, values in space.items()}

  def _distribution(self, values: Choices | Range) -> Any:
    kinds = self._optuna.distributions
    if isinstance(values, Choices):
      return kinds.CategoricalDistribution(values.values)
    if values.kind == "int":
      return kinds.IntDistribution(int(values.least), int(values.most))
    return kinds.FloatDistribution(values.least, values.most, log=values.kind == "log")

  def ask(self, number: int, scored: Sequence[tuple[Settings, float]]) -> Settings:
    """The settings of trial `number`, given those that have scored.

    The study is made anew each time: what it knows is in the results of the trials, and so a search
    that was killed asks for the same settings again.
    """
    sampler = self._optuna.samplers.TPESampler(seed=self._seed + number, n_startup_trials=5)
    study = self._optuna.create_study(direction="maximize", sampler=sampler)
    for settings, score in scored:
      params = {name: self._known(name, text) for name, text in settings.items()}
      study.add_trial(
        self._optuna.trial.create_trial(
          params=params, distributions=self._distributions, value=score
        )
      )
    asked = study.ask(self._distributions).params
    return {name: self._written(name, value) for name, value in asked.items()}

  def _known(self, name: str, text: str) -> Any:
    values = self._space[name]
    if isinstance(values, Choices):
      return text
    return int(text) if values.kind == "int" else float(text)

  def _written(self, name: str, value: Any) -> str:
    values = self._space[name]
    return value if isinstance(values, Choices) else values.written(value)
