"""Texts that are longer than a sequence, in overlapping windows inside the graph.

B texts in a batch; pieces and windows of all of them lie in flat rows, and `splits` say where each
begins. `tasks/windows.py` has the same in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf

# Windows run together; more of them would take memory without being faster.
_CHUNK = 16


class Windows(NamedTuple):
  """The windows over all texts.

  Attributes:
    text: int64 [N], the text of each window.
    splits: int64 [B + 1], windows of each text.
    start: int64 [N], first piece of the window among all pieces.
    length: int64 [N], pieces in the window.
    first: int64 [N], index of that first piece in the sequence.
    max_context: ragged bool [N, (pieces)], whether no other window shows a piece with more
      context.
  """

  text: tf.Tensor
  splits: tf.Tensor
  start: tf.Tensor
  length: tf.Tensor
  first: tf.Tensor
  max_context: tf.RaggedTensor


def splits_of(counts: tf.Tensor) -> tf.Tensor:
  """Where rows of so many values begin, and the end of the last: int64 [rows + 1]."""
  return tf.concat([[0], tf.cumsum(tf.cast(counts, tf.int64))], axis=0)


def cut_windows(
  piece_splits: tf.Tensor, before: tf.Tensor, max_seq_length: int, doc_stride: int
) -> Windows:
  """Lays overlapping windows over every text (`convert_examples_to_features`).

  Args:
    piece_splits: int64 [B + 1], pieces of each text.
    before: int64 [B], ids that stand in front of these in every window, such as [CLS], a question
      and its [SEP].
    max_seq_length: longest sequence; what stands before, and the [SEP] behind, take their part.
    doc_stride: how many pieces a window starts after the one before.
  """
  lengths = piece_splits[1:] - piece_splits[:-1]
  room = max_seq_length - 1 - before
  stride = tf.minimum(room, doc_stride)
  counts = window_counts(lengths, before, max_seq_length, doc_stride)
  number = tf.ragged.range(counts)
  text = number.value_rowids()
  offset = number.flat_values * tf.gather(stride, text)
  length = tf.minimum(tf.gather(room, text), tf.gather(lengths, text) - offset)
  start = tf.gather(piece_splits, text) + offset
  return Windows(
    text=text,
    splits=splits_of(counts),
    start=start,
    length=length,
    first=tf.gather(before, text),
    max_context=_max_context(start, length, piece_splits[-1]),
  )


def window_counts(
  lengths: tf.Tensor, before: tf.Tensor, max_seq_length: int, doc_stride: int
) -> tf.Tensor:
  """How many windows texts have, int64 [B]; args as of `cut_windows`, `lengths` in pieces."""
  room = max_seq_length - 1 - before
  stride = tf.minimum(room, doc_stride)
  # Rounded up; an empty text has no window.
  counts = 1 + (tf.maximum(lengths - room, 0) + stride - 1) // stride
  return tf.where(lengths > 0, counts, 0)


def _max_context(start: tf.Tensor, length: tf.Tensor, num_pieces: tf.Tensor) -> tf.RaggedTensor:
  """For the pieces of every window whether it is the one to predict them (see `Windows`).

  A piece's score is its context on the shorter side plus 0.01 x the window's length; the first
  window wins a tie (the original's `_check_is_max_context`).
  """
  left = tf.ragged.range(length)
  window = left.value_rowids()
  size = tf.gather(length, window)
  shorter = tf.minimum(left.flat_values, size - 1 - left.flat_values)
  score = tf.cast(shorter, tf.float64) + 0.01 * tf.cast(size, tf.float64)
  piece = tf.gather(start, window) + left.flat_values
  best = tf.math.unsorted_segment_max(score, piece, num_pieces)
  candidate = tf.where(score == tf.gather(best, piece), window, tf.int64.max)
  winner = tf.math.unsorted_segment_min(candidate, piece, num_pieces)
  return left.with_flat_values(tf.gather(winner, piece) == window)


def in_chunks(
  answer: Callable[[dict[str, tf.Tensor]], Mapping[str, tf.Tensor]],
  features: Mapping[str, tf.Tensor],
  sizes: Mapping[str, tuple[int, ...]],
) -> dict[str, tf.Tensor]:
  """Computes the answers of windows, a few after the other.

  Args:
    answer: features of some windows to outputs of as many rows.
    features: int32 [N, S].
    sizes: name of each wanted output, float32 -> its sizes after [N, S].
  """
  count, width = tf.unstack(tf.shape(features["input_ids"]))

  def run(begin: tf.Tensor, found: dict[str, tf.Tensor]):
    part = {name: value[begin : begin + _CHUNK] for name, value in features.items()}
    outputs = answer(part)
    return begin + _CHUNK, {
      name: tf.concat([rows, outputs[name]], axis=0) for name, rows in found.items()
    }

  empty = {name: tf.zeros([0, width, *rest]) for name, rest in sizes.items()}
  shapes = {name: tf.TensorShape([None, None, *rest]) for name, rest in sizes.items()}
  _, found = tf.while_loop(
    lambda begin, _: begin < count,
    run,
    (tf.constant(0), empty),
    shape_invariants=(tf.TensorShape([]), shapes),
  )
  return found
