"""From which probability a label is given: one half, or what the dev set says is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.model_dir import head_kinds

# The name under which they lie beside the weights: label -> probability.
SETTING = "thresholds"
METRICS = ("f1", "accuracy", "matthews")


def check(metric: str | None, task_type: str, labels: Sequence[str], evaluates: bool) -> None:
  """Raises UserError where there is nothing to choose, or nothing to choose by."""
  if metric is None:
    return
  if metric not in METRICS:
    raise UserError(
      f"`choose_threshold`: expected one of {', '.join(METRICS)}, found {metric!r}; correct it"
    )
  two = task_type == head_kinds.CLASSIFICATION and len(labels) == 2
  if not two and task_type != head_kinds.MULTILABEL:
    raise UserError(
      f"`choose_threshold`: expected two labels, or a task of several labels, found {task_type} of"
      f" {len(labels)}; leave it out"
    )
  if not evaluates:
    raise UserError(
      "`choose_threshold`: expected `do_eval`, as the dev set is what it is chosen on; give both"
    )


def of(settings: Mapping[str, Any], head: str, labels: Sequence[str]) -> np.ndarray | None:
  """Those among the settings of a model, float64: of two labels [1], of the second; of several [L].

  None where nothing is said.

  Raises:
    UserError: they are not those of the labels, or no probabilities.
  """
  said = settings.get(SETTING)
  if said is None:
    return None
  wanted = list(labels[1:] if head == head_kinds.CLASSIFICATION else labels)
  if not isinstance(said, Mapping) or sorted(said) != sorted(wanted):
    raise UserError(
      f"`{SETTING}` beside the weights: expected a number for {', '.join(wanted)}, found {said!r};"
      " remove it from head.json"
    )
  values = [said[label] for label in wanted]
  if not all(isinstance(v, int | float) and 0 <= v <= 1 for v in values):
    raise UserError(
      f"`{SETTING}` beside the weights: expected probabilities, found {values}; remove it from"
      " head.json"
    )
  return np.array(values, np.float64)


def decide(logits: np.ndarray, probabilities: np.ndarray, head: str, thresholds: Any) -> np.ndarray:
  """What is answered: int [n], the label, or bool [n, L], whether each label is given.

  Args:
    logits: [n, L], for whom there are no thresholds.
    probabilities: [n, L], see `metrics.probabilities`.
    head: "classification" or "multilabel".
    thresholds: see `of`.
  """
  if head == head_kinds.MULTILABEL:
    return logits > 0 if thresholds is None else probabilities > thresholds
  if thresholds is None:
    return np.argmax(logits, axis=-1)
  return (probabilities[:, 1] > thresholds[0]).astype(np.int64)


def choose(
  probabilities: np.ndarray, truth: np.ndarray, head: str, labels: Sequence[str], metric: str
) -> dict[str, float]:
  """The threshold with the best score of each label, for the settings of the model.

  Args:
    probabilities: of the dev set, [n, L].
    truth: int [n], or 0.0 and 1.0 [n, L] of several labels.
    head: see `decide`.
    labels: in the order of the outputs.
    metric: of `METRICS`.
  """
  if head == head_kinds.CLASSIFICATION:
    probabilities, truth, labels = probabilities[:, 1:], truth[:, np.newaxis] == 1, labels[1:]
  chosen = {}
  for index, label in enumerate(labels):
    having = truth[:, index] > 0
    if having.all() or not having.any():
      logging.warning(
        "%s: %s of the dev set have this label, which tells no threshold; it stays 0.5",
        label,
        "all examples" if having.any() else "no examples",
      )
      chosen[label] = 0.5
      continue
    chosen[label] = best(probabilities[:, index], having, metric)
  return chosen


def best(probabilities: np.ndarray, having: np.ndarray, metric: str) -> float:
  """The threshold, between two probabilities that occur, above which a label is best given.

  Of several that are equally good the nearest to one half, so that little data moves little.
  """
  order = np.argsort(-probabilities, kind="stable")
  sorted_p = probabilities[order].astype(np.float64)
  # If the k most probable examples are given the label, for k from 0 to n.
  given = np.arange(len(order) + 1)
  right = np.concatenate([[0], np.cumsum(having[order])])
  scores = _scores(given, right, int(having.sum()), metric)
  edges = np.concatenate([[1.0], sorted_p, [0.0]])
  middles = (edges[:-1] + edges[1:]) / 2
  # Between examples of one probability there is no threshold.
  scores[edges[:-1] == edges[1:]] = -np.inf
  candidates = np.flatnonzero(np.isclose(scores, scores.max(), rtol=0, atol=1e-12))
  low, high = edges[candidates + 1], edges[candidates]
  # One half itself where it lies between.
  values = np.where((low < 0.5) & (high > 0.5), 0.5, middles[candidates])
  return float(values[np.argmin(np.abs(values - 0.5))])


def _scores(given: np.ndarray, right: np.ndarray, having: int, metric: str) -> np.ndarray:
  """Of `given` answers `right` are right, and `having` examples have the label: float64 [n + 1]."""
  count = len(given) - 1
  wrong, missed = given - right, having - right
  rest = count - having - wrong
  if metric == "accuracy":
    return (right + rest) / count
  if metric == "f1":
    return 2 * right / np.maximum(given + having, 1)
  product = given.astype(np.float64) * having * (count - having) * (count - given)
  return np.where(product > 0, (right * rest - wrong * missed) / np.sqrt(np.maximum(product, 1)), 0)
