"""What all tasks have in common: examples split by split, and labels."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterable

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.examples import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  InputExample,
  describe_labels,
  describe_numbers,
  text_of_labels,
)


@dataclasses.dataclass(frozen=True)
class Layout:
  """How a file of the original's tasks is laid out.

  Attributes:
    columns: how many a row has at least.
    header: whether the first row holds names.
    numbers: columns that hold a number in every example, and never in a row of names.
    label: the column that holds one of the task's labels, or would in the file of another split.
  """

  columns: int
  header: bool = True
  numbers: tuple[int, ...] = ()
  label: int | None = None


class DataProcessor(abc.ABC):
  """Gives the examples of a task, split by split, and its labels."""

  task_type = CLASSIFICATION

  def __init__(self, data_dir: str | None):
    """Args: `data_dir`, where the files of the task are."""
    if data_dir is None or not os.path.isdir(data_dir):
      found = "none" if data_dir is None else f"nothing at {data_dir!r}"
      raise UserError(f"`data_dir`: expected a directory, found {found}")
    self._data_dir: str | None = data_dir
    self._known: dict[str, list[InputExample]] = {}

  @abc.abstractmethod
  def labels(self) -> list[str]:
    """The labels in the order of their ids; empty for regression."""

  @abc.abstractmethod
  def _read(self, split: str) -> list[InputExample]:
    """Reads the examples of a split."""

  def examples(self, split: str) -> list[InputExample]:
    """The examples of "train", "dev" or "test"; says how many there are, and of which labels.

    Raises:
      UserError: the split has no file, or its file is wrong; names file and line.
    """
    if split not in self._known:
      found = self._known[split] = self._read(split)
      self._check_texts(found)
      if split == "test":
        logging.info("test: %d examples", len(found))
      else:
        self._describe(split, found)
    return self._known[split]

  def _describe(self, split: str, examples: list[InputExample]) -> None:
    if self.task_type == REGRESSION:
      describe_numbers(split, examples)
    else:
      describe_labels(split, examples, lambda example: self.split_label(example.label))

  def files(self, split: str) -> list[str]:
    """The files of a split, by which a later start knows whether its data are the same."""
    return []

  def digest(self, split: str) -> str | None:
    """What tells the examples of a split from others where there are no files; else None."""
    return None

  def split_label(self, label: str | None) -> list[str]:
    """The labels of one example, which of a multi-label task may be several between commas."""
    if self.task_type != MULTILABEL:
      return [label or ""]
    return [part.strip() for part in (label or "").split(",") if part.strip()]

  def _check_texts(self, examples: list[InputExample]) -> None:
    """Raises UserError where a column of texts holds labels only: it is the wrong one."""
    if name := text_of_labels(examples, set(self.labels())):
      raise UserError(
        f"{examples[0].where}: expected a text, found a label, {getattr(examples[0], name)!r}, as"
        " in all rows; is it the file of another split? For other columns use `task_name=table`"
      )

  def _rows(self, name: str, layout: Layout) -> Iterable[tuple[int, str, tables.Row]]:
    """Yields (row number from 0, place, row) of a TSV file, its row of names left out."""
    path = os.path.join(self._data_dir or "", name)
    width = None
    for index, (number, row) in enumerate(tables.read_tsv(path)):
      tables.check_columns(path, number, row, layout.columns)
      width = width or len(row)
      tables.check_width(path, number, row, width)
      if index or not layout.header:
        yield index, f"{path}: line {number}", row
      elif self._is_example(row, layout):
        raise UserError(
          f"{path}: line {number}: expected the names of the columns, found an example, which would"
          " be left out; add a row of names (or is it the file of another split?)"
        )

  def _is_example(self, row: tables.Row, layout: Layout) -> bool:
    """Whether a row cannot be one of names."""
    numbers = any(row[column].strip().isdecimal() for column in layout.numbers)
    return numbers or (layout.label is not None and row[layout.label] in self.labels())
