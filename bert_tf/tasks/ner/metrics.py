"""Scores of entities, by seqeval, which counts as CoNLL's conlleval does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Tags = Sequence[str]


def compute(predicted: Sequence[Tags], gold: Sequence[Tags]) -> dict[str, Any]:
  """Compares tags, sentence by sentence.

  Returns:
    `precision`, `recall` and `f1` over all entities, which are right if type and borders are;
    `accuracy` of the tags; and `per_type`, with `support`, how many of a type there are. A score
    that is not defined is 0.
  """
  from seqeval.metrics.sequence_labeling import (
    accuracy_score,
    get_entities,
    precision_recall_fscore_support,
  )

  gold, predicted = [_iob(tags) for tags in gold], [_iob(tags) for tags in predicted]
  scores = {"accuracy": float(accuracy_score(gold, predicted))}
  options = {"zero_division": 0}
  micro = precision_recall_fscore_support(gold, predicted, average="micro", **options)
  for name, value in zip(("precision", "recall", "f1"), micro, strict=False):
    scores[name] = float(value)
  # In the order in which seqeval lists the types.
  types = sorted({entity[0] for tags in (gold, predicted) for entity in get_entities(tags)})
  per_type = {}
  if types:
    columns = precision_recall_fscore_support(gold, predicted, average=None, **options)
    for kind, *values, support in zip(types, *columns, strict=True):
      named = zip(("precision", "recall", "f1"), map(float, values), strict=True)
      per_type[kind] = {**dict(named), "support": int(support)}
  return {**scores, "per_type": per_type}


def entities(tags: Tags) -> list[tuple[str, int, int]]:
  """The entities of a sentence: (type, number of the first word from 0, of the last word)."""
  from seqeval.metrics.sequence_labeling import get_entities

  return get_entities(_iob(tags))


def _iob(tags: Tags) -> list[str]:
  """The tags with the M of BMES, which seqeval does not know, as the I that it is."""
  return [f"I{tag[1:]}" if tag.startswith("M-") else tag for tag in tags]
