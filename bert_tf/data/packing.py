"""Several short sequences in one row, so that less of what is computed is padding.

The unit is the batch: the sequences of one batch are laid into as few rows as first-fit takes, the
longest first. So a step sees the examples that it would see otherwise, in the same order of
batches, and its loss and gradient are the same; only their number of rows is smaller. Nothing is
carried from batch to batch, which is why a resumed run needs no state of it.

A row of S pieces, with sequences a and b, is

  input_ids     [CLS] a a a [SEP] [CLS] b b [SEP] 0 0 ...
  position_ids    0   1 2 3   4     0   1 2   3   0 0 ...
  sequence_ids    1   1 1 1   1     2   2 2   2   0 0 ...
  cls_positions   0   5   0 0 ...                          (with next_sentence_weights 1 1 0 0 ...)

  B: sequences   R: rows   S: max_seq_length   P: max_predictions_per_seq   C: sequences in a row
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

Batch = dict[str, tf.Tensor]

# A row of S pieces takes up to S / _LEAST_LENGTH sequences; so a row has one shape.
_LEAST_LENGTH = 8


@dataclasses.dataclass(frozen=True)
class _Places:
  """Where first-fit has put every sequence; each int32 [B], and the number of rows, a scalar.

  Attributes:
    rows: number of its row.
    offsets: of its first piece in the row.
    slots: of its first prediction in the row.
    numbers: how many sequences the row held before.
    num_rows: R.
  """

  rows: tf.Tensor
  offsets: tf.Tensor
  slots: tf.Tensor
  numbers: tf.Tensor
  num_rows: tf.Tensor


def pack_sequences(batch: Batch) -> Batch:
  """Lays a batch of pretraining sequences into rows.

  A row takes no more than S pieces, P predictions and C sequences, so nothing is lost.

  Args:
    batch: int32 input_ids, input_mask, segment_ids [B, S], masked_lm_positions, masked_lm_ids
      [B, P], next_sentence_labels [B, 1], and float32 masked_lm_weights [B, P].

  Returns:
    The same of R rows, with next_sentence_labels [R, C], and besides int32 position_ids and
    sequence_ids [R, S], cls_positions [R, C], and float32 next_sentence_weights [R, C].
  """
  length = batch["input_ids"].shape[1]
  slots = batch["masked_lm_ids"].shape[1]
  capacity = max(1, length // _LEAST_LENGTH)
  is_piece = batch["input_mask"] > 0
  is_predicted = batch["masked_lm_weights"] > 0
  places = _first_fit(
    tf.stack([_count(is_piece), _count(is_predicted), tf.ones_like(is_piece[:, 0], tf.int32)], 1),
    tf.constant([length, slots, capacity]),
  )

  pieces = _Scatter(is_piece, places.rows, places.offsets, length, places.num_rows)
  predictions = _Scatter(is_predicted, places.rows, places.slots, slots, places.num_rows)
  sequences = _Scatter(
    tf.ones_like(is_piece[:, :1]), places.rows, places.numbers, capacity, places.num_rows
  )
  within = tf.broadcast_to(tf.range(length), tf.shape(is_piece))
  numbers = tf.broadcast_to(places.numbers[:, tf.newaxis] + 1, tf.shape(is_piece))
  return {
    **{name: pieces(batch[name]) for name in ("input_ids", "input_mask", "segment_ids")},
    "position_ids": pieces(within),
    "sequence_ids": pieces(numbers),
    "masked_lm_positions": predictions(
      batch["masked_lm_positions"] + places.offsets[:, tf.newaxis]
    ),
    "masked_lm_ids": predictions(batch["masked_lm_ids"]),
    "masked_lm_weights": predictions(batch["masked_lm_weights"]),
    "cls_positions": sequences(places.offsets[:, tf.newaxis]),
    "next_sentence_labels": sequences(batch["next_sentence_labels"]),
    "next_sentence_weights": sequences(tf.ones_like(batch["masked_lm_weights"][:, :1])),
  }


def _count(flags: tf.Tensor) -> tf.Tensor:
  """True entries of each row, int32."""
  return tf.reduce_sum(tf.cast(flags, tf.int32), axis=1)


def _first_fit(sizes: tf.Tensor, limits: tf.Tensor) -> _Places:
  """Gives every sequence, the longest first, to the first row that has room for it.

  Args:
    sizes: int32 [B, 3], pieces, predictions and 1 for the sequence itself.
    limits: int32 [3], what a row holds of each.
  """
  # Nothing is longer than a row alone: there are never more rows than sequences.
  count = tf.shape(sizes)[0]
  order = tf.argsort(sizes[:, 0], direction="DESCENDING", stable=True)

  def place(step: tf.Tensor, used: tf.Tensor, rows: tf.Tensor, before: tf.Tensor):
    sequence = order[step]
    size = sizes[sequence]
    fits = tf.reduce_all(used + size <= limits, axis=1)
    row = tf.argmax(fits, output_type=tf.int32)  # the first that is true
    at = sequence[tf.newaxis, tf.newaxis]
    rows = tf.tensor_scatter_nd_update(rows, at, row[tf.newaxis])
    before = tf.tensor_scatter_nd_update(before, at, used[row][tf.newaxis])
    used = tf.tensor_scatter_nd_add(used, row[tf.newaxis, tf.newaxis], size[tf.newaxis])
    return step + 1, used, rows, before

  start = (tf.constant(0), tf.zeros_like(sizes), tf.zeros_like(order), tf.zeros_like(sizes))
  _, _, rows, before = tf.while_loop(lambda step, *_: step < count, place, start)
  offsets, slots, numbers = tf.unstack(before, axis=1)
  return _Places(rows, offsets, slots, numbers, tf.reduce_max(rows) + 1)


class _Scatter:
  """Moves chosen entries of [B, n] to their places in [R, width]; the rest is 0."""

  def __init__(
    self,
    chosen: tf.Tensor,
    rows: tf.Tensor,
    offsets: tf.Tensor,
    width: int,
    num_rows: tf.Tensor,
  ):
    """Args: `chosen`, bool [B, n]; `rows` and `offsets` [B], the place of a row's first one."""
    self._chosen = chosen
    self._shape = tf.stack([num_rows, width])
    self._width = width
    rank = tf.cumsum(tf.cast(chosen, tf.int32), axis=1, exclusive=True)
    columns = offsets[:, tf.newaxis] + rank
    indices = tf.stack([tf.broadcast_to(rows[:, tf.newaxis], tf.shape(columns)), columns], -1)
    self._indices = tf.boolean_mask(indices, chosen)

  def __call__(self, values: tf.Tensor) -> tf.Tensor:
    moved = tf.scatter_nd(self._indices, tf.boolean_mask(values, self._chosen), self._shape)
    return tf.ensure_shape(moved, [None, self._width])
