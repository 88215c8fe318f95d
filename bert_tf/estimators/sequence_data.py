"""Texts and their labels as examples of the task of classification."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.tasks.classification.data import ClassificationData, ClassificationOptions
from bert_tf.tasks.classification.in_memory import SEPARATOR, InMemoryProcessor
from bert_tf.tasks.classification.processors import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  InputExample,
)
from bert_tf.trained_model import inputs

# What stands in messages before the number of an example.
_NAMES = {"train": "example", "dev": "example of `validation_data`"}


def task_data(
  splits: Mapping[str, tuple[Any, Sequence[Any]]], task_type: str
) -> Callable[..., ClassificationData]:
  """What makes the task's data of inputs and labels, by split.

  Raises:
    UserError: an input that is no text, or a label that cannot be.
  """
  examples = {split: _examples(split, *rows, task_type) for split, rows in splits.items()}
  processor = InMemoryProcessor(examples, task_type)
  options = ClassificationOptions("in_memory", processor=processor)
  make = functools.partial(ClassificationData, options)
  return lambda run, weights, directory: make(run, weights)


def _examples(split: str, texts: Any, labels: Sequence[Any], task_type: str) -> list[InputExample]:
  examples = []
  for number, ((a, b), label) in enumerate(zip(inputs.texts_of(texts), labels, strict=True)):
    where = f"{_NAMES[split]} {number}"
    written = _WRITTEN[task_type](label, where)
    examples.append(InputExample(f"{split}-{number}", a, b, written, where))
  return examples


def label_text(label: Any, where: str = "label") -> str:
  """A label as files and models name it."""
  if isinstance(label, bytes):
    label = label.decode("utf-8")
  text = str(label)
  missing = label is None or (isinstance(label, float) and not math.isfinite(label))
  if missing or not text or text != text.strip() or len(text.splitlines()) != 1:
    raise UserError(
      f"{where}: expected a label of one line without white space at its ends, found {label!r}"
    )
  return text


def _labels_text(labels: Any, where: str) -> str:
  return SEPARATOR.join(label_text(label, where) for label in labels)


def _number_text(label: Any, where: str) -> str:
  try:
    value = float(label)
  except (TypeError, ValueError):
    value = math.nan
  if not math.isfinite(value):
    # scikit-learn looks for the words in brackets.
    raise UserError(f"{where}: expected a finite number, found {label!r} (NaN or inf or text)")
  return repr(value)


_WRITTEN: dict[str, Callable[[Any, str], str]] = {
  CLASSIFICATION: label_text, MULTILABEL: _labels_text, REGRESSION: _number_text,
}  # fmt: skip
