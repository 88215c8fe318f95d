"""Runs and what came of them, as JSON lines."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer

PLAN_FILE, RESULTS_FILE = "plan.jsonl", "results.jsonl"
FINISHED, FAILED = "finished", "failed"


@dataclasses.dataclass(frozen=True)
class Run:
  """One start of a script.

  Attributes:
    name: of its log and its results.
    script: such as "run_classifier".
    flags: as on a command line, without `output_dir`: "--learning_rate=2e-5".
    directory: its `output_dir`, below that of the plan; several runs that go on with each other
      share one.
    group: what it is one of several of, such as a task over seeds.
    seed: None where it has none of its own.
    settings: by which it differs from others of its group; JSON values.
    metrics: scores in its eval_metrics.json, of which the mean counts; none: the usual one.
    scored: whether it leaves scores at all.
    needs: names of the runs that must have finished before.
  """

  name: str
  script: str
  flags: tuple[str, ...]
  directory: str
  group: str = ""
  seed: int | None = None
  settings: dict[str, Any] = dataclasses.field(default_factory=dict)
  metrics: tuple[str, ...] = ()
  scored: bool = True
  needs: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Result:
  """What came of a run.

  Attributes:
    name: of the run.
    flags: of the run; another start with other flags is another run.
    status: FINISHED or FAILED.
    score: the mean of its `metrics`; None where it has none.
    metrics: all scores that are numbers.
    baseline: the score of always answering the most frequent label, or a constant.
    error: the last words of a process that failed.
    seconds: on the clock, of the start that ended it.
    cpu_seconds: likewise.
    peak_bytes: the most memory of its process.
    driver_bytes: the most memory that the driver has had until then.
  """

  name: str
  flags: tuple[str, ...]
  status: str
  score: float | None = None
  metrics: dict[str, float] = dataclasses.field(default_factory=dict)
  baseline: float | None = None
  error: str | None = None
  seconds: float = 0.0
  cpu_seconds: float = 0.0
  peak_bytes: int = 0
  driver_bytes: int = 0

  @property
  def learnt_nothing(self) -> bool:
    """Whether it scored no more than a majority classifier does: a failed run of the literature
    (Mosbach et al. 2021, section 2).
    """
    return None not in (self.score, self.baseline) and self.score <= self.baseline  # type: ignore[operator]


class Records:
  """plan.jsonl and results.jsonl of a directory."""

  def __init__(self, output_dir: str):
    """Reads what earlier starts left.

    Raises:
      UserError: a file is damaged.
    """
    self._output_dir = output_dir
    self._plan = {run.name: run for run in self._read(PLAN_FILE, _run)}
    self.results = {result.name: result for result in self._read(RESULTS_FILE, _result)}

  def add(self, runs: Iterable[Run]) -> None:
    """Adds runs to the plan.

    Raises:
      UserError: the plan has a finished run of that name with other flags.
    """
    for run in runs:
      known, done = self._plan.get(run.name), self.results.get(run.name)
      if done and done.status == FINISHED and known and _essence(known) != _essence(run):
        raise UserError(
          f"{self._output_dir}: holds the results of {run.name} with other flags,"
          f" {_difference(known, run)}; give the same ones to go on, or another `output_dir`"
        )
      self._plan[run.name] = run
    self._write(PLAN_FILE, self._plan.values())

  def record(self, result: Result) -> None:
    """Adds a result."""
    self.results[result.name] = result
    self._write(RESULTS_FILE, self.results.values())

  def finished(self, run: Run) -> bool:
    """Whether a run is done."""
    result = self.results.get(run.name)
    return result is not None and result.status == FINISHED

  def of(self, runs: Iterable[Run]) -> list[Result]:
    """The results of those runs that have one, in their order."""
    return [self.results[run.name] for run in runs if run.name in self.results]

  def _read(self, name: str, make: Any) -> list[Any]:
    path = os.path.join(self._output_dir, name)
    if not os.path.exists(path):
      return []
    try:
      with open(path, encoding="utf-8") as file:
        return [make(json.loads(line)) for line in file]
    except (ValueError, TypeError, KeyError) as error:
      raise UserError(
        f"{path}: expected a run a line, found {error}; remove it, and what it tells is done anew"
      ) from error

  def _write(self, name: str, items: Iterable[Any]) -> None:
    with atomic_writer(os.path.join(self._output_dir, name)) as file:
      for item in items:
        file.write(json.dumps(dataclasses.asdict(item), ensure_ascii=False) + "\n")


def _essence(run: Run) -> tuple[str, ...]:
  """What decides the result; a script may be named by its file, and from elsewhere."""
  return stem(run.script), *run.flags


def _difference(before: Run, now: Run) -> str:
  old, new = _essence(before), _essence(now)
  gone = [word for word in old if word not in new]
  come = [word for word in new if word not in old]
  return f"{' '.join(gone) or 'nothing'} in the place of {' '.join(come) or 'nothing'}"


def _run(values: dict[str, Any]) -> Run:
  lists = ("flags", "metrics", "needs")
  return Run(**{**values, **{name: tuple(values[name]) for name in lists}})


def _result(values: dict[str, Any]) -> Result:
  return Result(**{**values, "flags": tuple(values["flags"])})


def stem(script: str) -> str:
  """The name of a script that may be given as a file."""
  return os.path.basename(script).removesuffix(".py")


def without(flags: Sequence[str], *names: str) -> tuple[str, ...]:
  """Flags without those of some names, with a value or not, negated or not."""
  return tuple(word for word in flags if name_of(word) not in names)


def name_of(flag: str) -> str:
  """The name of a flag as it is written; of --nodo_eval it is "nodo_eval"."""
  return flag.lstrip("-").partition("=")[0]
