"""Masked-LM targets drawn anew whenever a sequence is read (RoBERTa: Liu et al., 2019).

The masks are a pure function of (seed, number of the batch), so a resumed run draws the same ones.
tensorflow_text's masking ops draw from a state that cannot be set to a batch number, so these are
plain TensorFlow ops.

  B: batch   S: max_seq_length   P: max_predictions_per_seq
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from bert_tf.data.masking import Vocabulary

Batch = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class DynamicMasking:
  """Masks a batch of whole sequences, or masks one anew that was masked when it was written.

  Attributes:
    vocabulary: see there.
    masked_lm_prob: share of the sequence (special pieces counted) to predict.
    max_predictions_per_seq: and no more than that.
    whole_word: mask all pieces of a word or none.
    max_ngram: mask runs of 1 to n words (pieces without `whole_word`), a run of k with a
      probability in proportion to 1 / k (ALBERT, Lan et al., 2020, section 4.1).
  """

  vocabulary: Vocabulary
  masked_lm_prob: float = 0.15
  max_predictions_per_seq: int = 20
  whole_word: bool = False
  max_ngram: int = 1

  def __call__(self, seed: tf.Tensor, batch: Batch) -> Batch:
    """Returns the batch with input_ids [B, S] masked and masked_lm_* [B, P] set.

    Args:
      seed: int64 [2].
      batch: int32 input_ids, input_mask, segment_ids [B, S]; `word_continues` [B, S] where records
        say which pieces go on with a word; other features are passed through.
    """
    seeds = tf.unstack(
      tf.random.stateless_uniform([5, 2], seed, minval=None, maxval=None, dtype=tf.int64)
    )
    ids = unmask(batch)
    chosen = self._choose(ids, batch, seeds[:3])
    positions, weights = first_positions(chosen, self.max_predictions_per_seq)
    labels = tf.gather(ids, positions, batch_dims=1) * tf.cast(weights, tf.int32)
    return {
      **{name: value for name, value in batch.items() if name != "word_continues"},
      "input_ids": tf.where(chosen, self._replacements(ids, seeds[3:]), ids),
      "masked_lm_positions": positions,
      "masked_lm_ids": labels,
      "masked_lm_weights": weights,
    }

  def _choose(self, ids: tf.Tensor, batch: Batch, seeds: list[tf.Tensor]) -> tf.Tensor:
    """Which pieces to predict, bool [B, S]."""
    candidates = (
      (batch["input_mask"] > 0) & (ids != self.vocabulary.cls) & (ids != self.vocabulary.sep)
    )
    length = tf.cast(tf.reduce_sum(batch["input_mask"], axis=1), tf.float64)
    wanted = tf.cast(tf.round(length * self.masked_lm_prob), tf.int32)  # [B]
    wanted = tf.minimum(tf.maximum(wanted, 1), self.max_predictions_per_seq)
    scores = tf.random.stateless_uniform(tf.shape(ids), seeds[0])
    if not self.whole_word and self.max_ngram == 1:
      # Every piece is a unit, so the first `wanted` in random order fit.
      order = tf.argsort(tf.where(candidates, scores, 2.0), axis=1)
      rank = tf.argsort(order, axis=1)
      return candidates & (rank < wanted[:, None])
    continues = batch.get("word_continues")
    units = self._units(ids, candidates, batch["segment_ids"], seeds[1], continues)  # [B, S]
    rows, num_units = tf.shape(ids)[0], 2 * ids.shape[1]
    sizes = tf.math.unsorted_segment_sum(
      tf.cast(candidates, tf.int32), units + num_units * tf.range(rows)[:, None], rows * num_units
    )
    sizes = tf.reshape(sizes, [rows, num_units])
    scores = tf.random.stateless_uniform([rows, num_units], seeds[2])
    accepted = _fitting(sizes, scores, wanted)
    return candidates & tf.gather(accepted, units, batch_dims=1)

  def _units(
    self,
    ids: tf.Tensor,
    candidates: tf.Tensor,
    segment_ids: tf.Tensor,
    seed: tf.Tensor,
    continues: tf.Tensor | None = None,
  ) -> tf.Tensor:
    """For every piece the number in [0, 2 S) of what is masked together, int32 [B, S]."""
    starts = candidates
    if self.whole_word:
      if continues is None:
        is_suffix = tf.constant(np.frombuffer(self.vocabulary.is_suffix, np.uint8) > 0)
        goes_on = tf.gather(is_suffix, ids)
      else:
        goes_on = continues > 0
      after_candidate = tf.pad(candidates[:, :-1], [[0, 0], [1, 0]])
      starts &= ~(goes_on & after_candidate)
    words = tf.maximum(tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1, 0)
    if self.max_ngram > 1:
      lengths = _run_lengths(tf.shape(ids), self.max_ngram, seed)
      words = tf.searchsorted(tf.cumsum(lengths, axis=1), words, side="right")
    # No run goes on from the first segment into the second.
    return 2 * words + tf.minimum(segment_ids, 1)

  def _replacements(self, ids: tf.Tensor, seeds: list[tf.Tensor]) -> tf.Tensor:
    """80% [MASK], 10% unchanged, 10% a random piece, int32 [B, S]."""
    shape = tf.shape(ids)
    uniform = tf.random.stateless_uniform(shape, seeds[0])
    random_ids = tf.random.stateless_uniform(
      shape, seeds[1], maxval=self.vocabulary.size, dtype=tf.int32
    )
    return tf.where(uniform < 0.8, self.vocabulary.mask, tf.where(uniform < 0.9, ids, random_ids))


def unmask(batch: Batch) -> tf.Tensor:
  """The whole sequences again of a batch that was masked when it was written, int32 [B, S]."""
  ids = batch["input_ids"]
  if "masked_lm_positions" not in batch:
    return ids
  positions = batch["masked_lm_positions"]
  original = tf.where(
    batch["masked_lm_weights"] > 0,
    batch["masked_lm_ids"],
    tf.gather(ids, positions, batch_dims=1),
  )
  rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(positions))
  return tf.tensor_scatter_nd_update(ids, tf.stack([rows, positions], axis=-1), original)


def first_positions(chosen: tf.Tensor, count: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Positions of the true entries of each row in ascending order, padded with 0.

  Args:
    chosen: bool [B, S].
    count: P; true entries beyond it are left out.

  Returns:
    int32 [B, P] positions, and float32 [B, P] weights: 1, or 0 where padded.
  """
  length = chosen.shape[1]
  from_end = tf.range(length, 0, -1)
  found, _ = tf.math.top_k(tf.where(chosen, from_end, 0), k=min(count, length), sorted=True)
  found = tf.pad(found, [[0, 0], [0, count - min(count, length)]])
  return tf.where(found > 0, length - found, 0), tf.cast(found > 0, tf.float32)


def _run_lengths(shape: tf.Tensor, longest: int, seed: tf.Tensor) -> tf.Tensor:
  """Lengths from 1 to `longest`, k with a probability in proportion to 1 / k, int32 `shape`."""
  weights = 1 / np.arange(1, longest + 1)
  bounds = np.cumsum(weights / weights.sum())[:-1].astype(np.float32)
  uniform = tf.random.stateless_uniform(shape, seed)
  return 1 + tf.reduce_sum(tf.cast(uniform[..., None] >= bounds, tf.int32), axis=-1)


def _fitting(sizes: tf.Tensor, scores: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
  """Takes units in the order of their scores, skipping those that would exceed `wanted`.

  Args:
    sizes: pieces of each unit, int32 [B, units]; 0: there is no such unit.
    scores: float32 [B, units].
    wanted: int32 [B].

  Returns:
    bool [B, units].
  """
  order = tf.argsort(tf.where(sizes > 0, scores, 2.0), axis=1)
  by_order = tf.transpose(tf.gather(sizes, order, batch_dims=1))  # [units, B]

  def is_unfinished(step: tf.Tensor, total: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
    return (step < tf.shape(by_order)[0]) & tf.reduce_any(total < wanted)

  def take(step: tf.Tensor, total: tf.Tensor, taken: tf.Tensor) -> tuple[tf.Tensor, ...]:
    size = by_order[step]
    fits = (size > 0) & (total + size <= wanted)
    taken = tf.tensor_scatter_nd_update(taken, [[step]], fits[None])
    return step + 1, total + tf.where(fits, size, 0), taken

  start = (0, tf.zeros_like(wanted), tf.zeros_like(by_order, tf.bool))
  _, _, taken = tf.while_loop(is_unfinished, take, start)
  return tf.gather(tf.transpose(taken), tf.argsort(order, axis=1), batch_dims=1)
