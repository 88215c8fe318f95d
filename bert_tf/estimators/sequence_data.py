"""Texts and their labels as examples of the task of classification."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.estimators.base import BertEstimator
from bert_tf.tasks.classification.data import ClassificationData, ClassificationOptions
from bert_tf.tasks.classification.in_memory import SEPARATOR, InMemoryProcessor
from bert_tf.tasks.classification.processors import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  InputExample,
)
from bert_tf.trained_model import inputs


@dataclasses.dataclass(repr=False, eq=False, kw_only=True)
class SequenceEstimator(BertEstimator):
  """A BERT that answers texts; for the other parameters see its base.

  Args:
    long_text: what is read of a text longer than `max_seq_length`: "first", its beginning;
      "head_tail", its first quarter and its end; "windows", all of it.
    pooling: how the vectors of windows become that of the text: "mean" (the default), "max" or
      "attention"; so are the next two of windows alone.
    doc_stride: how many pieces a window starts after the one before; default: half a window.
    max_windows: what is beyond so many windows is cut off; default: 32.
  """

  long_text: str = "first"
  pooling: str | None = None
  doc_stride: int | None = None
  max_windows: int | None = None

  def _task_data(
    self, splits: Mapping[str, tuple[Any, Sequence[Any]]], task_type: str, **options: Any
  ) -> Callable[..., ClassificationData]:
    """What makes the task's data, read as the parameters say."""
    names = ("long_text", "pooling", "doc_stride", "max_windows")
    long_text = {name: getattr(self, name) for name in names}
    return task_data(splits, task_type, long_text=long_text, **options)


# What stands in messages before the number of an example.
_NAMES = {"train": "example", "dev": "example of `validation_data`"}


def task_data(
  splits: Mapping[str, tuple[Any, Sequence[Any]]], task_type: str, **options: Any
) -> Callable[..., ClassificationData]:
  """What makes the task's data of inputs and labels, by split.

  Args: `options`, other fields of `ClassificationOptions`.

  Raises:
    UserError: an input that is no text, or a label that cannot be.
  """
  examples = {split: _examples(split, *rows, task_type) for split, rows in splits.items()}
  processor = InMemoryProcessor(examples, task_type)
  task = ClassificationOptions("in_memory", processor=processor, **options)
  make = functools.partial(ClassificationData, task)
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
