"""BERT's AdamW for Keras: `model.compile(optimizer=create_optimizer(5e-5, 1000, 100))`.

The scripts do not need it; it makes the same updates for models and loops of your own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.optimization.adamw import adamw_update
from bert_tf.optimization.schedules import linear_warmup_and_decay

# The original's `exclude_from_weight_decay`, as patterns of the names that Keras gives, too.
NOT_DECAYED = ("LayerNorm", "layer_norm", "layer_normalization", "bias")


def create_optimizer(
  init_lr: float, num_train_steps: int, num_warmup_steps: int = 0
) -> AdamWeightDecayOptimizer:
  """The optimizer that BERT was trained with (`create_optimizer` of the original).

  Its rate warms up and then falls to 0 linearly, gradients are clipped to a global norm of 1, and
  all weights but biases and layer normalisations decay by 0.01.

  Args:
    init_lr: the peak of the learning rate.
    num_train_steps: updates until the rate is 0.
    num_warmup_steps: updates of the warmup.

  Returns:
    An optimizer for `model.compile`, or to be called with `apply_gradients`. The original's
    arguments `loss` and `use_tpu` have gone: the first is given to `compile`, and the strategy
    that a model is made under takes the place of the second.

  Raises:
    UserError: a number is out of range.
  """
  return AdamWeightDecayOptimizer(
    LinearWarmupAndDecay(init_lr, num_train_steps, num_warmup_steps),
    weight_decay_rate=0.01,
    exclude_from_weight_decay=NOT_DECAYED,
    max_grad_norm=1.0,
  )


@keras.saving.register_keras_serializable("bert_tf")
class LinearWarmupAndDecay(keras.optimizers.schedules.LearningRateSchedule):
  """See `schedules.linear_warmup_and_decay`; update i, from 0, has the rate of step i + 1."""

  def __init__(self, init_lr: float, num_train_steps: int, num_warmup_steps: int = 0):
    """Raises UserError for a number that is out of range."""
    for name, value, least in (
      ("init_lr", init_lr, 0),
      ("num_train_steps", num_train_steps, 1),
      ("num_warmup_steps", num_warmup_steps, 0),
    ):
      if not value >= least:
        raise UserError(f"`{name}`: expected at least {least}, found {value}")
    self._config: dict[str, Any] = {
      "init_lr": init_lr,
      "num_train_steps": num_train_steps,
      "num_warmup_steps": num_warmup_steps,
    }

  def __call__(self, step: int | tf.Tensor) -> tf.Tensor:
    """The rate of the update that is made after `step` others."""
    return linear_warmup_and_decay(tf.convert_to_tensor(step) + 1, **self._config)

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    return dict(self._config)


@keras.saving.register_keras_serializable("bert_tf")
class AdamWeightDecayOptimizer(keras.optimizers.Optimizer):
  """Adam with decoupled weight decay and without bias correction, as an optimizer of Keras.

  The equations are those of `adamw.adamw_update`. Other than Keras' own Adam it adds up the rows
  that an embedding's gradient has of the same id before it squares them, and clips the gradient of
  the whole batch, not that of each replica.
  """

  def __init__(
    self,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay_rate: float = 0.0,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-6,
    exclude_from_weight_decay: Iterable[str] | None = None,
    name: str = "AdamWeightDecayOptimizer",
    max_grad_norm: float | None = None,
    **common: Any,
  ):
    """Args: up to `name` those of the original's class of this name.

    learning_rate: a number, or a schedule.
    weight_decay_rate: of the variables that decay.
    beta_1: decay of the first moment.
    beta_2: decay of the second moment.
    epsilon: added to the root of the second moment.
    exclude_from_weight_decay: patterns (`re.search`) of the paths of variables that do not decay.
    name: of the optimizer.
    max_grad_norm: global norm to clip gradients to; None: do not clip.
    **common: see `keras.optimizers.Optimizer`.
    """
    super().__init__(learning_rate=learning_rate, name=name, **common)
    self._settings: dict[str, Any] = {
      "weight_decay_rate": weight_decay_rate,
      "beta_1": beta_1,
      "beta_2": beta_2,
      "epsilon": epsilon,
      "exclude_from_weight_decay": list(exclude_from_weight_decay or ()),
      "max_grad_norm": max_grad_norm,
    }

  def build(self, variables: Sequence[keras.Variable]) -> None:
    """Creates a first and a second moment for every variable."""
    if self.built:
      return
    super().build(variables)
    self._m = self.add_optimizer_variables(variables, "adam_m")
    self._v = self.add_optimizer_variables(variables, "adam_v")
    self._decays = [self._rate_of_decay(variable.path) for variable in variables]

  def _rate_of_decay(self, path: str) -> float:
    patterns = self._settings["exclude_from_weight_decay"]
    excluded = any(re.search(pattern, path) for pattern in patterns)
    return 0.0 if excluded else self._settings["weight_decay_rate"]

  def apply(
    self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None
  ) -> None:
    """Updates the variables; see `keras.optimizers.Optimizer`.

    Args:
      grads: dense, or `tf.IndexedSlices`; None where a variable has none.
      trainable_variables: default: those that it was built with.
    """
    super().apply(self._clipped([_dense(gradient) for gradient in grads]), trainable_variables)

  def _clipped(self, gradients: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Clips the sum over all replicas.

    Every replica returns an equal part of it, since Keras adds up what the replicas give.
    """
    most = self._settings["max_grad_norm"]
    if not most:
      return gradients
    found = [gradient for gradient in gradients if gradient is not None]
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context else 1
    if replicas > 1:
      found = context.all_reduce(tf.distribute.ReduceOp.SUM, found)
    found, _ = tf.clip_by_global_norm(found, most)
    parts = iter([gradient / replicas for gradient in found] if replicas > 1 else found)
    return [gradient if gradient is None else next(parts) for gradient in gradients]

  def update_step(
    self, gradient: tf.Tensor, variable: keras.Variable | tf.Variable, learning_rate: tf.Tensor
  ) -> None:
    """One update of one variable."""
    index = self._get_variable_index(variable)
    adamw_update(
      variable.value if isinstance(variable, keras.Variable) else variable,
      tf.cast(gradient, tf.float32),
      self._m[index].value,
      self._v[index].value,
      tf.cast(learning_rate, tf.float32),
      weight_decay_rate=self._decays[index],
      beta_1=self._settings["beta_1"],
      beta_2=self._settings["beta_2"],
      epsilon=self._settings["epsilon"],
    )

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    config = super().get_config()
    config.pop("weight_decay", None)  # Keras' own, which would be applied besides.
    return {**config, **self._settings}


def _dense(gradient: Any) -> tf.Tensor | None:
  """Adds up the rows of an embedding's gradient that belong to one id."""
  return gradient if gradient is None else tf.convert_to_tensor(gradient)
