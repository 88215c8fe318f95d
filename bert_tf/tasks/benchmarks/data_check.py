"""Looks at the files of a benchmark before anything is trained, a line at a time."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

from bert_tf.errors import UserError
from bert_tf.tasks.benchmarks.contract import BenchmarkTask


@dataclasses.dataclass(frozen=True)
class FileReport:
  """What was found of one file.

  Attributes:
    task: name of its task.
    split: "train", "dev" or "test".
    path: where it is.
    problem: one line, if the file cannot be used.
    note: one line, if it can, but is not the official one.
  """

  task: str
  split: str
  path: str
  problem: str | None = None
  note: str | None = None


def check(tasks: Iterable[BenchmarkTask], data_dir: str) -> list[FileReport]:
  """Reports every file of some tasks; reads them all, but keeps nothing.

  Raises:
    UserError: there is no such directory.
  """
  if not os.path.isdir(data_dir):
    raise UserError(f"`data_dir`: expected a directory, found nothing at {data_dir!r}")
  return [
    _report(task, split, path)
    for task in tasks
    for split, path in task.paths(data_dir).items()
    if split != "train" or task.weights_of is None
  ]


def problems(reports: Iterable[FileReport]) -> list[str]:
  """What makes tasks impossible, a line each."""
  return [f"{r.task}: {r.problem}" for r in reports if r.problem]


def _report(task: BenchmarkTask, split: str, path: str) -> FileReport:
  report = FileReport(task.name, split, path)
  if not os.path.exists(path):
    return dataclasses.replace(report, problem=f"expected {path}, found nothing")
  if os.path.getsize(path) == 0:
    return dataclasses.replace(report, problem=f"{path} is empty; download it again")
  try:
    lines = _count_lines(path)
  except UnicodeDecodeError as error:
    return dataclasses.replace(
      report, problem=f"{path}: expected UTF-8, found {error.reason}; download it again"
    )
  official = task.rows.get(split)
  # At most one of the lines is a header; where a file is cut short, many are missing.
  if official is not None and lines < official:
    note = f"{path}: {lines:,} lines, where the official file has {official:,} examples"
    return dataclasses.replace(report, note=note)
  return report


def _count_lines(path: str) -> int:
  """How many lines have something on them."""
  with open(path, encoding="utf-8", newline="\n") as file:
    return sum(1 for line in file if line.strip())
