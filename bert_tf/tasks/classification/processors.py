"""The examples of each task: the original's four, and any table."""

from __future__ import annotations

import abc
import dataclasses
import glob
import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.classification import tables

CLASSIFICATION, REGRESSION, MULTILABEL = "classification", "regression", "multilabel"
TASK_TYPES = (CLASSIFICATION, REGRESSION, MULTILABEL)


@dataclasses.dataclass(frozen=True, slots=True)
class InputExample:
  """One text or pair of texts.

  Attributes:
    guid: names the example.
    text_a: the text.
    text_b: the second text of a pair.
    label: None where it is not known.
    where: file and line, for messages.
  """

  guid: str
  text_a: str
  text_b: str | None = None
  label: str | None = None
  where: str = ""


class DataProcessor(abc.ABC):
  """Gives the examples of a task, split by split, and its labels."""

  task_type = CLASSIFICATION

  def __init__(self, data_dir: str):
    """Args: `data_dir`, where the files of the task are."""
    if not os.path.isdir(data_dir):
      raise UserError(f"--data_dir: expected a directory, found nothing at {data_dir!r}")
    self._data_dir = data_dir

  @abc.abstractmethod
  def labels(self) -> list[str]:
    """The labels in the order of their ids; empty for regression."""

  @abc.abstractmethod
  def examples(self, split: str) -> list[InputExample]:
    """The examples of "train", "dev" or "test".

    Raises:
      UserError: the split has no file, or its file is wrong; names file and line.
    """

  def files(self, split: str) -> list[str]:
    """The files of a split, by which a later start knows whether its data are the same."""
    return []

  def split_label(self, label: str | None) -> list[str]:
    """The labels of one example, which of a multi-label task may be several between commas."""
    if self.task_type != MULTILABEL:
      return [label or ""]
    return [part.strip() for part in (label or "").split(",") if part.strip()]

  def _rows(self, name: str, columns: int, skip: int) -> Iterable[tuple[int, str, tables.Row]]:
    """Yields (row number from 0, place, row) of a TSV file, the first `skip` rows left out."""
    path = os.path.join(self._data_dir, name)
    for index, (number, row) in enumerate(tables.read_tsv(path)):
      if index >= skip:
        tables.check_columns(path, number, row, columns)
        yield index, f"{path}: line {number}", row


class MrpcProcessor(DataProcessor):
  """Microsoft Research Paraphrase Corpus: do two sentences mean the same?"""

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["0", "1"]

  def examples(self, split: str) -> list[InputExample]:
    """See `DataProcessor`."""
    return [
      InputExample(f"{split}-{i}", row[3], row[4], "0" if split == "test" else row[0], where)
      for i, where, row in self._rows(f"{split}.tsv", 5, skip=1)
    ]


class ColaProcessor(DataProcessor):
  """Corpus of Linguistic Acceptability: is a sentence grammatical? Only test has a header."""

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["0", "1"]

  def examples(self, split: str) -> list[InputExample]:
    """See `DataProcessor`."""
    if split == "test":
      rows = self._rows("test.tsv", 2, skip=1)
      return [InputExample(f"test-{i}", row[1], None, "0", where) for i, where, row in rows]
    rows = self._rows(f"{split}.tsv", 4, skip=0)
    return [InputExample(f"{split}-{i}", row[3], None, row[1], where) for i, where, row in rows]


class MnliProcessor(DataProcessor):
  """Multi-Genre Natural Language Inference, matched."""

  _FILES: ClassVar = {"train": "train.tsv", "dev": "dev_matched.tsv", "test": "test_matched.tsv"}

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["contradiction", "entailment", "neutral"]

  def examples(self, split: str) -> list[InputExample]:
    """See `DataProcessor`."""
    prefix = "dev_matched" if split == "dev" else split
    return [
      InputExample(
        f"{prefix}-{row[0]}",
        row[8],
        row[9],
        "contradiction" if split == "test" else row[-1],
        where,
      )
      for _, where, row in self._rows(self._FILES[split], 10, skip=1)
    ]


class XnliProcessor(DataProcessor):
  """Cross-lingual Natural Language Inference in one language."""

  def __init__(self, data_dir: str, language: str = "zh"):
    """Args: `language`, its code in the files; the original reads Chinese."""
    super().__init__(data_dir)
    self._language = language

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["contradiction", "entailment", "neutral"]

  def examples(self, split: str) -> list[InputExample]:
    """See `DataProcessor`."""
    if split == "train":
      name = os.path.join("multinli", f"multinli.train.{self._language}.tsv")
      return [
        # This file alone spells one of the labels differently.
        InputExample(
          f"train-{i}", row[0], row[1],
          "contradiction" if row[2] == "contradictory" else row[2], where,
        )
        for i, where, row in self._rows(name, 3, skip=1)
      ]  # fmt: skip
    if split == "test":
      raise UserError(
        "--do_predict: expected a task with a test set, found xnli, for which the original reads"
        " none; use --task_name=table with --test_file"
      )
    return [
      InputExample(f"dev-{i}", row[6], row[7], row[1], where)
      for i, where, row in self._rows("xnli.dev.tsv", 8, skip=1)
      if row[0] == self._language
    ]


@dataclasses.dataclass(frozen=True)
class TableOptions:
  """Where a table keeps its texts and labels.

  Attributes:
    text_column: name, number from 0, or alternatives between commas, see `tables.Column`; so are
      the other columns.
    text_pair_column: of the second text of a pair.
    label_column: of the label.
    id_column: of what names an example in the predictions; default: split and line number.
    labels: in the order of their ids; default: those found in the training data, sorted.
    label_separator: between the labels of a multi-label example.
    task_type: one of `TASK_TYPES`; None: that of the weights, or classification.
    header: whether the first row holds the names of the columns; None: if a wanted one is there.
    files: split -> file; default: train.*, dev.* and test.* in the data directory.
  """

  text_column: str = "text"
  text_pair_column: str | None = None
  label_column: str = "label"
  id_column: str | None = None
  labels: tuple[str, ...] = ()
  label_separator: str = ","
  task_type: str | None = None
  header: bool | None = None
  files: dict[str, str] = dataclasses.field(default_factory=dict)


class TableProcessor(DataProcessor):
  """Any task in a TSV, CSV or JSON-lines file, with labels as found in the training data."""

  def __init__(self, data_dir: str, options: TableOptions, known_labels: Sequence[str] = ()):
    """Args: `known_labels`, of an earlier training, used where there is no training data."""
    super().__init__(data_dir)
    self.task_type = options.task_type or CLASSIFICATION
    if self.task_type not in TASK_TYPES:
      raise UserError(
        f"--task_type: expected one of {', '.join(TASK_TYPES)}, found {options.task_type!r}"
      )
    if options.task_type == MULTILABEL and not options.label_separator:
      raise UserError("--label_separator: expected a character, found none; give one, such as ;")
    if options.task_type == REGRESSION and options.labels:
      raise UserError("--labels: expected none for a regression; leave them out")
    repeated = [label for label in options.labels if options.labels.count(label) > 1]
    if repeated:
      raise UserError(f"--labels: expected every label once, found {repeated[0]!r} twice")
    self._options = options
    self._labels = list(options.labels or known_labels)
    self._train: list[InputExample] | None = None

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    if self.task_type == REGRESSION:
      return []
    if not self._labels:
      found = {label for e in self.examples("train") for label in self.split_label(e.label)}
      self._labels = sorted(found, key=_natural_order)
      _warn_of_numbers(self._labels)
    if len(self._labels) < 2:
      raise UserError(
        f"expected at least two labels, found {self._labels or 'none'} in the training data; check"
        " --label_column, or give --labels"
      )
    return self._labels

  def split_label(self, label: str | None) -> list[str]:
    """The labels of one example."""
    if self.task_type != MULTILABEL:
      return [label or ""]
    parts = (label or "").split(self._options.label_separator)
    return [part.strip() for part in parts if part.strip()]

  def examples(self, split: str) -> list[InputExample]:
    """See `DataProcessor`. Only the test set may lack the label column."""
    if split == "train" and self._train is not None:
      return self._train
    options = self._options
    path = self._file(split)
    columns = [
      options.text_column,
      options.text_pair_column,
      options.label_column if split != "test" else None,
      options.id_column,
    ]
    found = [
      self._example(split, f"{path}: line {number}", number, row)
      for number, row in tables.read_table(path, columns, options.header)
    ]
    if split == "train":
      self._train = found
    return found

  def _example(self, split: str, where: str, number: int, row: Sequence[Any]) -> InputExample:
    text_a, text_b, label, name = row
    return InputExample(
      f"{split}-{number}" if name is None else str(name),
      _text(text_a, where),
      None if text_b is None else _text(text_b, where),
      None if split == "test" else self._label(label, where),
      where,
    )

  def _label(self, value: Any, where: str) -> str:
    """A label as a string; of JSON it may be a number, and a list where there are several."""
    if self.task_type == MULTILABEL:
      parts = value if isinstance(value, list) else [] if value is None else [value]
      if isinstance(value, list) and any(self._options.label_separator in str(p) for p in parts):
        raise UserError(
          f"{where}: expected labels without {self._options.label_separator!r}, found {value};"
          " give another --label_separator"
        )
      return self._options.label_separator.join(str(part) for part in parts)
    label = str(value).strip()
    if value is None or isinstance(value, list | dict) or not label:
      raise UserError(f"{where}: expected a label, found {value!r}; add it or remove the row")
    return label

  def _file(self, split: str) -> str:
    given = self._options.files.get(split)
    if given:
      return given if os.path.exists(given) else os.path.join(self._data_dir, given)
    pattern = os.path.join(glob.escape(self._data_dir), f"{split}.*")
    found = [p for p in sorted(glob.glob(pattern)) if p.endswith((".tsv", ".csv", ".jsonl"))]
    if len(found) != 1:
      remedy = f"name it with --{split}_file"
      if split == "train":
        remedy += ", or name the labels with --labels if you do not train"
      raise UserError(
        f"expected one file {split}.tsv, {split}.csv or {split}.jsonl in {self._data_dir}, found"
        f" {', '.join(map(os.path.basename, found)) or 'none'}; {remedy}"
      )
    return found[0]


def _text(value: Any, where: str) -> str:
  if not isinstance(value, str):
    raise UserError(f"{where}: expected a text, found {value!r}")
  return value


def _natural_order(label: str) -> tuple[int, float, str]:
  """Numbers by their value, before words by their spelling."""
  try:
    return (0, float(label), label)
  except ValueError:
    return (1, 0.0, label)


def _warn_of_numbers(labels: Sequence[str]) -> None:
  """Points at --task_type where the labels look like measurements."""
  try:
    if any(float(label) != int(float(label)) for label in labels):
      logging.warning(
        "%d labels, which all are numbers, such as %s: are they to be predicted as numbers? Then"
        " give --task_type=regression",
        len(labels),
        labels[0],
      )
  except (ValueError, OverflowError):
    pass  # Words, or infinity.


PROCESSORS: dict[str, type[DataProcessor]] = {
  "cola": ColaProcessor,
  "mnli": MnliProcessor,
  "mrpc": MrpcProcessor,
  "xnli": XnliProcessor,
}
TABLE = "table"


def create_processor(
  task_name: str,
  data_dir: str | None,
  options: TableOptions,
  known_labels: Sequence[str] = (),
  xnli_language: str = "zh",
) -> DataProcessor:
  """Returns the processor of a task; raises UserError where there is no such task."""
  name = task_name.lower()
  if name == TABLE:
    return TableProcessor(data_dir, options, known_labels)
  if name not in PROCESSORS:
    raise UserError(
      f"--task_name: expected one of {', '.join([*PROCESSORS, TABLE])}, found {task_name!r}; any"
      " TSV, CSV or JSON-lines file is read with --task_name=table"
    )
  if name == "xnli":
    return XnliProcessor(data_dir, xnli_language)
  return PROCESSORS[name](data_dir)
