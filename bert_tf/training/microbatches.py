"""A batch in pieces that are computed one after the other, to save memory or padding.

The pieces' losses and gradients are added up before anything is done with them, so the update is
that of the whole batch, however it is cut.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from bert_tf.data.padded_lengths import round_up
from bert_tf.training.task import Features


@dataclasses.dataclass(frozen=True)
class Pieces:
  """A batch of features, cut up by rows.

  Attributes:
    rows: int32 scalar, how many rows there are.
    take: maps the first row of a piece, an int32 scalar, to the piece and the row after it.
  """

  rows: tf.Tensor
  take: Callable[[tf.Tensor], tuple[Features, tf.Tensor]]


def equal(features: Features, count: int) -> Pieces:
  """Cuts a batch into `count` pieces of the same number of rows, which must be a whole one."""
  rows = tf.shape(features["input_mask"])[0]
  size = rows // count

  def take(start: tf.Tensor) -> tuple[Features, tf.Tensor]:
    return {name: x[start : start + size] for name, x in features.items()}, start + size

  return Pieces(rows, take)


def of_tokens(
  features: Features,
  budget: int,
  token_features: tuple[str, ...] = (),
  tokens_of_row: Callable[[tf.Tensor], tf.Tensor] = lambda length: length,
) -> Pieces:
  """Cuts a batch into pieces of similar length, each of as many rows as `budget` has room for.

  Args:
    features: of a batch, [rows, ...].
    budget: most tokens of a piece, padding included; a piece has one row at least.
    token_features: names of those that are [rows, S] and are cut to the longest row of a piece;
      none: padding stays.
    tokens_of_row: how many tokens are computed of a row of so many, padding included.
  """
  mask = features["input_mask"]
  rows, full = tf.unstack(tf.shape(mask))
  lengths = tf.reduce_sum(mask, axis=1)
  order = tf.argsort(lengths, direction="DESCENDING", stable=True)
  lengths = tf.gather(lengths, order)
  features = {name: tf.gather(x, order) for name, x in features.items()}
  trimmed = [name for name in token_features if name in features]

  def take(start: tf.Tensor) -> tuple[Features, tf.Tensor]:
    length = full
    if trimmed:
      length = tf.clip_by_value(round_up(lengths[start]), 1, full)
    end = tf.minimum(rows, start + tf.maximum(1, budget // tokens_of_row(length)))
    piece = {name: x[start:end] for name, x in features.items()}
    return piece | {name: piece[name][:, :length] for name in trimmed}, end

  return Pieces(rows, take)
