"""Reads what a run scored, and what always answering the same would have."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError

METRICS_FILE = "eval_metrics.json"
# What counts where nothing else is said: the first of these that a run has.
_USUAL = ("micro_f1", "accuracy", "pearson", "f1")


def read(directory: str) -> dict[str, Any]:
  """The contents of a run's eval_metrics.json.

  Raises:
    UserError: it has none, or it is damaged.
  """
  path = os.path.join(directory, METRICS_FILE)
  try:
    with open(path, encoding="utf-8") as file:
      return dict(json.load(file))
  except FileNotFoundError:
    raise UserError(
      f"{directory}: expected {METRICS_FILE}, found none; give `do_eval`, so that runs are scored"
    ) from None
  except (ValueError, TypeError) as error:
    raise UserError(f"{path}: expected scores, found {error}; remove it") from error


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
  """The scores that are numbers."""
  return {
    name: float(value)
    for name, value in metrics.items()
    if isinstance(value, int | float) and not isinstance(value, bool)
  }


def usual(metrics: Mapping[str, Any]) -> tuple[str, ...]:
  """What counts of a run where nothing else is said; raises UserError where it has none of it."""
  if "per_type" in metrics:  # Of entities; most words are in none, and accuracy says little.
    return ("f1",)
  found = next((name for name in _USUAL if name in numbers(metrics)), None)
  if found is None:
    raise UserError(
      f"`metric`: expected one of {', '.join(_USUAL)} among the scores, found"
      f" {', '.join(metrics) or 'none'}; name one with `metric`"
    )
  return (found,)


def mean(metrics: Mapping[str, Any], names: Sequence[str]) -> float:
  """The mean of some scores; raises UserError where one is missing or no number."""
  known = numbers(metrics)
  for name in names:
    if not math.isfinite(known.get(name, math.nan)):
      raise UserError(
        f"`metric`: expected {name!r} among the scores, found {', '.join(known) or 'none'}"
      )
  return math.fsum(known[name] for name in names) / len(names)


def baseline(metrics: Mapping[str, Any], names: Sequence[str]) -> float:
  """The mean of some scores if every answer had been the most frequent label, or a constant.

  Args: `metrics`, of which `per_label` tells how often each label is right.
  """
  labels = metrics.get("per_label") or {}
  supports = [float(row["support"]) for row in labels.values() if "support" in row]
  share = max(supports) / sum(supports) if supports and sum(supports) else 0.0
  scores = {"accuracy": share}
  if len(supports) == 2:
    # F1 of the second label: precision is its share, recall 1, where it is the most frequent.
    scores["f1"] = 2 * share / (1 + share) if supports[1] > supports[0] else 0.0
  if supports:
    scores["macro_f1"] = 2 * share / (1 + share) / len(supports)
  return math.fsum(scores.get(name, 0.0) for name in names) / len(names)
