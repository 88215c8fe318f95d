"""The tasks of GLUE that the original leaves out, and SNLI, in the files that GLUE comes in.

Columns are found by the names that GLUE gave them, so that a file of another release is refused
rather than misread. Labels are those of the files, in the order of jiant's and transformers' ids.
"""

from __future__ import annotations

import os
from typing import ClassVar

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.examples import REGRESSION, InputExample
from bert_tf.tasks.classification.original_tasks import MnliProcessor, OriginalProcessor


class GlueProcessor(OriginalProcessor):
  """A task whose files name their columns.

  Attributes:
    COLUMNS: names of the first text, of the second one if there is one, and of the label, which
      the test set lacks.
    LABELS: in the order of their ids; empty for regression.
  """

  COLUMNS: ClassVar[tuple[str, str | None, str]]
  LABELS: ClassVar[tuple[str, ...]] = ("entailment", "not_entailment")

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return list(self.LABELS)

  def _read(self, split: str) -> list[InputExample]:
    path = os.path.join(self._data_dir or "", self._file_name(split))
    text_a, text_b, label = self.COLUMNS
    columns = [text_a, text_b, None if split == "test" else label]
    return [
      InputExample(f"{split}-{number - 1}", a, b, gold, f"{path}: line {number}")
      for number, (a, b, gold) in tables.read_table(path, columns, header=True)
    ]


class Sst2Processor(GlueProcessor):
  """Stanford Sentiment Treebank: is a phrase of a film review positive (1)?"""

  COLUMNS = "sentence", None, "label"
  LABELS = "0", "1"


class RteProcessor(GlueProcessor):
  """Recognizing Textual Entailment: does the first sentence entail the second?"""

  COLUMNS = "sentence1", "sentence2", "label"


class WnliProcessor(GlueProcessor):
  """Winograd NLI: is the pronoun of the first sentence what the second puts in its place (1)?"""

  COLUMNS = "sentence1", "sentence2", "label"
  LABELS = "0", "1"


class QnliProcessor(GlueProcessor):
  """Question NLI: does the sentence hold the answer to the question?"""

  COLUMNS = "question", "sentence", "label"


class StsbProcessor(GlueProcessor):
  """Semantic Textual Similarity Benchmark: how alike are two sentences, from 0 to 5?"""

  task_type = REGRESSION
  COLUMNS = "sentence1", "sentence2", "score"
  LABELS = ()


class SnliProcessor(GlueProcessor):
  """Stanford NLI, as GLUE packs it; pairs on which its annotators did not agree are left out."""

  COLUMNS = "sentence1", "sentence2", "gold_label"
  LABELS = "contradiction", "entailment", "neutral"

  def _read(self, split: str) -> list[InputExample]:
    found = super()._read(split)
    agreed = [example for example in found if example.label != "-"]
    if len(agreed) < len(found):
      logging.info("%s: %d pairs without a gold label left out", split, len(found) - len(agreed))
    return agreed


class QqpProcessor(GlueProcessor):
  """Quora Question Pairs: do two questions ask the same (1)?

  A few rows of GLUE's training file are cut short. They are left out, as by GLUE's own baseline.
  """

  COLUMNS = "question1", "question2", "is_duplicate"
  LABELS = "0", "1"

  def _read(self, split: str) -> list[InputExample]:
    path = os.path.join(self._data_dir or "", self._file_name(split))
    wanted = self.COLUMNS[: 2 if split == "test" else 3]
    rows = tables.read_tsv(path)
    _, names = next(rows)
    if missing := [name for name in wanted if name not in names]:
      raise UserError(
        f"{path}: expected a column {missing[0]!r}, found {', '.join(map(repr, names[:8]))} in line"
        " 1; is it the file of another split or task?"
      )
    places = [names.index(str(name)) for name in wanted]
    found, short = [], 0
    for number, row in rows:
      if len(row) > len(names):
        tables.check_width(path, number, row, len(names))
      if len(row) <= max(places):
        short += 1
        continue
      a, b, *gold = (row[place] for place in places)
      where = f"{path}: line {number}"
      found.append(InputExample(f"{split}-{number - 1}", a, b, gold[0] if gold else None, where))
    if short and split == "test":
      raise UserError(
        f"{path}: expected {len(names)} columns in each row, found {short} rows cut short, whose"
        " answers would be missing; download the file again"
      )
    if short:
      logging.warning("%s: %d rows that are cut short are left out", path, short)
    return found


class MnliMismatchedProcessor(MnliProcessor):
  """MNLI with the dev and test set of genres that the training set does not have."""

  _FILES: ClassVar = {
    "train": "train.tsv", "dev": "dev_mismatched.tsv", "test": "test_mismatched.tsv"
  }  # fmt: skip
  _PREFIXES: ClassVar = {"dev": "dev_mismatched"}


class AxProcessor(GlueProcessor):
  """GLUE's diagnostic set: answered by a model of MNLI; nothing to train on or to score."""

  COLUMNS = "sentence1", "sentence2", "label"
  LABELS = "contradiction", "entailment", "neutral"

  def _file_name(self, split: str) -> str:
    if split != "test":
      raise UserError(
        f"ax: expected `do_predict` alone, found that the {split} set is wanted; the diagnostic"
        " set has none: give the model of a training on mnli as `init_checkpoint`"
      )
    return "diagnostic.tsv"


GLUE_PROCESSORS = {
  "ax": AxProcessor,
  "mnli-mm": MnliMismatchedProcessor,
  "qnli": QnliProcessor,
  "qqp": QqpProcessor,
  "rte": RteProcessor,
  "snli": SnliProcessor,
  "sst-2": Sst2Processor,
  "sts-b": StsbProcessor,
  "wnli": WnliProcessor,
}
