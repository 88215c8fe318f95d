"""What the training engine needs to know of a task."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  import keras
  import numpy as np
  import tensorflow as tf

  from bert_tf.config import BertConfig
  from bert_tf.data.pipelines import ReadOptions

Features = dict[str, "tf.Tensor"]


@dataclasses.dataclass(frozen=True)
class FeatureRole:
  """What the engine may know of a feature.

  Attributes:
    limit: values that are whole numbers lie in [0, limit); None: anything goes.
    ignored: a value beyond the limit that stands for nothing.
    is_label: whether the data should have several values of it, so that there is something to
      learn.
    weights: the feature that is 0 where this one holds nothing; None: it always holds something.
  """

  limit: int | None = None
  ignored: int | None = None
  is_label: bool = False
  weights: str | None = None


def encoder_features(config: BertConfig) -> dict[str, FeatureRole]:
  """What every task feeds to the encoder."""
  return {
    "input_ids": FeatureRole(limit=config.vocab_size),
    "input_mask": FeatureRole(limit=2),
    "segment_ids": FeatureRole(limit=config.type_vocab_size),
  }


class Task(abc.ABC):
  """A model, its losses and its training data.

  Batches of every task have `input_mask` [batch, length], 1 where there is a piece; rows that hold
  several examples have `sequence_ids`, the number of the example from 1 on, 0 for padding.

  A loss is a weighted mean over a batch. It is given as two sums, so that the mean is taken over
  the whole batch however it is cut up among devices and accumulation steps: the engine adds up
  the weights of all pieces before it divides.
  """

  # Names, or patterns, of weights that an initial checkpoint need not hold.
  allow_missing: tuple[str, ...] = ()
  # Names, or patterns, of weights that no loss depends on: they get no update and no moments.
  untrained: tuple[str, ...] = ()
  # Features that are [batch, length], and of which no loss depends on positions of padding.
  token_features: tuple[str, ...] = (
    "input_ids", "input_mask", "segment_ids", "position_ids", "sequence_ids",
  )  # fmt: skip
  # What `evaluate` returns that says which weights are best; with a "-" less is better.
  best_metric: str = "-loss"

  def __init__(
    self,
    *,
    allow_missing: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    scorer: Callable[[keras.Model], dict[str, float]] | None = None,
  ):
    """Args.

    allow_missing: further names, or patterns, of weights that an initial checkpoint need not hold.
    settings: what else would make a run another one if it changed, such as lengths; JSON values,
      see `run_config`.
    scorer: returns metrics on held-out data, `best_metric` among them; None: training goes on
      without evaluation.
    """
    self.allow_missing = (*type(self).allow_missing, *allow_missing)
    self.settings: dict[str, Any] = dict(settings or {})
    self.scorer = scorer

  @property
  @abc.abstractmethod
  def config(self) -> BertConfig:
    """The architecture of the encoder."""

  @property
  @abc.abstractmethod
  def features(self) -> Mapping[str, FeatureRole]:
    """What the batches of `train_dataset` hold, by name; what is not there is not looked at."""

  @abc.abstractmethod
  def create_model(self, dtype: str, recompute_activations: bool = False) -> keras.Model:
    """Returns a model with fresh weights, to be called as
    `model(features, training=..., dropout_seed=...)` -> dictionary of outputs.
    """

  @abc.abstractmethod
  def train_dataset(self, options: ReadOptions) -> tf.data.Dataset:
    """Returns infinite batches of features: all int32 or float32, [batch, ...]."""

  @abc.abstractmethod
  def loss_weights(self, features: Features) -> dict[str, tf.Tensor]:
    """Returns for every loss the sum of the weights of its terms, a float32 scalar."""

  @abc.abstractmethod
  def loss_sums(self, outputs: dict[str, tf.Tensor], features: Features) -> dict[str, tf.Tensor]:
    """Returns for every loss the weighted sum of its terms, a float32 scalar.

    The total loss is the sum over losses of loss_sums / loss_weights.
    """

  @property
  def can_evaluate(self) -> bool:
    """Whether `evaluate` may be called."""
    return self.scorer is not None

  def evaluate(self, model: keras.Model) -> dict[str, float]:
    """Returns metrics on held-out data, `best_metric` among them; every worker calls it."""
    if self.scorer is None:
      raise NotImplementedError
    return self.scorer(model)

  def predictions_per_row(self, batch: Mapping[str, np.ndarray]) -> int:
    """Returns for how many places of a row the task computes a score of every word."""
    return 0

  def sequences_of_row(self, length: Any) -> tuple[Any, Any]:
    """Returns how many sequences a row of `length` ids is computed as, and how long these are.

    Args: `length`, padding included; a number or an int32 scalar.
    """
    return 1, length

  def num_train_examples(self) -> int | None:
    """Returns how many examples an epoch has, or None where that is not known."""
    return None
