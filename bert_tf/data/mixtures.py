"""Several corpora read in wanted shares, whatever their sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from bert_tf.data.corpora import BLOCK, block_counts


class _Pattern(NamedTuple):
  """Which corpus each example of a block is of: that of `counts`, in an order of its own."""

  counts: list[int]
  seed: Callable[[tf.Tensor], tf.Tensor]

  def block(self, number: tf.Tensor) -> tf.Tensor:
    """int64 [BLOCK]."""
    corpora = tf.constant(np.repeat(np.arange(len(self.counts)), self.counts), tf.int64)
    return tf.random.experimental.stateless_shuffle(corpora, seed=self.seed(number))


def mixed(
  streams: Sequence[Callable[[int], tf.data.Dataset]],
  weights: Sequence[float],
  seed: Callable[[tf.Tensor], tf.Tensor],
  skip: int,
) -> tf.data.Dataset:
  """Elements of all streams in turn, of each in proportion to its weight.

  Of every 1,000 elements each stream gives the same number, in an order that depends on the seed
  and the place alone, so a run that goes on at `skip` needs not read what came before.

  Args:
    streams: each gives its elements from a number on, without end.
    weights: how much each counts.
    seed: makes one, int64 [2], of the number of a block.
    skip: how many elements are left out.
  """
  pattern = _Pattern(block_counts(weights), seed)
  blocks, rest = divmod(skip, BLOCK)
  begun = pattern.block(tf.constant(blocks, tf.int64))[:rest]
  seen = np.bincount(begun.numpy(), minlength=len(weights))
  numbers = tf.data.Dataset.range(blocks, np.iinfo(np.int64).max)
  choices = numbers.flat_map(
    lambda number: tf.data.Dataset.from_tensor_slices(pattern.block(number))
  ).skip(rest)
  datasets = [
    stream(blocks * count + int(more))
    for stream, count, more in zip(streams, pattern.counts, seen, strict=True)
  ]
  return tf.data.Dataset.choose_from_datasets(datasets, choices, stop_on_empty_dataset=True)
