"""How much the examples of each label count in the loss, where labels are unequally frequent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from bert_tf.errors import UserError
from bert_tf.tasks.classification.examples import CLASSIFICATION, MULTILABEL

BALANCED = "balanced"


def of(
  said: str | Mapping[str, float] | None,
  labels: Sequence[str],
  truth: np.ndarray,
  task_type: str,
) -> dict[str, float] | None:
  """The weight of each label.

  Of one label for an example, "balanced" is n / (L * count), as scikit-learn has it: the
  examples of each label count alike in all. Of several labels, a weight is that of the examples
  that have the label against those that have not (`pos_weight` of PyTorch's BCEWithLogitsLoss),
  and "balanced" is the number of the latter over that of the former; 1 where there are none of
  them.

  Args:
    said: "balanced"; weights as a mapping or as "label:weight,label:weight", where what is not
      named counts 1; None for no weights.
    labels: in the order of the outputs.
    truth: of the training set: int [n], or 0.0 and 1.0 [n, L] of several labels.
    task_type: see `examples.TASK_TYPES`.

  Raises:
    UserError: the task has no labels, or `said` names another label or no positive number.
  """
  if not said:
    return None
  if task_type not in (CLASSIFICATION, MULTILABEL):
    raise UserError(
      "`class_weights`: expected a task with labels, found a regression; leave it out"
    )
  if said == BALANCED:
    return dict(zip(labels, map(float, _balanced(len(labels), truth, task_type)), strict=True))
  given = said if isinstance(said, Mapping) else _parsed(said)
  for label, weight in given.items():
    if label not in labels:
      raise UserError(
        f"`class_weights`: expected labels of {', '.join(labels[:20])}, found {label!r}; correct it"
      )
    if not (isinstance(weight, int | float) and math.isfinite(weight) and weight > 0):
      raise UserError(f"`class_weights`: expected positive numbers, found {weight!r} for {label!r}")
  return {label: float(given.get(label, 1.0)) for label in labels}


def _balanced(num_labels: int, truth: np.ndarray, task_type: str) -> np.ndarray:
  count = len(truth)
  if task_type == MULTILABEL:
    having = truth.sum(axis=0)
    return np.where((having > 0) & (having < count), (count - having) / np.maximum(having, 1), 1.0)
  counts = np.bincount(truth.astype(np.int64), minlength=num_labels)
  return np.where(counts > 0, count / (num_labels * np.maximum(counts, 1)), 1.0)


def _parsed(said: str) -> dict[str, float]:
  weights = {}
  for part in said.split(","):
    label, colon, number = part.rpartition(":")
    try:
      if not colon:
        raise ValueError
      weights[label.strip()] = float(number)
    except ValueError:
      raise UserError(
        f"`class_weights`: expected {BALANCED}, or label:weight between commas, found {part!r}"
      ) from None
  return weights
