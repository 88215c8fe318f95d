"""Applies the update equations to all variables of a model, and keeps their moments."""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import tensorflow as tf

from bert_tf import names
from bert_tf.optimization import fused_update
from bert_tf.optimization.adamw import adamw_update
from bert_tf.optimization.lamb import lamb_update


class Optimizer:
  """Updates variables by AdamW or LAMB; the moments bear the original's names."""

  def __init__(
    self,
    variables: Mapping[str, keras.Variable],
    algorithm: str = "adamw",
    weight_decay_rate: float = 0.01,
    layerwise_lr_decay: float = 1.0,
    adam_bias_correction: bool = False,
  ):
    """Creates zero moments for `variables`; call it under the strategy's scope.

    Args:
      variables: by the original's names.
      algorithm: one of `training.options.OPTIMIZERS`.
      weight_decay_rate: of the variables that `names.uses_weight_decay` selects.
      layerwise_lr_decay: see `layer_rates`.
      adam_bias_correction: see `adamw_update`.
    """
    self._variables = dict(variables)
    self._algorithm = algorithm
    self._weight_decay_rate = weight_decay_rate
    self._bias_correction = adam_bias_correction
    self._rates = layer_rates(self._variables, layerwise_lr_decay)

    def zeros(suffix: str) -> dict[str, tf.Variable]:
      return {
        name: tf.Variable(tf.zeros(variable.shape), trainable=False, name=name + suffix)
        for name, variable in self._variables.items()
      }

    self._m = zeros(names.ADAM_M)
    self._v = zeros(names.ADAM_V)

  @property
  def slots(self) -> dict[str, tf.Variable]:
    """The moments by the names that the original saves them under."""
    slots = {}
    for name in self._variables:
      slots[name + names.ADAM_M] = self._m[name]
      slots[name + names.ADAM_V] = self._v[name]
    return slots

  def apply(
    self,
    gradients: Mapping[str, tf.Tensor],
    scale: tf.Tensor,
    learning_rate: tf.Tensor,
    step: tf.Tensor,
    condition: tf.Tensor,
  ) -> None:
    """Updates every variable where `condition` holds; call it in a replica context.

    Args:
      gradients: name -> dense gradient of any floating type, equal on all replicas.
      scale: float32 scalar, what all gradients are multiplied by; equal on all replicas.
      learning_rate: float32 scalar, equal on all replicas.
      step: integer scalar, the number of this update, counted from 1.
      condition: bool scalar, equal on all replicas; nothing changes where it is false.
    """
    context = tf.distribute.get_replica_context()
    context.merge_call(
      self._apply_all, args=(dict(gradients), scale, learning_rate, step, condition)
    )

  def _apply_all(self, strategy, gradients, scale, learning_rate, step, condition) -> None:
    def apply() -> None:
      for name, variable in self._variables.items():
        strategy.extended.update(
          variable.value,
          self._update,
          args=(gradients[name], self._m[name], self._v[name], scale, learning_rate, step, name),
          group=False,
        )

    tf.cond(strategy.experimental_local_results(condition)[0], apply, lambda: None)

  def _update(self, variable, gradient, m, v, scale, learning_rate, step, name: str) -> None:
    decay = self._weight_decay_rate if names.uses_weight_decay(name) else 0.0
    rate = learning_rate * self._rates[name]
    gradient = fused_update.scaled(gradient, scale)
    if self._algorithm == "lamb":
      lamb_update(variable, gradient, m, v, rate, step, weight_decay_rate=decay)
    else:
      t = step if self._bias_correction else None
      adamw_update(variable, gradient, m, v, rate, weight_decay_rate=decay, bias_correction_step=t)


def layer_rates(variables: Mapping[str, object], decay: float) -> dict[str, float]:
  """The factor of every variable's learning rate: lower layers change less.

  Heads and the pooler have 1, the top layer of L has `decay`, the next one `decay`^2, and the
  embeddings `decay`^(L + 1) (discriminative fine-tuning, arXiv:1801.06146, section 3.2).
  """
  layers = {name: int(m[1]) for name in variables if (m := re.search(r"/layer_(\d+)/", name))}
  top = max(layers.values(), default=-1)

  def exponent(name: str) -> int:
    if name in layers:
      return top + 1 - layers[name]
    return top + 2 if "/embeddings/" in name else 0

  return {name: decay ** exponent(name) for name in variables}
