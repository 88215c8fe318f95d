"""Pretraining: masked LM and next sentence (paper, section 3.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from bert_tf import names
from bert_tf.config import BertConfig
from bert_tf.data import pipelines
from bert_tf.data.corpora import Corpus
from bert_tf.data.dynamic_masking import DynamicMasking
from bert_tf.data.records import FeatureSpec
from bert_tf.heads import PretrainingModel
from bert_tf.training.task import FeatureRole, Features, Task, encoder_features


@dataclasses.dataclass(frozen=True)
class Source:
  """Where pretraining records come from.

  Attributes:
    files: TFRecords.
    spec: what the records hold, see `checks.pretraining_spec`.
    masking: draws the masks of training batches anew; of evaluation batches only where the
      records hold none.
    pack: lay several sequences of a training batch into one row, see `packing`.
    corpora: what `files` is made of, where each has a share of its own in training.
  """

  files: Sequence[str]
  spec: FeatureSpec
  masking: DynamicMasking | None = None
  pack: bool = False
  corpora: Sequence[Corpus] = ()

  @property
  def masked(self) -> bool:
    """Whether the records hold masks."""
    return "masked_lm_ids" in self.spec


class PretrainingTask(Task):
  """Predicts masked words and whether the second text follows the first."""

  # An encoder alone is enough to start from.
  allow_missing = names.PRETRAINING_HEAD + names.POOLER

  def __init__(
    self,
    config: BertConfig,
    train: Source,
    held_out: Source | None = None,
    eval_batch_size: int = 8,
    max_eval_steps: int = 100,
    allow_missing: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
  ):
    """Args.

    config: the architecture.
    train: what to train on.
    held_out: what to evaluate on; default: the first training records.
    eval_batch_size: examples in a batch of the evaluation.
    max_eval_steps: how many batches to evaluate on.
    allow_missing: see `Task`.
    settings: see `Task`.
    """
    super().__init__(allow_missing=allow_missing, settings=settings)
    self._config = config
    self._train = train
    self._held_out = held_out or train
    self.eval_batch_size = eval_batch_size
    self.max_eval_steps = max_eval_steps
    self._evaluator: Evaluator | None = None

  @property
  def config(self) -> BertConfig:
    """See `Task`."""
    return self._config

  @property
  def features(self) -> dict[str, FeatureRole]:
    """See `Task`."""
    pairs = FeatureRole(limit=2, is_label=True, weights="next_sentence_weights")
    return {
      **encoder_features(self._config),
      "masked_lm_positions": FeatureRole(limit=self._train.spec["input_ids"].length),
      "masked_lm_ids": FeatureRole(limit=self._config.vocab_size),
      "next_sentence_labels": pairs,
    }

  def predictions_per_row(self, batch: Mapping[str, np.ndarray]) -> int:
    """See `Task`."""
    return batch["masked_lm_ids"].shape[1]

  def create_model(self, dtype: str, recompute_activations: bool = False) -> PretrainingModel:
    """See `Task`."""
    return PretrainingModel(self._config, dtype, recompute_activations)

  def train_dataset(self, options: pipelines.ReadOptions) -> tf.data.Dataset:
    """See `Task`."""
    source = self._train
    return pipelines.pretraining_dataset(
      source.files, source.spec, options, source.masking, source.pack, source.corpora
    )

  def eval_dataset(self) -> tf.data.Dataset:
    """The held-out records in order, in full batches, repeated if need be, as in the original."""
    source = self._held_out
    options = pipelines.ReadOptions(batch_size=self.eval_batch_size, training=False)
    masking = None if source.masked else source.masking
    dataset = pipelines.pretraining_dataset(source.files, source.spec, options, masking)
    return dataset.take(self.max_eval_steps)

  def num_train_examples(self) -> int:
    """See `Task`."""
    return sum(pipelines.count_records(path) for path in self._train.files)

  @property
  def can_evaluate(self) -> bool:
    """Always: at worst on the first training records."""
    return True

  def evaluate(
    self,
    model: PretrainingModel,
    watch: Callable[[Iterable[Features]], Iterable[Features]] = iter,
  ) -> dict[str, float]:
    """See `Task`; `watch` passes the batches on, and may show progress."""
    if self._evaluator is None or self._evaluator.model is not model:
      self._evaluator = Evaluator(model)
    return self._evaluator.evaluate(watch(self.eval_dataset()))

  def loss_weights(self, features: Features) -> dict[str, tf.Tensor]:
    """The number of masked words, and of sequences."""
    return {
      # The original's guard against a batch without a single masked word.
      "masked_lm": tf.reduce_sum(features["masked_lm_weights"]) + 1e-5,
      "next_sentence": tf.reduce_sum(_pair_weights(features)),
    }

  def loss_sums(self, outputs: dict[str, tf.Tensor], features: Features) -> dict[str, tf.Tensor]:
    """Sums of cross entropies (`get_masked_lm_output`, `get_next_sentence_output`)."""
    masked_lm, next_sentence = example_losses(outputs, features)
    weights = tf.reshape(features["masked_lm_weights"], [-1])
    return {
      "masked_lm": tf.reduce_sum(masked_lm * weights),
      "next_sentence": tf.reduce_sum(next_sentence * _pair_weights(features)),
    }


def _pair_weights(features: Features) -> tf.Tensor:
  """1 for every pair, 0 for places of packed rows that hold none: float32 [B] or [B * C]."""
  labels = features["next_sentence_labels"]
  weights = features.get("next_sentence_weights", tf.ones_like(labels, tf.float32))
  return tf.reshape(weights, [-1])


def example_losses(
  outputs: dict[str, tf.Tensor], features: Features
) -> tuple[tf.Tensor, tf.Tensor]:
  """Cross entropies of every prediction, float32 [B * P], and of every pair, float32 [B] (of
  packed rows [B * C]).
  """
  return (
    tf.nn.sparse_softmax_cross_entropy_with_logits(
      tf.reshape(features["masked_lm_ids"], [-1]), outputs["masked_lm_logits"]
    ),
    tf.nn.sparse_softmax_cross_entropy_with_logits(
      tf.reshape(features["next_sentence_labels"], [-1]), outputs["next_sentence_logits"]
    ),
  )


class Evaluator:
  """Streams the original's four evaluation metrics, and its `loss`, over batches."""

  def __init__(self, model: PretrainingModel):
    self.model = model

  @tf.function(autograph=False)
  def _sums(self, features: Features) -> dict[str, tf.Tensor]:
    outputs = self.model(features, training=False)
    masked_lm, next_sentence = example_losses(outputs, features)
    weights = tf.reshape(features["masked_lm_weights"], [-1])
    words = tf.reshape(features["masked_lm_ids"], [-1])
    labels = tf.reshape(features["next_sentence_labels"], [-1])

    def hits(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
      return tf.cast(tf.argmax(logits, axis=-1, output_type=truth.dtype) == truth, tf.float32)

    masked_lm_sum = tf.reduce_sum(masked_lm * weights)
    return {
      "masked_lm_hits": tf.reduce_sum(hits(outputs["masked_lm_logits"], words) * weights),
      "masked_lm_loss": masked_lm_sum,
      "masked_lm_weight": tf.reduce_sum(weights),
      "next_sentence_hits": tf.reduce_sum(hits(outputs["next_sentence_logits"], labels)),
      "next_sentence_loss": tf.reduce_sum(next_sentence),
      "next_sentence_weight": tf.cast(tf.size(labels), tf.float32),
      "batch_loss": masked_lm_sum / (tf.reduce_sum(weights) + 1e-5) + tf.reduce_mean(next_sentence),
    }

  def evaluate(self, batches: Iterable[Features]) -> dict[str, float]:
    """Returns accuracies and mean losses by the original's names.

    `loss` is the mean of the batches' training losses, as the original's Estimator reports it;
    the others are means over all predictions.
    """
    totals: dict[str, float] = {}
    steps = 0
    for features in batches:
      sums = self._sums(features)
      totals = {k: totals.get(k, 0.0) + float(v) for k, v in sums.items()}
      steps += 1
    masked_lm, pairs = totals["masked_lm_weight"], totals["next_sentence_weight"]
    return {
      "loss": totals["batch_loss"] / steps,
      "masked_lm_accuracy": totals["masked_lm_hits"] / masked_lm,
      "masked_lm_loss": totals["masked_lm_loss"] / masked_lm,
      "next_sentence_accuracy": totals["next_sentence_hits"] / pairs,
      "next_sentence_loss": totals["next_sentence_loss"] / pairs,
    }
