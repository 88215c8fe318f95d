"""The building blocks of modeling.py and heads.py: affine maps, layer normalisation, residuals."""

from __future__ import annotations

import keras
import tensorflow as tf

from bert_tf import ops
from bert_tf.config import BertConfig
from bert_tf.execution import ExecutionPlan


def create_initializer(initializer_range: float = 0.02) -> keras.initializers.Initializer:
  """Normal distribution cut off at two standard deviations, as in the original."""
  return keras.initializers.TruncatedNormal(stddev=initializer_range)


class Dense(keras.layers.Layer):
  """An affine map of the rows of a matrix: [rows, in] -> [rows, out]."""

  def __init__(self, in_size: int, out_size: int, initializer_range: float, **kwargs):
    super().__init__(**kwargs)
    self._shape = (in_size, out_size)
    self._initializer_range = initializer_range

  def build(self, input_shape=None):
    """Creates `kernel` [in, out] and `bias` [out]."""
    self.kernel = self.add_weight(
      name="kernel", shape=self._shape, initializer=create_initializer(self._initializer_range)
    )
    self.bias = self.add_weight(name="bias", shape=self._shape[1:], initializer="zeros")

  def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
    """[rows, in] -> [rows, out]; Keras hands `training` down to where it is not given."""
    return ops.dense(x, self.kernel, self.bias, training)


class LayerNorm(keras.layers.Layer):
  """Layer normalisation over the last axis, always computed in float32."""

  def __init__(self, size: int, epsilon: float, **kwargs):
    super().__init__(name="LayerNorm", **kwargs)
    self._size = size
    self._epsilon = epsilon

  def build(self, input_shape=None):
    """Creates `beta` and `gamma`, [H]; they stay float32 under mixed precision."""
    options = {"shape": [self._size], "autocast": False}
    self.beta = self.add_weight(name="beta", initializer="zeros", **options)
    self.gamma = self.add_weight(name="gamma", initializer="ones", **options)

  def call(self, x: tf.Tensor) -> tf.Tensor:
    """[..., H] -> [..., H]."""
    return ops.layer_norm(x, self.gamma, self.beta, self._epsilon)

  def of_residual(
    self, x: tf.Tensor, residual: tf.Tensor, rate: float, plan: ExecutionPlan
  ) -> tf.Tensor:
    """LayerNorm(dropout(x) + residual); all [rows, H]."""
    gamma, beta = tf.convert_to_tensor(self.gamma.value), tf.convert_to_tensor(self.beta.value)
    return plan.residual_norm(x, residual, rate, gamma, beta, self._epsilon)


class ResidualOutput(keras.layers.Layer):
  """Projection, dropout, residual connection and layer normalisation, in this order."""

  def __init__(self, in_size: int, config: BertConfig, **kwargs):
    super().__init__(name="output", **kwargs)
    self._rate = config.hidden_dropout_prob
    self._dense = Dense(
      in_size, config.hidden_size, config.initializer_range, name="dense", dtype=self.dtype_policy
    )
    self._layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, dtype=self.dtype_policy)

  def build(self, input_shape=None):
    """Builds the projection and the normalisation."""
    self._dense.build()
    self._layer_norm.build()

  def call(self, x: tf.Tensor, residual: tf.Tensor, plan: ExecutionPlan) -> tf.Tensor:
    """x [B * S, in], residual [B * S, H] -> [B * S, H]."""
    x = self._dense(x, training=plan.training)  # [B * S, H]
    return self._layer_norm.of_residual(x, residual, self._rate, plan)  # [B * S, H]
