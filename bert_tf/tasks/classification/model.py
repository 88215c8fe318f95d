"""Training on sentences and computing their logits (BERT paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from bert_tf import names
from bert_tf.config import BertConfig
from bert_tf.data import pipelines
from bert_tf.data.records import FeatureSpec
from bert_tf.document_classifier import DocumentClassifierModel, num_windows
from bert_tf.heads import ClassifierModel
from bert_tf.model_dir.label_scale import LabelScale
from bert_tf.tasks.classification import metrics
from bert_tf.tasks.classification.processors import CLASSIFICATION, MULTILABEL, REGRESSION
from bert_tf.tasks.long_text import LongText
from bert_tf.training import inference
from bert_tf.training.task import FeatureRole, Features, Task, encoder_features


class Reading(NamedTuple):
  """How a model reads texts: `max_seq_length`, in pieces, and what it does with longer ones."""

  max_seq_length: int
  long_text: LongText = LongText()


def create_model(
  config: BertConfig,
  num_outputs: int,
  reading: Reading,
  dtype: str | None = None,
  recompute_activations: bool = False,
  label_scale: LabelScale | None = None,
) -> ClassifierModel:
  """Returns the model of a sentence task: of sequences, or of documents."""
  length, long_text = reading
  if not long_text.in_windows:
    return ClassifierModel(config, num_outputs, dtype, recompute_activations, label_scale)
  return DocumentClassifierModel(
    config, num_outputs, length, long_text.stride(length), long_text.pooling, dtype,
    recompute_activations, label_scale,
  )  # fmt: skip


class ClassificationTask(Task):
  """Predicts a label, several labels or a number from the pooled vector."""

  # An encoder alone is enough to start from.
  allow_missing = ("output_weights", "output_bias", "window_attention/*", *names.POOLER)

  def __init__(
    self,
    config: BertConfig,
    num_outputs: int,
    task_type: str,
    spec: FeatureSpec,
    train_file: str | None = None,
    pad_to_max_length: bool = False,
    reading: Reading | None = None,
    class_weights: Sequence[float] | None = None,
    label_scale: LabelScale | None = None,
    **common: Any,
  ):
    """Args.

    config: the architecture.
    num_outputs: number of labels; 1 for regression.
    task_type: see `processors.TASK_TYPES`.
    spec: what the records hold.
    train_file: TFRecords to train on.
    pad_to_max_length: give all batches one shape, for XLA and TPUs; otherwise they are made of
      examples of similar length and padded to the longest of these.
    reading: how texts are read; default: as sequences, of what the records hold.
    class_weights: [L], see the module of that name; of training alone.
    label_scale: of the labels of a regression, in whose unit its weights count.
    **common: see `Task`.
    """
    super().__init__(**common)
    self._config = config
    self._num_outputs = num_outputs
    self._task_type = task_type
    self._spec = spec
    self._train_file = train_file
    self._reading = reading or Reading(spec["input_ids"].size)
    self._class_weights = class_weights
    self._label_scale = label_scale
    self._buckets = None if pad_to_max_length else pipelines.LengthBuckets()
    self._predict = inference.Predictor(self._answers)
    self.best_metric = {REGRESSION: "pearson", MULTILABEL: "micro_f1"}.get(task_type, "accuracy")

  @property
  def config(self) -> BertConfig:
    """See `Task`."""
    return self._config

  @property
  def features(self) -> dict[str, FeatureRole]:
    """See `Task`."""
    label = FeatureRole()
    if self._task_type == CLASSIFICATION:
      label = FeatureRole(limit=self._num_outputs, is_label=True)
    return {**encoder_features(self._config), "label_ids": label}

  def create_model(self, dtype: str, recompute_activations: bool = False) -> ClassifierModel:
    """See `Task`."""
    return create_model(
      self._config, self._num_outputs, self._reading, dtype, recompute_activations,
      self._label_scale,
    )  # fmt: skip

  def sequences_of_row(self, length: Any) -> tuple[Any, Any]:
    """See `Task`: the windows of a document."""
    longest, long_text = self._reading
    if not long_text.in_windows:
      return 1, length
    # [CLS] and [SEP] belong to every window.
    count = num_windows(length - 2, longest - 2, long_text.stride(longest))
    return count, min(length, longest) if isinstance(length, int) else tf.minimum(length, longest)

  def train_dataset(self, options: pipelines.ReadOptions) -> tf.data.Dataset:
    """See `Task`."""
    return pipelines.example_dataset(self._train_file or [], self._spec, options, self._buckets)

  def num_train_examples(self) -> int | None:
    """See `Task`."""
    return pipelines.count_records(self._train_file) if self._train_file else None

  def score(
    self, model: ClassifierModel, path: str, truth: np.ndarray, batch_size: int
  ) -> dict[str, float]:
    """The scores of `metrics.compute` that are numbers, and the mean `loss`.

    Args: `path`, TFRecords; `truth`, their labels as of `metrics.compute`.
    """
    logits, losses = self.predict_all(model, path, len(truth), batch_size)
    labels = [str(index) for index in range(self._num_outputs)]
    scores = metrics.compute(logits, truth, self._task_type, labels)
    numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
    return {**numbers, "loss": float(np.mean(losses))}

  def loss_weights(self, features: Features) -> dict[str, tf.Tensor]:
    """The number of examples, or the weights of their labels."""
    return {"classification": tf.reduce_sum(self._example_weights(features["label_ids"]))}

  def loss_sums(self, outputs: dict[str, tf.Tensor], features: Features) -> dict[str, tf.Tensor]:
    """The weighted sum of `example_losses`, of a regression in the unit of its weights."""
    labels = features["label_ids"]
    losses = example_losses(outputs["logits"], labels, self._task_type, self._class_weights)
    if self._label_scale is not None:
      losses /= self._label_scale.deviation**2
    return {"classification": tf.reduce_sum(losses * self._example_weights(labels))}

  def _example_weights(self, labels: tf.Tensor) -> tf.Tensor:
    """How much each example counts, float32 [batch]; of several labels the losses are weighted."""
    if self._class_weights is None or self._task_type != CLASSIFICATION:
      return tf.ones(tf.shape(labels)[:1])
    return tf.gather(tf.constant(self._class_weights, tf.float32), labels)

  def predict_all(
    self, model: ClassifierModel, path: str, count: int, batch_size: int, what: str | None = None
  ) -> tuple[np.ndarray, np.ndarray]:
    """Logits [n, L] and losses [n] in the order of a file of `count` records.

    Args: `what`, names a progress bar; None for no bar.
    """
    options = pipelines.ReadOptions(batch_size=batch_size, training=False)
    dataset = pipelines.example_dataset(path, self._spec, options, self._buckets)
    logits = np.zeros([count, self._num_outputs], np.float32)
    losses = np.zeros([count], np.float32)
    for places, *values in self._predict(model, dataset, -(-count // batch_size), what):
      logits[places], losses[places] = values
    return logits, losses

  def _answers(self, model: ClassifierModel, features: Features) -> tuple[tf.Tensor, tf.Tensor]:
    """Logits [b, L] and losses [b]."""
    logits = model(features, training=False)["logits"]
    return logits, example_losses(logits, features["label_ids"], self._task_type)


def example_losses(
  logits: tf.Tensor,
  labels: tf.Tensor,
  task_type: str,
  positive_weights: Sequence[float] | None = None,
) -> tf.Tensor:
  """Cross entropy, squared error or mean of binary cross entropies: float32 [batch].

  Args:
    logits: float32 [batch, L], or [batch, 1] for regression.
    labels: int [batch] ids, float [batch], or float [batch, L] for multi-label.
    task_type: see `processors.TASK_TYPES`.
    positive_weights: [L], for multi-label: how much the terms of labels that are there count.
  """
  if task_type == REGRESSION:
    return tf.math.squared_difference(logits[:, 0], labels)
  if task_type == MULTILABEL:
    if positive_weights is None:
      losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    else:
      weights = tf.constant(positive_weights, tf.float32)
      losses = tf.nn.weighted_cross_entropy_with_logits(labels, logits, weights)
    return tf.reduce_mean(losses, axis=-1)
  return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
