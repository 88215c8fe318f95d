"""Runs a model on sequences of ids and gives what is asked for, in their order.

B sequences of a batch, S tokens of the longest one, H hidden size, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bert_tf.tasks.vectors.token_vectors import InputFeatures, by_length

Features = Mapping[str, tf.Tensor]
# A model and its features -> tensors with B rows each.
Outputs = Callable[[keras.Model, Features], tuple[tf.Tensor, ...]]
_NAMES = ("input_ids", "input_mask", "segment_ids")


class Computation:
  """A model that is traced once for every kind of output."""

  def __init__(self, model: keras.Model, max_seq_length: int):
    """Args: `max_seq_length`, which no batch is padded beyond."""
    self.model = model
    self._max_seq_length = max_seq_length
    self._traced: dict[Any, Callable[..., tuple[tf.Tensor, ...]]] = {}

  def run(
    self,
    sequences: Sequence[InputFeatures],
    kind: Any,
    outputs: Outputs,
    batch_size: int,
    longest: int | None = None,
  ) -> list[tuple[np.ndarray, ...]]:
    """Returns for every sequence its rows of the outputs, padded as its batch was.

    Args:
      sequences: not padded; batches are made of those of similar length.
      kind: names the outputs; those of one name are traced once.
      outputs: what to compute.
      batch_size: how many sequences at once.
      longest: what no batch is padded beyond; default: `max_seq_length`.
    """
    function = self._function(kind, outputs)
    results: list[tuple[np.ndarray, ...]] = [()] * len(sequences)
    batches = by_length(sequences, function, batch_size, longest or self._max_seq_length)
    for places, values in batches:
      for row, place in enumerate(places):
        results[place] = tuple(value[row].numpy() for value in values)
    return results

  def _function(self, kind: Any, outputs: Outputs) -> Callable[..., Any]:
    if kind not in self._traced:
      specs = [tf.TensorSpec([None, None], tf.int32, name) for name in _NAMES]

      def compute(*arrays: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return outputs(self.model, dict(zip(_NAMES, arrays, strict=True)))

      # Traced now: a tf.function that is traced for one model after the other warns of it.
      graph = tf.function(compute, input_signature=specs, autograph=False).get_concrete_function()
      self._traced[kind] = lambda *arrays: graph(*map(tf.constant, arrays))
    return self._traced[kind]


def logits(model: keras.Model, features: Features) -> tuple[tf.Tensor, ...]:
  """Those of a classifier, float32 [B, L]."""
  return (model(dict(features))["logits"],)


def token_labels(model: keras.Model, features: Features) -> tuple[tf.Tensor, ...]:
  """The likeliest label of every token, int32 [B, S], and its probability, float32 [B, S]."""
  scores = model(dict(features))["logits"]
  best = tf.argmax(scores, axis=-1, output_type=tf.int32)
  return best, tf.reduce_max(tf.nn.softmax(scores), axis=-1)


def spans(model: keras.Model, features: Features) -> tuple[tf.Tensor, ...]:
  """Start and end logits, float32 [B, S] each."""
  found = model(dict(features))
  return found["start_logits"], found["end_logits"]


def masked_words(mask_id: int, top_k: int) -> Outputs:
  """The likeliest words for every mask: ids and probabilities, [B, P, K], and how many masks there
  are, int32 [B]; P masks of the sequence with most.
  """

  def outputs(model: keras.Model, features: Features) -> tuple[tf.Tensor, ...]:
    is_mask = tf.cast(features["input_ids"] == mask_id, tf.int32)
    count = tf.reduce_sum(is_mask, axis=1)
    # Stable, so the places of the masks come first, from left to right.
    order = tf.argsort(is_mask, axis=1, direction="DESCENDING", stable=True)
    places = order[:, : tf.reduce_max(count)]
    scores = model({**features, "masked_lm_positions": places})["masked_lm_logits"]
    best, ids = tf.math.top_k(tf.nn.softmax(scores), top_k)
    shape = tf.concat([tf.shape(places), [top_k]], axis=0)
    return tf.reshape(ids, shape), tf.reshape(best, shape), count

  return outputs


def text_vectors(pooling: str) -> Outputs:
  """One vector of every sequence, float32 [B, H]; see `POOLINGS`."""
  return lambda model, features: (
    POOLINGS[pooling](getattr(model, "bert", model)(dict(features)), features["input_mask"]),
  )


def _mean(outputs: Mapping[str, tf.Tensor], mask: tf.Tensor) -> tf.Tensor:
  weights = tf.cast(mask, tf.float32)[:, :, tf.newaxis]
  total = tf.reduce_sum(tf.cast(outputs["sequence_output"], tf.float32) * weights, axis=1)
  return total / tf.maximum(tf.reduce_sum(weights, axis=1), 1e-9)


def _max(outputs: Mapping[str, tf.Tensor], mask: tf.Tensor) -> tf.Tensor:
  vectors = tf.cast(outputs["sequence_output"], tf.float32)
  return tf.reduce_max(tf.where(mask[:, :, tf.newaxis] > 0, vectors, -1e9), axis=1)


# How the vectors of tokens become one, as in sentence-transformers: their mean, the vector of
# [CLS], the greatest of each component; or the vector of the pooler, after its tanh.
POOLINGS: dict[str, Callable[[Mapping[str, tf.Tensor], tf.Tensor], tf.Tensor]] = {
  "mean": _mean,
  "cls": lambda outputs, mask: tf.cast(outputs["sequence_output"][:, 0], tf.float32),
  "max": _max,
  "pooler": lambda outputs, mask: tf.cast(outputs["pooled_output"], tf.float32),
}
