"""The examples of each task: the original's four, GLUE's, CLUE's, and any table."""

from __future__ import annotations

import collections
import dataclasses
import glob
import os
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.clue_tasks import CLUE_PROCESSORS
from bert_tf.tasks.classification.examples import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  TASK_TYPES,
  InputExample,
  natural_order,
  text_of_labels,
)
from bert_tf.tasks.classification.glue_tasks import GLUE_PROCESSORS
from bert_tf.tasks.classification.original_tasks import (
  ColaProcessor,
  MnliProcessor,
  MrpcProcessor,
  XnliProcessor,
)
from bert_tf.tasks.classification.processor import DataProcessor

# What a column of its own holds for each label, not names.
_FLAGS = {"0", "1", "0.0", "1.0"}


@dataclasses.dataclass(frozen=True)
class TableOptions:
  """Where a table keeps its texts and labels.

  Attributes:
    text_column: name, number from 0, or alternatives between commas, see `tables.Column`; so are
      the other columns.
    text_pair_column: of the second text of a pair.
    label_column: of the label; of several labels also one column of 0 and 1 for each, their names
      between commas.
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

  def __init__(self, data_dir: str | None, options: TableOptions, known_labels: Sequence[str] = ()):
    """Args.

    data_dir: may be None where all files are named.
    options: see there.
    known_labels: of an earlier training, used where there is no training data.
    """
    if data_dir is not None or not options.files:
      super().__init__(data_dir)
    else:
      self._data_dir, self._known = None, {}
    options = dataclasses.replace(options, task_type=options.task_type or CLASSIFICATION)
    _check_options(options)
    self.task_type = str(options.task_type)
    self._options = options
    self._columns = _columns_of_labels(options)
    self._labels = list(options.labels or self._columns or known_labels)
    if self._columns and known_labels and set(known_labels) != set(self._labels):
      raise UserError(
        f"`label_column`: expected the labels of the training, {', '.join(known_labels)}, found"
        f" {', '.join(self._labels)}; name the same columns"
      )
    if self._columns and known_labels:
      self._labels = list(known_labels)

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    if self.task_type == REGRESSION:
      return []
    if not self._labels:
      found = {label for e in self.examples("train") for label in self.split_label(e.label)}
      self._labels = sorted(found, key=natural_order)
      _warn_of_numbers(self._labels)
      if self.task_type == MULTILABEL and found and found <= _FLAGS:
        raise UserError(
          f"`label_column={self._options.label_column}`: expected names of labels, found"
          f" {' and '.join(self._labels)} only; name one column for each label, between commas, or"
          " give `labels` if these are the names"
        )
    if len(self._labels) < 2:
      raise UserError(
        f"expected at least two labels, found {self._labels or 'none'} in the training data; check"
        " `label_column`, or give `labels`"
      )
    return self._labels

  def split_label(self, label: str | None) -> list[str]:
    """See `DataProcessor`."""
    if self.task_type != MULTILABEL:
      return [label or ""]
    parts = (label or "").split(self._options.label_separator)
    return [part.strip() for part in parts if part.strip()]

  def _read(self, split: str) -> list[InputExample]:
    """Only the test set may lack the label column."""
    options = self._options
    path = self._file(split)
    labels: list[str | None] = [None]
    if split != "test":
      labels = [*(self._columns.values() or [options.label_column])]
    columns = [options.text_column, options.text_pair_column, *labels, options.id_column]
    distinct = len(columns) - 1
    found = [
      self._example(split, f"{path}: line {number}", number, row)
      for number, row in tables.read_table(path, columns, options.header, distinct)
    ]
    if split != "test" and self.task_type == CLASSIFICATION:
      self._warn_of_header(path, columns, found)
    return found

  def _warn_of_header(
    self, path: str, columns: Sequence[str | None], examples: Sequence[InputExample]
  ) -> None:
    """Warns of a first row that looks like the other kind: an example, or names of columns."""
    if any(column and tables.Column(column).number is None for column in columns):
      return  # By names it is known which it is.
    counts = collections.Counter(example.label for example in examples)
    if self._options.header:
      _, values = next(iter(tables.read_table(path, columns, header=False)))
      if values[2] in counts:
        logging.warning(
          "%s: line 1 is left out as names of columns (`header`), but holds a label, %r; is it an"
          " example? Then pass `header=False`",
          path,
          values[2],
        )
    elif self._options.header is None and len(examples) > 2 and counts[examples[0].label] == 1:
      logging.warning(
        "%s: line 1 is taken for an example, but its label, %r, occurs nowhere else; are these the"
        " names of columns? Then pass `header=True`",
        path,
        examples[0].label,
      )

  def _check_texts(self, examples: list[InputExample]) -> None:
    """Only warns, since there are tables of single words."""
    labels = {label for e in examples for label in self.split_label(e.label)} | {*self._labels}
    if self.task_type != REGRESSION and (name := text_of_labels(examples, labels)):
      logging.warning(
        "%s: all texts of the column %s are labels, such as %r; is it the right one?",
        examples[0].where,
        self._options.text_column if name == "text_a" else self._options.text_pair_column,
        getattr(examples[0], name),
      )

  def _example(self, split: str, where: str, number: int, row: Sequence[Any]) -> InputExample:
    text_a, text_b, *labels, name = row
    return InputExample(
      f"{split}-{number}" if self._options.id_column is None else _name(name, where),
      _text(text_a, where),
      None if self._options.text_pair_column is None else _text(text_b, where),
      None if split == "test" else self._label(labels, where),
      where,
    )

  def _label(self, values: Sequence[Any], where: str) -> str:
    """A label as a string; of JSON it may be a number, and a list where there are several."""
    if self._columns:
      names = self._options.labels or self._columns
      wanted = [n for n, value in zip(names, values, strict=True) if _is_set(value, n, where)]
      return self._options.label_separator.join(wanted)
    (value,) = values
    if self.task_type == MULTILABEL:
      parts = value if isinstance(value, list) else [] if value is None else [value]
      if any(isinstance(part, list | dict) or part is None for part in parts):
        raise UserError(f"{where}: expected labels, found {value!r}; write strings or numbers")
      if isinstance(value, list) and any(self._options.label_separator in str(p) for p in parts):
        raise UserError(
          f"{where}: expected labels without {self._options.label_separator!r}, found {value};"
          " give another `label_separator`"
        )
      return self._options.label_separator.join(str(part) for part in parts)
    label = str(value).strip()
    if value is None or isinstance(value, list | dict) or not label:
      raise UserError(f"{where}: expected a label, found {value!r}; add it or remove the row")
    return label

  def files(self, split: str) -> list[str]:
    """See `DataProcessor`."""
    return [self._file(split)]

  def _file(self, split: str) -> str:
    given = self._options.files.get(split)
    if given:
      inside = os.path.join(self._data_dir or "", given)
      return inside if os.path.exists(inside) and not os.path.exists(given) else given
    if self._data_dir is None:
      raise UserError(
        f"`data_dir`: expected a directory with a file {split}.tsv, {split}.csv or {split}.jsonl,"
        f" found none; give it, or name the file with `{split}_file`"
      )
    pattern = os.path.join(glob.escape(self._data_dir), f"{split}.*")
    found = [p for p in sorted(glob.glob(pattern)) if p.endswith((".tsv", ".csv", ".jsonl"))]
    if len(found) != 1:
      remedy = f"name it with `{split}_file`"
      if split == "train":
        remedy += ", or name the labels with `labels` if you do not train"
      raise UserError(
        f"expected one file {split}.tsv, {split}.csv or {split}.jsonl in {self._data_dir}, found"
        f" {', '.join(map(os.path.basename, found)) or 'none'}; {remedy}"
      )
    return found[0]


def _check_options(options: TableOptions) -> None:
  if options.task_type not in TASK_TYPES:
    raise UserError(
      f"`task_type`: expected one of {', '.join(TASK_TYPES)}, found {options.task_type!r}"
    )
  if options.task_type == MULTILABEL and not options.label_separator:
    raise UserError("`label_separator`: expected a character, found none; give one, such as ;")
  if options.task_type == REGRESSION and options.labels:
    raise UserError("`labels`: expected none for a regression; leave them out")
  repeated = [label for label in options.labels if options.labels.count(label) > 1]
  if repeated:
    raise UserError(f"`labels`: expected every label once, found {repeated[0]!r} twice")


def _columns_of_labels(options: TableOptions) -> dict[str, str]:
  """Label -> its column, where each has one; otherwise nothing.

  Several names, or several numbers, are columns of 0 and 1. A name and a number are what they are
  elsewhere: one column, by name where a file has names.
  """
  parts = [part.strip() for part in options.label_column.split(",")]
  parts = [part for part in parts if part]
  numbers = sum(part.isdecimal() for part in parts)
  if options.task_type != MULTILABEL or len(parts) < 2 or 0 < numbers < len(parts):
    return {}
  names = list(options.labels or parts)
  if numbers and not options.labels:
    raise UserError(
      f"`label_column={options.label_column}`: expected names for these columns, found none; name"
      " the labels with `labels`, in the same order"
    )
  if len(names) != len(parts) or len(set(parts)) < len(parts):
    raise UserError(
      f"`label_column`: expected {len(names)} columns, each once, one for each label, found"
      f" {options.label_column}"
    )
  wrong = [name for name in names if options.label_separator in name]
  if wrong:
    raise UserError(
      f"`label_separator`: expected what is in no label, found {options.label_separator!r}, which"
      f" is in {wrong[0]!r}; give another"
    )
  return dict(zip(names, parts, strict=True))


def _is_set(value: Any, column: str, where: str) -> bool:
  """Whether a column of 0 and 1 says 1."""
  text = str(value).strip().lower()
  if text in ("1", "1.0", "true"):
    return True
  if text not in ("0", "0.0", "false"):
    raise UserError(f"{where}: expected 0 or 1 for the label {column!r}, found {value!r}")
  return False


def _name(value: Any, where: str) -> str:
  """What names an example; of JSON it may be a number."""
  if not isinstance(value, str | int | float) or isinstance(value, bool):
    raise UserError(f"{where}: expected a name for `id_column`, found {value!r}")
  return str(value)


def _text(value: Any, where: str) -> str:
  if not isinstance(value, str):
    raise UserError(f"{where}: expected a text, found {value!r}")
  return value


def _warn_of_numbers(labels: Sequence[str]) -> None:
  """Points at --task_type where the labels look like measurements."""
  try:
    if any(float(label) != int(float(label)) for label in labels):
      logging.warning(
        "%d labels, which all are numbers, such as %s: are they to be predicted as numbers? Then"
        " give `task_type=regression`",
        len(labels),
        labels[0],
      )
  except (ValueError, OverflowError):
    pass  # Words, or infinity.


# `registry.register` adds to them.
PROCESSORS: dict[str, Callable[[str | None], DataProcessor]] = {
  "cola": ColaProcessor,
  "mnli": MnliProcessor,
  "mrpc": MrpcProcessor,
  "xnli": XnliProcessor,
  **GLUE_PROCESSORS,
  **CLUE_PROCESSORS,
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
      f"`task_name`: expected one of {', '.join([*PROCESSORS, TABLE])}, found {task_name!r}; any"
      " TSV, CSV or JSON-lines file is read with `task_name=table`, and `task_file` names a Python"
      " file that registers another task"
    )
  if name == "xnli":
    return XnliProcessor(data_dir, xnli_language)
  return PROCESSORS[name](data_dir)
