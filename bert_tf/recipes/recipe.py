"""What a recipe says."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Mapping

from bert_tf.errors import UserError

# What a recipe needs of its user; as environment variables are called in its commands.
PLACES = {
  "bert": "directory of the pretrained model",
  "data": "directory of the task's files",
  "output": "where everything goes",
}


@dataclasses.dataclass(frozen=True)
class Step:
  """One start of a script.

  Attributes:
    script: such as "run_classifier".
    flags: by name; values may name places: "$data/train.tsv".
  """

  script: str
  flags: Mapping[str, str]

  def words(self, places: Mapping[str, str]) -> list[str]:
    """The flags as on a command line, with the places that are known."""
    return [
      f"--{name}={string.Template(value).safe_substitute(places)}"
      for name, value in self.flags.items()
    ]

  @property
  def places(self) -> set[str]:
    """Those that it names."""
    return {name for name in PLACES for value in self.flags.values() if f"${name}" in value}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """An experiment.

  Attributes:
    name: as `bert-tf recipe` takes it.
    title: what is learnt, from what.
    steps: one after another.
    data: where its files come from, and how they are called.
    paper: that describes it.
    expected: a score that others reported of it; "none published that we know" is one, too.
    source: who reported that.
    cost: what it takes, by whom.
  """

  name: str
  title: str
  steps: tuple[Step, ...]
  data: str
  paper: str
  expected: str
  source: str
  cost: str

  @property
  def places(self) -> list[str]:
    """The places that it needs, in the order of PLACES."""
    return [name for name in PLACES if any(name in step.places for step in self.steps)]

  def check(self, places: Mapping[str, str]) -> None:
    """Raises UserError where a place is not given."""
    if missing := [name for name in self.places if not places.get(name)]:
      named = ", ".join(f"`{name}` ({PLACES[name]})" for name in missing)
      raise UserError(f"expected {named} for the recipe {self.name}, found none; or give `dry_run`")


def step(script: str, **flags: object) -> Step:
  """A step, from flags of any type; True and False become "True" and "False"."""
  return Step(script, {name: str(value) for name, value in flags.items()})
