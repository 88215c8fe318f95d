"""CLUE (arXiv:2004.05986): its classification tasks, as cluebenchmarks.com takes them.

Names and layout of the submissions are those of its notes of 2021-09-04 for version 1.1; a file of
another name is not scored, and nobody says so. Version 1.0, with other test sets, wants
tnews10_predict.json and cluewsc10_predict.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.tasks.benchmarks.contract import Benchmark, BenchmarkTask, Prediction, Submission
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.clue_tasks import CLUE_PROCESSORS, ClueProcessor


class JsonLinesSubmission(Submission):
  """An object a line, in the order of the test set: its id, and a label as a text."""

  def __init__(self, file_name: str, count: int, labels: Sequence[str]):
    """Args: `labels`, the allowed ones."""
    self.file_name = file_name
    self.count = count
    self._labels = tuple(labels)

  def lines(self, predictions: Sequence[Prediction]) -> Iterator[str]:
    """See `Submission`."""
    for index, prediction in enumerate(predictions):
      name = str(prediction.get("id", index))
      line = {"id": int(name) if name.isdecimal() else index, "label": prediction["label"]}
      yield json.dumps(line, ensure_ascii=False)

  def check(self, path: str, count: int | None = None) -> None:
    """See `Submission`."""
    count = self.count if count is None else count
    ids = set()
    for number, line in tables.read_json_lines(path):
      where = f"{path}: line {number}"
      if not {"id", "label"} <= line.keys():
        raise UserError(f"{where}: expected the keys id and label, found {', '.join(line)}")
      if line["label"] not in self._labels:
        some = ", ".join(self._labels[:4]) + (", ..." if len(self._labels) > 4 else "")
        raise UserError(f"{where}: expected a label out of {some}, found {line['label']!r}")
      if line["id"] in ids:
        raise UserError(f"{where}: expected each id once, found {line['id']!r} again")
      ids.add(line["id"])
    if len(ids) != count:
      raise UserError(
        f"{path}: expected {count} predictions, one for each line of the test set, found"
        f" {len(ids)}; predict the whole test set"
      )


def _task(
  name: str,
  task_name: str,
  file_name: str,
  rows: tuple[int, int, int],
  flags: Mapping[str, Any],
  train: str = "train.json",
) -> BenchmarkTask:
  processor = CLUE_PROCESSORS[task_name]
  assert isinstance(processor, type) and issubclass(processor, ClueProcessor)
  return BenchmarkTask(
    name,
    task_name,
    task_name,
    {"train": train, "dev": "dev.json", "test": "test.json"},
    submission=JsonLinesSubmission(file_name, rows[2], processor.LABELS),
    flags=flags,
    rows=dict(zip(("train", "dev", "test"), rows, strict=True)),
  )


def _flags(rate: float, batch: int, epochs: float, length: int = 128) -> dict[str, Any]:
  return {
    "learning_rate": rate,
    "train_batch_size": batch,
    "num_train_epochs": epochs,
    "max_seq_length": length,
  }


# Flags are those of CLUE's baseline scripts for BERT, where it has one.
_TASKS = (
  _task("AFQMC", "afqmc", "afqmc_predict.json", (34334, 4316, 3861), _flags(3e-5, 16, 2.0)),
  _task("TNEWS", "tnews", "tnews11_predict.json", (53360, 10000, 10000), _flags(3e-5, 16, 2.0)),
  _task("IFLYTEK", "iflytek", "iflytek_predict.json", (12133, 2599, 2600), _flags(2e-5, 32, 3.0)),
  _task("CMNLI", "cmnli", "cmnli_predict.json", (391783, 12426, 13880), _flags(2e-5, 32, 3.0)),
  _task(
    "OCNLI", "ocnli", "ocnli_50k_predict.json", (50437, 3000, 3000), _flags(2e-5, 32, 3.0),
    train="train.50k.json",
  ),
  _task("WSC", "wsc", "cluewsc11_predict.json", (1244, 304, 2574), _flags(2e-5, 32, 3.0)),
  _task("CSL", "csl", "csl_predict.json", (20000, 3000, 3000), _flags(1e-5, 4, 3.0, length=256)),
)  # fmt: skip

# The table of version 1.1 has OCNLI in the place of CMNLI.
CLUE = Benchmark(
  "clue",
  _TASKS,
  archive="submit_clue.zip",
  averages=tuple((task.name,) for task in _TASKS if task.name != "CMNLI"),
)
