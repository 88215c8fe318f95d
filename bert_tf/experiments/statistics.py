"""What several scores of the same say together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from bert_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Summary:
  """Of scores.

  Attributes:
    count: how many.
    mean: of them.
    deviation: the sample's standard deviation, of n - 1; None of a single score.
    least: of them.
    most: of them.
  """

  count: int
  mean: float
  deviation: float | None
  least: float
  most: float


def summarise(scores: Sequence[float]) -> Summary:
  """Raises UserError where there are none."""
  if not scores:
    raise UserError("expected scores, found none")
  mean = math.fsum(scores) / len(scores)
  deviation = None
  if len(scores) > 1:
    deviation = math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / (len(scores) - 1))
  return Summary(len(scores), mean, deviation, min(scores), max(scores))


def expected_maximum(scores: Sequence[float]) -> list[float]:
  """The expected best score of 1, 2, ... n runs, from the scores of n runs.

  Of k runs drawn from the n with replacement, as in Dodge et al. 2020 (arXiv:2002.06305, section
  3.1, and arXiv:1909.03004, equation 6): sum over v of v * (P(V <= v)^k - P(V < v)^k).

  >>> expected_maximum([0.0, 1.0])
  [0.5, 0.75]
  """
  ordered = sorted(scores)
  n = len(ordered)
  return [
    math.fsum(v * (((i + 1) / n) ** k - (i / n) ** k) for i, v in enumerate(ordered))
    for k in range(1, n + 1)
  ]
