"""From examples to what the encoder reads (`convert_single_example` of the original)."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Sequence

from bert_tf.data import records
from bert_tf.data.report import UNKNOWN, TokenizationReport
from bert_tf.errors import UserError
from bert_tf.tasks.classification.processors import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  DataProcessor,
  InputExample,
)
from bert_tf.tasks.long_text import LongText
from bert_tf.tokenization import FullTokenizer

# How many labels a message lists.
_MOST_LABELS = 20


@dataclasses.dataclass(frozen=True, slots=True)
class InputFeatures:
  """One example as numbers; the lists are [max_seq_length], or those of a document as long as they
  need be; `label` is a list of one or L.
  """

  input_ids: list[int]
  input_mask: list[int]
  segment_ids: list[int]
  label: list[int] | list[float]

  def to_record(self) -> dict[str, list]:
    """The features of a tf.Example, by the original's names."""
    return {
      "input_ids": self.input_ids,
      "input_mask": self.input_mask,
      "segment_ids": self.segment_ids,
      "label_ids": self.label,
      "is_real_example": [1],
    }


class LabelEncoder:
  """Turns the label of an example into numbers."""

  def __init__(self, processor: DataProcessor, labels: Sequence[str] | None = None):
    """Args: `labels`, in the order of the model's outputs; default: the processor's."""
    self.task_type = processor.task_type
    self.labels = list(processor.labels() if labels is None else labels)
    self._ids = {label: index for index, label in enumerate(self.labels)}
    self._processor = processor

  @property
  def num_outputs(self) -> int:
    """How many logits the task needs: one for each label, or one number."""
    return len(self.labels) or 1

  def field(self) -> records.Field:
    """How a record holds the label."""
    if self.task_type == CLASSIFICATION:
      return records.Field("int64", None, len(self.labels))
    return records.Field("float", None if self.task_type == REGRESSION else len(self.labels))

  def encode(self, example: InputExample) -> list[int] | list[float]:
    """[id], [number] or one 0.0 or 1.0 for every label; zeros where the label is not known.

    Raises:
      UserError: a label that the task does not have, or no number in a regression.
    """
    if self.task_type == REGRESSION:
      return [self._number(example)]
    if self.task_type == MULTILABEL:
      wanted = {self._id(label, example) for label in self._processor.split_label(example.label)}
      return [float(index in wanted) for index in range(len(self.labels))]
    return [0 if example.label is None else self._id(example.label, example)]

  def _id(self, label: str, example: InputExample) -> int:
    if label not in self._ids:
      near = difflib.get_close_matches(label, self.labels, n=1)
      hint = f"; did you mean {near[0]!r}?" if near else ""
      labels = ", ".join(self.labels[:_MOST_LABELS])
      if len(self.labels) > _MOST_LABELS:
        labels += f", ... ({len(self.labels)} in all)"
      raise UserError(f"{example.where}: expected a label of {labels}, found {label!r}{hint}")
    return self._ids[label]

  def _number(self, example: InputExample) -> float:
    if example.label is None:
      return 0.0
    try:
      value = float(example.label)
    except ValueError:
      value = math.nan
    if not math.isfinite(value):
      raise UserError(f"{example.where}: expected a number, found {example.label!r}")
    return value


def convert_example(
  example: InputExample,
  encoder: LabelEncoder,
  max_seq_length: int,
  tokenizer: FullTokenizer,
  report: TokenizationReport | None = None,
  long_text: LongText | None = None,
) -> InputFeatures:
  """[CLS] a [SEP], or [CLS] a [SEP] b [SEP], padded with zeros to `max_seq_length`.

  A document that will be read in windows is not padded.

  Args:
    example: one text or a pair.
    encoder: of its label.
    max_seq_length: longest sequence, special tokens included.
    tokenizer: of the model's vocabulary.
    report: counts the example and what it loses.
    long_text: how texts are read that are too long; default: their beginning.
  """
  long_text = long_text or LongText()
  tokens_a = tokenizer.tokenize(example.text_a)
  tokens_b = tokenizer.tokenize(example.text_b) if example.text_b else []
  whole = [tokens_a.copy(), tokens_b.copy()]
  long_text.cut(tokens_a, tokens_b, max_seq_length)
  if report is not None:
    report.add_tokens(whole, len(tokens_a) + len(tokens_b))
    if any(UNKNOWN in tokens for tokens in whole):
      report.name_unknown(filter(None, (example.text_a, example.text_b)), tokenizer)
  tokens = ["[CLS]", *tokens_a, "[SEP]"]
  segment_ids = [0] * len(tokens)
  if tokens_b:
    tokens += [*tokens_b, "[SEP]"]
    segment_ids += [1] * (len(tokens_b) + 1)
  padding = [] if long_text.in_windows else [0] * (max_seq_length - len(tokens))
  return InputFeatures(
    input_ids=tokenizer.convert_tokens_to_ids(tokens) + padding,
    input_mask=[1] * len(tokens) + padding,
    segment_ids=segment_ids + padding,
    label=encoder.encode(example),
  )


def record_spec(
  encoder: LabelEncoder, max_seq_length: int, long_text: LongText | None = None
) -> records.FeatureSpec:
  """What the records of a task hold."""
  long_text = long_text or LongText()
  length = long_text.most_ids(max_seq_length)
  spec = records.classification(length, varies=long_text.in_windows)
  return {**spec, "label_ids": encoder.field()}
