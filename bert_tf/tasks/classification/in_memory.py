"""Examples that are in memory already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from bert_tf.errors import UserError
from bert_tf.tasks.classification.examples import (
  MULTILABEL,
  REGRESSION,
  InputExample,
  natural_order,
)
from bert_tf.tasks.classification.processor import DataProcessor

# Between the labels of an example; no label that a file can hold has it.
SEPARATOR = "\x1f"


class InMemoryProcessor(DataProcessor):
  """Gives examples as they are; the labels, in the order of a table's, are those of training."""

  def __init__(self, splits: Mapping[str, Sequence[InputExample]], task_type: str):
    """Args.

    splits: "train", "dev" or "test" -> examples. Several labels of one stand in one string with
      `SEPARATOR` between them, a number is written out.
    task_type: of `examples.TASK_TYPES`.
    """
    self.task_type = task_type
    self._splits = splits
    self._known = {}

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    if self.task_type == REGRESSION:
      return []
    found = {label for e in self.examples("train") for label in self.split_label(e.label)}
    if len(found) < 2:
      raise UserError(
        f"expected at least two different labels to train on, found {len(found)} class"
        f" ({', '.join(found) or 'none'}); add examples of another"
      )
    return sorted(found, key=natural_order)

  def split_label(self, label: str | None) -> list[str]:
    """See `DataProcessor`."""
    if self.task_type != MULTILABEL:
      return [label or ""]
    return label.split(SEPARATOR) if label else []

  def digest(self, split: str) -> str | None:
    """See `DataProcessor`."""
    rows = [(e.text_a, e.text_b, e.label) for e in self._splits[split]]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

  def _read(self, split: str) -> list[InputExample]:
    if split not in self._splits:
      raise UserError(f"expected examples of the {split} set, found none; give `validation_data`")
    return list(self._splits[split])

  def _check_texts(self, examples: list[InputExample]) -> None:
    """Nothing to check: there is no file with another column."""
