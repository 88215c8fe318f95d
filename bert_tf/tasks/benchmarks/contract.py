"""What a benchmark says of itself: tasks, files, official metrics, submissions. No TensorFlow."""

from __future__ import annotations

import abc
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer, existing_file

Prediction = Mapping[str, Any]


class Submission(abc.ABC):
  """The file that a benchmark's site takes for the test set of one task.

  Attributes:
    file_name: the exact name that the site wants.
    count: how many answers the official test set has.
  """

  file_name: str
  count: int

  @abc.abstractmethod
  def lines(self, predictions: Sequence[Prediction]) -> Iterator[str]:
    """Yields the lines of the file from those of predictions.jsonl, in the order of the test set:
    {"id", "label", "probability", ...}, or {"id", "value"} of a regression.
    """

  @abc.abstractmethod
  def check(self, path: str, count: int | None = None) -> None:
    """Raises UserError, with the line, where a file is not what the site takes.

    Args:
      path: any file; of its name nothing is asked here.
      count: how many answers it must hold; None: those of the official test set.
    """

  def write(self, predictions_file: str, path: str) -> int:
    """Writes the submission from a run's predictions.jsonl; returns how many answers it holds."""
    existing_file(predictions_file, "predictions")
    with open(predictions_file, encoding="utf-8") as file:
      predictions = [json.loads(line) for line in file]
    with atomic_writer(path) as file:
      file.writelines(f"{line}\n" for line in self.lines(predictions))
    self.check(path, len(predictions))
    return len(predictions)


@dataclasses.dataclass(frozen=True)
class BenchmarkTask:
  """One task of a benchmark.

  Attributes:
    name: as tables call it, such as "SST-2".
    task_name: what `task_name` the script is given.
    directory: of its files, below the benchmark's data directory.
    files: split ("train", "dev", "test") -> file below `directory`; a split that it does not
      have is left out.
    metrics: names of the official scores in eval_metrics.json; the task's score is their mean.
      Empty where there is no dev set.
    submission: what the site takes; None: nothing.
    script: that runs it.
    flags: of the script, by name, where its defaults are not what the task wants; a user's own
      come before them.
    weights_of: `task_name` of the task whose model answers this one; None: it is trained.
    takes_intermediate: whether it is known to gain from starting with the weights of another
      task of the benchmark (RTE, MRPC and STS-B from MNLI: BERT on STILTs, arXiv:1811.01088).
    rows: split -> how many examples the official file has, where that is known.
  """

  name: str
  task_name: str
  directory: str
  files: Mapping[str, str]
  metrics: tuple[str, ...] = ("accuracy",)
  submission: Submission | None = None
  script: str = "run_classifier"
  flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  weights_of: str | None = None
  takes_intermediate: bool = False
  rows: Mapping[str, int] = dataclasses.field(default_factory=dict)

  def paths(self, data_dir: str) -> dict[str, str]:
    """Split -> path of its file."""
    return {s: os.path.join(data_dir, self.directory, name) for s, name in self.files.items()}

  def score(self, metrics: Mapping[str, float]) -> float:
    """The mean of the official scores, from the contents of eval_metrics.json.

    Raises:
      UserError: a score is missing, or no number.
    """
    values = [metrics.get(name) for name in self.metrics]
    for name, value in zip(self.metrics, values, strict=True):
      if not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(
          f"{self.name}: expected the score {name!r} among those of its run, found {value}; it has"
          f" {', '.join(n for n, v in metrics.items() if isinstance(v, int | float)) or 'none'}"
        )
    return math.fsum(v for v in values if v is not None) / len(values)


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """Tasks that are run and reported together.

  Attributes:
    name: as `bert-tf suite` takes it.
    tasks: in the order of the benchmark's own table.
    averages: what is averaged into the benchmark's score: groups of names of tasks; the scores of
      a group are averaged first (MNLI's two dev sets).
    archive: name of the zip that the site takes.
  """

  name: str
  tasks: tuple[BenchmarkTask, ...]
  archive: str
  averages: tuple[tuple[str, ...], ...]

  def task(self, name: str) -> BenchmarkTask:
    """The task of that `name` or `task_name`, whatever its case.

    Raises:
      UserError: there is none.
    """
    for task in self.tasks:
      if name.lower() in (task.name.lower(), task.task_name.lower()):
        return task
    names = ", ".join(task.task_name for task in self.tasks)
    raise UserError(f"`tasks`: expected some of {names}, found {name!r}")
