"""Training on words and computing their labels (BERT paper, section 5.3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from bert_tf import names
from bert_tf.config import BertConfig
from bert_tf.data import pipelines, records
from bert_tf.heads import TokenClassifierModel
from bert_tf.training import inference
from bert_tf.training.task import FeatureRole, Features, Task, encoder_features


@dataclasses.dataclass(frozen=True)
class WordLabels:
  """What a model says of words, in the order of their file.

  Attributes:
    ids: of the likeliest labels, int32 [words].
    probabilities: theirs, float32 [words].
    losses: cross entropies of the labels in the file, float32 [words].
  """

  ids: np.ndarray
  probabilities: np.ndarray
  losses: np.ndarray


class NerTask(Task):
  """Predicts a label from the vector of every word's first piece."""

  # An encoder alone is enough to start from; the pooler is not used.
  allow_missing = ("output_weights", "output_bias", *names.POOLER)
  untrained = names.POOLER
  token_features = (*Task.token_features, "label_ids")
  best_metric = "f1"

  def __init__(
    self,
    config: BertConfig,
    num_labels: int,
    max_seq_length: int,
    train_file: str | None = None,
    pad_to_max_length: bool = False,
    **common: Any,
  ):
    """Args.

    config: the architecture.
    num_labels: L.
    max_seq_length: of the windows in the records.
    train_file: TFRecords to train on.
    pad_to_max_length: give all batches one shape, for XLA and TPUs; otherwise they are made of
      windows of similar length and padded to the longest of these.
    **common: see `Task`; the scores of its `scorer` have f1 among them.
    """
    super().__init__(**common)
    self._config = config
    self._num_labels = num_labels
    self._spec = records.token_labelling(max_seq_length)
    self._train_file = train_file
    self._buckets = None if pad_to_max_length else pipelines.LengthBuckets()
    self._predict = inference.Predictor(self._answers)

  @property
  def config(self) -> BertConfig:
    """See `Task`."""
    return self._config

  @property
  def features(self) -> dict[str, FeatureRole]:
    """See `Task`. Most words have one label, which is nothing to warn of."""
    labels = FeatureRole(limit=self._num_labels, ignored=records.NO_LABEL)
    return {**encoder_features(self._config), "label_ids": labels}

  def create_model(self, dtype: str, recompute_activations: bool = False) -> TokenClassifierModel:
    """See `Task`."""
    return TokenClassifierModel(self._config, self._num_labels, dtype, recompute_activations)

  def train_dataset(self, options: pipelines.ReadOptions) -> tf.data.Dataset:
    """See `Task`."""
    return pipelines.example_dataset(self._train_file or [], self._spec, options, self._buckets)

  def num_train_examples(self) -> int | None:
    """The number of windows."""
    return pipelines.count_records(self._train_file) if self._train_file else None

  def loss_weights(self, features: Features) -> dict[str, tf.Tensor]:
    """The number of words; every window has one at least."""
    return {"labels": tf.reduce_sum(tf.cast(_is_word(features), tf.float32))}

  def loss_sums(self, outputs: dict[str, tf.Tensor], features: Features) -> dict[str, tf.Tensor]:
    """The sum of the cross entropies of all words."""
    return {"labels": tf.reduce_sum(_losses(outputs["logits"], features))}

  def predict(
    self, model: TokenClassifierModel, path: str, count: int, batch_size: int, what: str | None
  ) -> WordLabels:
    """The labels of all words in a file of `count` windows.

    Args: `what`, names a progress bar; None for no bar.
    """
    options = pipelines.ReadOptions(batch_size=batch_size, training=False)
    dataset = pipelines.example_dataset(path, self._spec, options, self._buckets)
    rows: list[tuple[np.ndarray, ...]] = [()] * count
    batches = self._predict(model, dataset, -(-count // batch_size), what)
    for places, is_word, *values in batches:
      for row, place in enumerate(places):
        rows[place] = tuple(value[row][is_word[row]] for value in values)
    return WordLabels(*map(np.concatenate, zip(*rows, strict=True)))

  def _answers(self, model: TokenClassifierModel, features: Features) -> tuple[tf.Tensor, ...]:
    """Whether a word begins [b, S], and the fields of `WordLabels` [b, S]."""
    logits = model(features, training=False)["logits"]
    ids = tf.argmax(logits, axis=-1, output_type=tf.int32)
    best = tf.reduce_max(tf.nn.softmax(logits), axis=-1)
    return _is_word(features), ids, best, _losses(logits, features)


def _is_word(features: Features) -> tf.Tensor:
  """Whether a word is to be labelled at each position, bool [B, S]."""
  return features["label_ids"] >= 0


def _losses(logits: tf.Tensor, features: Features) -> tf.Tensor:
  """Cross entropies, float32 [B, S]; 0 where there is no word."""
  labels = tf.maximum(features["label_ids"], 0)
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
  return tf.where(_is_word(features), losses, 0.0)
