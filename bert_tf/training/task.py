"""What the training engine needs to know of a task."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  import keras
  import tensorflow as tf

  from bert_tf.data.pipelines import ReadOptions

Features = dict[str, "tf.Tensor"]


class Task(abc.ABC):
  """A model, its losses and its training data.

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

  def num_train_examples(self) -> int | None:
    """Returns how many examples an epoch has, or None where that is not known."""
    return None
