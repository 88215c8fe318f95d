"""Training on answers and computing their logits (BERT paper, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from bert_tf import names
from bert_tf.config import BertConfig
from bert_tf.data import pipelines, records
from bert_tf.heads import SpanModel
from bert_tf.training import inference
from bert_tf.training.task import FeatureRole, Features, Task, encoder_features


class SquadTask(Task):
  """Finds the first and the last piece of an answer; [CLS] is both where there is none."""

  # An encoder alone is enough to start from; the pooler is not used.
  allow_missing = ("cls/squad/*", *names.POOLER)
  untrained = names.POOLER
  # Positions of padding compete in the loss.
  token_features = ()

  best_metric = "f1"

  def __init__(
    self,
    config: BertConfig,
    max_seq_length: int,
    train_file: str | None = None,
    num_windows: int | None = None,
    version_2_with_negative: bool = False,
    **common: Any,
  ):
    """Args.

    config: the architecture.
    max_seq_length: of the windows.
    train_file: TFRecords of windows to train on.
    num_windows: how many they are.
    version_2_with_negative: whether some questions have no answer, as in SQuAD 2.0.
    **common: see `Task`; the scores of its `scorer` have f1 among them.
    """
    super().__init__(**common)
    self._predict = inference.Predictor(_span_logits)
    self._config = config
    self._max_seq_length = max_seq_length
    self._train_file = train_file
    self._num_windows = num_windows
    self._version_2 = version_2_with_negative

  @property
  def config(self) -> BertConfig:
    """See `Task`."""
    return self._config

  @property
  def features(self) -> dict[str, FeatureRole]:
    """See `Task`."""
    place = FeatureRole(limit=self._max_seq_length)
    return {
      **encoder_features(self._config),
      "start_positions": place,
      "end_positions": place,
      "is_impossible": FeatureRole(limit=2, is_label=self._version_2),
    }

  def create_model(self, dtype: str, recompute_activations: bool = False) -> SpanModel:
    """See `Task`."""
    return SpanModel(self._config, dtype, recompute_activations)

  def train_dataset(self, options: pipelines.ReadOptions) -> tf.data.Dataset:
    """See `Task`. All windows are padded to max_seq_length, which the loss depends on."""
    spec = records.squad(self._max_seq_length, is_training=True)
    return pipelines.example_dataset(self._train_file or [], spec, options)

  def predict(
    self,
    model: SpanModel,
    path: str,
    count: int,
    batch_size: int,
    dynamic_padding: bool = False,
    what: str | None = None,
  ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (place in the file, start logits [S], end logits [S]) of every window.

    Args:
      model: with its weights.
      path: TFRecords of `count` windows.
      count: how many these are.
      batch_size: how many at once.
      dynamic_padding: cut the padding. Batches then hold windows of similar length, and come in
        another order than the file's.
      what: names a progress bar; None for no bar.
    """
    spec = records.squad(self._max_seq_length, is_training=False)
    options = pipelines.ReadOptions(batch_size=batch_size, training=False)
    buckets = pipelines.LengthBuckets() if dynamic_padding else None
    dataset = pipelines.example_dataset(path, spec, options, buckets)
    for places, start, end in self._predict(model, dataset, -(-count // batch_size), what):
      yield from zip(places.tolist(), start, end, strict=True)

  def num_train_examples(self) -> int | None:
    """The number of windows."""
    return self._num_windows

  def loss_weights(self, features: Features) -> dict[str, tf.Tensor]:
    """The number of windows."""
    return {"span": tf.cast(tf.size(features["start_positions"]), tf.float32)}

  def loss_sums(self, outputs: dict[str, tf.Tensor], features: Features) -> dict[str, tf.Tensor]:
    """Sum over windows of the mean of the cross entropies of start and end.

    As in the original, every position competes, padding too.
    """
    start, end = (
      tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.reshape(features[f"{side}_positions"], [-1]), outputs[f"{side}_logits"]
      )
      for side in ("start", "end")
    )
    return {"span": tf.reduce_sum(start + end) / 2}


def _span_logits(model: SpanModel, features: Features) -> tuple[tf.Tensor, tf.Tensor]:
  """Start and end logits [b, S]."""
  outputs = model(features, training=False)
  return outputs["start_logits"], outputs["end_logits"]
