"""GLUE (arXiv:1804.07461): nine tasks and a diagnostic set, as gluebenchmark.com takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bert_tf.errors import UserError
from bert_tf.tasks.benchmarks.contract import Benchmark, BenchmarkTask, Prediction, Submission
from bert_tf.tasks.classification import tables

HEADER = "index\tprediction"
_NLI = ("contradiction", "entailment", "neutral")
_ENTAILMENT = ("entailment", "not_entailment")
_BINARY = ("0", "1")
_LEAST, _MOST = 0.0, 5.0


class TsvSubmission(Submission):
  """A header, then a row an example: its number from 0, and a label or a number from 0 to 5."""

  def __init__(self, file_name: str, count: int, labels: Sequence[str]):
    """Args: `labels`, the allowed ones; none: numbers, as in STS-B."""
    self.file_name = file_name
    self.count = count
    self._labels = tuple(labels)

  def lines(self, predictions: Sequence[Prediction]) -> Iterator[str]:
    """See `Submission`."""
    yield HEADER
    for index, prediction in enumerate(predictions):
      if self._labels:
        yield f"{index}\t{prediction['label']}"
      else:
        yield f"{index}\t{min(max(prediction['value'], _LEAST), _MOST):.3f}"

  def check(self, path: str, count: int | None = None) -> None:
    """See `Submission`."""
    count = self.count if count is None else count
    rows = tables.read_tsv(path)
    _, header = next(rows)
    if "\t".join(header) != HEADER:
      raise UserError(f"{path}: line 1: expected 'index<TAB>prediction', found {header}")
    index = -1
    for index, (number, row) in enumerate(rows):
      if len(row) != 2 or row[0] != str(index):
        raise UserError(f"{path}: line {number}: expected {index} and a prediction, found {row}")
      if problem := self._problem(row[1]):
        raise UserError(f"{path}: line {number}: expected {problem}, found {row[1]!r}")
    if index + 1 != count:
      raise UserError(
        f"{path}: expected {count} predictions, one for each example of the test set, found"
        f" {index + 1}; predict the whole test set"
      )

  def _problem(self, prediction: str) -> str | None:
    """What is expected in the place of a prediction, if it is wrong."""
    if self._labels:
      return None if prediction in self._labels else " or ".join(self._labels)
    number = re.fullmatch(r"\d(\.\d{1,3})?", prediction)
    return None if number and _LEAST <= float(prediction) <= _MOST else (
      "a number from 0 to 5 with three decimals"
    )  # fmt: skip


def _files(dev: str = "dev.tsv", test: str = "test.tsv") -> dict[str, str]:
  return {"train": "train.tsv", "dev": dev, "test": test}


def _rows(train: int, dev: int, test: int) -> dict[str, int]:
  return {"train": train, "dev": dev, "test": test}


def _submission(file_name: str, count: int, labels: Sequence[str]) -> TsvSubmission:
  return TsvSubmission(f"{file_name}.tsv", count, labels)


_TASKS = (
  BenchmarkTask(
    "CoLA", "cola", "CoLA", _files(), ("matthews",),
    _submission("CoLA", 1063, _BINARY), rows=_rows(8551, 1043, 1063),
  ),
  BenchmarkTask(
    "SST-2", "sst-2", "SST-2", _files(), ("accuracy",),
    _submission("SST-2", 1821, _BINARY), rows=_rows(67349, 872, 1821),
  ),
  BenchmarkTask(
    "MRPC", "mrpc", "MRPC", _files(), ("accuracy", "f1"),
    _submission("MRPC", 1725, _BINARY), takes_intermediate=True, rows=_rows(3668, 408, 1725),
  ),
  BenchmarkTask(
    "STS-B", "sts-b", "STS-B", _files(), ("pearson", "spearman"),
    _submission("STS-B", 1379, ()), takes_intermediate=True, rows=_rows(5749, 1500, 1379),
  ),
  BenchmarkTask(
    "QQP", "qqp", "QQP", _files(), ("accuracy", "f1"),
    _submission("QQP", 390965, _BINARY), rows=_rows(363846, 40430, 390965),
  ),
  BenchmarkTask(
    "MNLI", "mnli", "MNLI", _files("dev_matched.tsv", "test_matched.tsv"), ("accuracy",),
    _submission("MNLI-m", 9796, _NLI), rows=_rows(392702, 9815, 9796),
  ),
  BenchmarkTask(
    "MNLI-mm", "mnli-mm", "MNLI",
    {"dev": "dev_mismatched.tsv", "test": "test_mismatched.tsv"}, ("accuracy",),
    _submission("MNLI-mm", 9847, _NLI), weights_of="mnli", rows={"dev": 9832, "test": 9847},
  ),
  BenchmarkTask(
    "QNLI", "qnli", "QNLI", _files(), ("accuracy",),
    _submission("QNLI", 5463, _ENTAILMENT), rows=_rows(104743, 5463, 5463),
  ),
  BenchmarkTask(
    "RTE", "rte", "RTE", _files(), ("accuracy",),
    _submission("RTE", 3000, _ENTAILMENT), takes_intermediate=True, rows=_rows(2490, 277, 3000),
  ),
  BenchmarkTask(
    "WNLI", "wnli", "WNLI", _files(), ("accuracy",),
    _submission("WNLI", 146, _BINARY), rows=_rows(635, 71, 146),
  ),
  BenchmarkTask(
    "AX", "ax", "diagnostic", {"test": "diagnostic.tsv"}, (),
    _submission("AX", 1104, _NLI), weights_of="mnli", rows={"test": 1104},
  ),
)  # fmt: skip

# The site's average has the two sets of MNLI as one task, and the diagnostic set not at all.
GLUE = Benchmark(
  "glue",
  _TASKS,
  archive="submission.zip",
  averages=(
    *((name,) for name in ("CoLA", "SST-2", "MRPC", "STS-B", "QQP")),
    ("MNLI", "MNLI-mm"),
    *((name,) for name in ("QNLI", "RTE", "WNLI")),
  ),
)
