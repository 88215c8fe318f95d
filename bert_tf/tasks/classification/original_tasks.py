"""The four tasks of the original's run_classifier.py, in the files that GLUE and XNLI come in."""

from __future__ import annotations

import os
from typing import ClassVar

from bert_tf.errors import UserError
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.examples import InputExample
from bert_tf.tasks.classification.processor import DataProcessor, Layout


class OriginalProcessor(DataProcessor):
  """A task that the original has: each split is a file of a fixed name."""

  def _file_name(self, split: str) -> str:
    """Below the data directory."""
    return f"{split}.tsv"

  def files(self, split: str) -> list[str]:
    """See `DataProcessor`."""
    return [os.path.join(self._data_dir or "", self._file_name(split))]


class MrpcProcessor(OriginalProcessor):
  """Microsoft Research Paraphrase Corpus: do two sentences mean the same?"""

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["0", "1"]

  def _read(self, split: str) -> list[InputExample]:
    return [
      InputExample(f"{split}-{i}", row[3], row[4], "0" if split == "test" else row[0], where)
      for i, where, row in self._rows(self._file_name(split), Layout(5, numbers=(0, 1, 2)))
    ]


class ColaProcessor(OriginalProcessor):
  """Corpus of Linguistic Acceptability: is a sentence grammatical? Only test has a header."""

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["0", "1"]

  def _read(self, split: str) -> list[InputExample]:
    if split == "test":
      # In the files of the other splits the label is where the sentence should be.
      rows = self._rows(self._file_name(split), Layout(2, numbers=(0,), label=1))
      return [InputExample(f"test-{i}", row[1], None, "0", where) for i, where, row in rows]
    rows = self._rows(self._file_name(split), Layout(4, header=False))
    return [InputExample(f"{split}-{i}", row[3], None, row[1], where) for i, where, row in rows]


class MnliProcessor(OriginalProcessor):
  """Multi-Genre Natural Language Inference, matched."""

  _FILES: ClassVar = {"train": "train.tsv", "dev": "dev_matched.tsv", "test": "test_matched.tsv"}
  # Of the names of examples, where they are not the split's.
  _PREFIXES: ClassVar = {"dev": "dev_matched"}

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["contradiction", "entailment", "neutral"]

  def _file_name(self, split: str) -> str:
    return self._FILES[split]

  def _read(self, split: str) -> list[InputExample]:
    prefix = self._PREFIXES.get(split, split)
    return [
      InputExample(
        f"{prefix}-{row[0]}",
        row[8],
        row[9],
        "contradiction" if split == "test" else row[-1],
        where,
      )
      for _, where, row in self._rows(self._file_name(split), Layout(10, numbers=(0, 1), label=-1))
    ]


class XnliProcessor(OriginalProcessor):
  """Cross-lingual Natural Language Inference in one language."""

  # How the training file alone spells one of the labels.
  _SPELLINGS: ClassVar = {"contradictory": "contradiction"}

  def __init__(self, data_dir: str | None, language: str = "zh"):
    """Args: `language`, its code in the files; the original reads Chinese."""
    super().__init__(data_dir)
    self._language = language

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["contradiction", "entailment", "neutral"]

  def _file_name(self, split: str) -> str:
    training = os.path.join("multinli", f"multinli.train.{self._language}.tsv")
    return training if split == "train" else "xnli.dev.tsv"

  def _is_example(self, row: tables.Row, layout: Layout) -> bool:
    spelt = [self._SPELLINGS.get(cell, cell) for cell in row]
    return super()._is_example(spelt, layout)

  def _read(self, split: str) -> list[InputExample]:
    if split == "train":
      return [
        InputExample(f"train-{i}", row[0], row[1], self._SPELLINGS.get(row[2], row[2]), where)
        for i, where, row in self._rows(self._file_name(split), Layout(3, label=2))
      ]
    if split == "test":
      raise UserError(
        "`do_predict`: expected a task with a test set, found xnli, for which the original reads"
        " none; use `task_name=table` with `test_file`"
      )
    return [
      InputExample(f"dev-{i}", row[6], row[7], row[1], where)
      for i, where, row in self._rows(self._file_name(split), Layout(8, label=1))
      if row[0] == self._language
    ]
