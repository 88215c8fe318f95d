"""What is said of the corpora of a mixture. Needs no TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bert_tf.data.input_files import input_files
from bert_tf.errors import UserError

# Shares hold exactly in every run of so many examples.
BLOCK = 1000


class Corpus(NamedTuple):
  """`files` of records, and how much they count beside those of other corpora."""

  files: Sequence[str]
  weight: float


def corpora_of(patterns: str, weights: Sequence[str]) -> list[Corpus]:
  """The corpora of a comma-separated list of paths and globs, each with its weight.

  Args:
    patterns: `input_file`; each pattern is a corpus.
    weights: `input_weights`, one for each.

  Raises:
    UserError: another number of weights, what is no positive number, or weights so unequal that a
      corpus would hardly be read; a pattern that finds no files.
  """
  parts = [part.strip() for part in patterns.split(",") if part.strip()]
  if len(parts) != len(weights):
    raise UserError(
      f"`input_weights`: expected a weight for each of the {len(parts)} part(s) of `input_file`"
      f" between commas, found {len(weights)}"
    )
  numbers = []
  for text in weights:
    try:
      numbers.append(float(text))
    except ValueError:
      numbers.append(math.nan)
    if not 0 < numbers[-1] < math.inf:
      raise UserError(f"`input_weights`: expected positive numbers, found {text!r}; correct it")
  for part, count in zip(parts, block_counts(numbers), strict=True):
    if not count:
      raise UserError(
        f"`input_weights`: expected weights within {BLOCK} times of each other, found one that"
        f" leaves {part} out; raise it"
      )
  return [Corpus(input_files(part), weight) for part, weight in zip(parts, numbers, strict=True)]


def block_counts(weights: Sequence[float]) -> list[int]:
  """How many examples of each corpus `BLOCK` of them hold, by largest remainders.

  >>> from bert_tf.data import corpora
  >>> corpora.block_counts([2, 1])
  [667, 333]
  """
  exact = [BLOCK * weight / sum(weights) for weight in weights]
  counts = [math.floor(share) for share in exact]
  by_rest = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
  for i in by_rest[: BLOCK - sum(counts)]:
    counts[i] += 1
  return counts
