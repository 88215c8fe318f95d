"""The unit in which the head of a regression counts: numbers far from those of fresh weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bert_tf.errors import UserError

# The name under which it lies beside the weights.
SETTING = "label_scale"
# A head starts with answers of about 0.5 around zero and moves by a learning rate a step. Means and
# deviations up to here it reaches by itself, as the original does; STS-B has 2.7 and 1.5.
_REACHED = 10.0
_TOLD_APART = 0.05


class LabelScale(NamedTuple):
  """A label is `mean + deviation * what the linear layer gives`."""

  mean: float
  deviation: float


def of(settings: Mapping[str, Any]) -> LabelScale | None:
  """That among the settings of a model; None where its head gives labels as they are.

  Raises:
    UserError: it is no mean with a positive deviation.
  """
  said = settings.get(SETTING)
  if said is None:
    return None
  values = [said.get(name) for name in LabelScale._fields] if isinstance(said, Mapping) else []
  numbers = [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]
  if len(numbers) != len(LabelScale._fields) or numbers[1] <= 0:
    raise UserError(
      f"`{SETTING}` beside the weights: expected a mean and a positive deviation, found {said!r};"
      " correct head.json"
    )
  return LabelScale(*numbers)


def settings(scale: LabelScale | None) -> dict[str, Any]:
  """What later commands must know, for the settings of a model."""
  return {} if scale is None else {SETTING: scale._asdict()}


def choose(said: bool | None, labels: Sequence[float]) -> LabelScale | None:
  """Mean and deviation of the labels of a training, or None where they are learnt as they are.

  >>> from bert_tf.model_dir import label_scale
  >>> label_scale.choose(None, [100.0, 800.0])
  LabelScale(mean=450.0, deviation=350.0)
  >>> label_scale.choose(None, [0.0, 5.0]) is None
  True

  Args:
    said: whether they are to be standardised; None: where a fresh head would not get to them.
    labels: of the training data.
  """
  mean = math.fsum(labels) / len(labels)
  deviation = math.sqrt(math.fsum((label - mean) ** 2 for label in labels) / len(labels))
  far = abs(mean) > _REACHED or deviation > _REACHED or 0 < deviation < _TOLD_APART
  if not (far if said is None else said):
    return None
  return LabelScale(mean, deviation or 1.0)
