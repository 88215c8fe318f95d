"""Element-wise chains of a training step, each compiled into one kernel with its own gradient.

TensorFlow runs such a chain op by op, through memory every time, and in bfloat16 several of these
ops are not vectorised on CPUs. Here XLA compiles a chain into one loop that computes in float32.
Every function equals a composition of functions of `ops`, which its docstring names; where
`available` says no, that composition is the one to use. docs/performance.md has the measurements.
"""

from __future__ import annotations

import math

import tensorflow as tf

from bert_tf import ops

# Every new shape is compiled, which takes some tenths of a second; narrower models do not get
# them back.
_LEAST_WIDTH = 256

_GELU_SLOPE = math.sqrt(2.0 / math.pi)
_GELU_CUBIC = 0.044715

# Compiles a function of tensors into kernels, once for every shape that it meets.
kernel = tf.function(autograph=False, jit_compile=True)


def available(width: int) -> bool:
  """Whether to use the kernels for vectors of a given width.

  Only where everything runs on CPUs: GPUs need more than TensorFlow to compile kernels, and TPUs
  compile the whole step anyway.
  """
  devices = tf.config.list_logical_devices()
  return width >= _LEAST_WIDTH and all(device.device_type == "CPU" for device in devices)


@tf.custom_gradient
def gelu(x: tf.Tensor) -> tf.Tensor:
  """`ops.gelu`."""
  return _gelu(x), lambda upstream: _gelu_gradient(x, upstream)


@kernel
def _gelu(x: tf.Tensor) -> tf.Tensor:
  x32 = tf.cast(x, tf.float32)
  half = 0.5 * x32
  return tf.cast(half + half * tf.tanh(_gelu_inner(x32)), x.dtype)


@kernel
def _gelu_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
  x32 = tf.cast(x, tf.float32)
  tanh = tf.tanh(_gelu_inner(x32))
  inner_slope = _GELU_SLOPE + 3.0 * _GELU_SLOPE * _GELU_CUBIC * x32 * x32
  slope = 0.5 + 0.5 * tanh + 0.5 * x32 * (1.0 - tanh * tanh) * inner_slope
  return tf.cast(slope * tf.cast(upstream, tf.float32), x.dtype)


def _gelu_inner(x32: tf.Tensor) -> tf.Tensor:
  return x32 * (_GELU_SLOPE + _GELU_SLOPE * _GELU_CUBIC * x32 * x32)


def residual_norm(
  x: tf.Tensor,
  residual: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  epsilon: float,
  random: tf.Tensor,
  dropped: int,
) -> tf.Tensor:
  """`ops.layer_norm(dropout(x) + residual, gamma, beta, epsilon)`.

  Args:
    x: [rows, H].
    residual: [rows, H], of the type of `x`.
    gamma: float32 [H].
    beta: float32 [H].
    epsilon: added to the variance.
    random: uint8 [rows, H]; elements of `x` whose number is less than `dropped` are dropped.
    dropped: 0 to 255.

  Returns:
    [rows, H], in the type of `x`.
  """

  @tf.custom_gradient
  def run(x, residual, gamma, beta):
    y, total, mean, scale = _residual_norm(x, residual, gamma, beta, epsilon, random, dropped)

    def gradient(upstream):
      d_x, d_residual, d_gammas = _residual_norm_gradient(
        upstream, total, mean, scale, gamma, random, dropped
      )
      # Sums over rows in the kernel take longer than all the rest of it, to compile and to run.
      d_gamma, d_beta = (tf.cast(ops.column_sums(d), tf.float32) for d in (d_gammas, upstream))
      return d_x, d_residual, d_gamma, d_beta

    return y, gradient

  return run(x, residual, gamma, beta)


@kernel
def _residual_norm(x, residual, gamma, beta, epsilon: float, random, dropped: int):
  total = tf.cast(_drop(tf.cast(x, tf.float32), random, dropped), x.dtype) + residual
  total32 = tf.cast(total, tf.float32)
  mean = _mean(total32)
  centred = total32 - mean
  variance = _mean(centred * centred)
  scale = tf.math.rsqrt(variance + epsilon)
  return tf.cast(centred * scale * gamma + beta, x.dtype), total, mean, scale


@kernel
def _residual_norm_gradient(upstream, total, mean, scale, gamma, random, dropped: int):
  normed = (tf.cast(total, tf.float32) - mean) * scale
  upstream = tf.cast(upstream, tf.float32)
  d_normed = upstream * gamma
  d_total = (d_normed - _mean(d_normed) - normed * _mean(d_normed * normed)) * scale
  d_x = tf.cast(_drop(d_total, random, dropped), total.dtype)
  return d_x, tf.cast(d_total, total.dtype), tf.cast(upstream * normed, total.dtype)


def attention_weights(
  scores: tf.Tensor, scale: float, bias: tf.Tensor, random: tf.Tensor, dropped: int
) -> tf.Tensor:
  """Dropout of `tf.nn.softmax(scores * scale + bias)`; no gradient goes into `bias`.

  Args:
    scores: [B, N, S, S].
    scale: a factor.
    bias: any floating type, broadcasts to the shape of `scores`.
    random: uint8, of the shape of `scores`, as in `residual_norm`.
    dropped: 0 to 255.

  Returns:
    Of the shape and type of `scores`.
  """

  @tf.custom_gradient
  def run(scores):
    probs, weights = _attention_weights(scores, scale, bias, random, dropped)

    def gradient(upstream):
      return _attention_weights_gradient(upstream, probs, scale, random, dropped)

    return weights, gradient

  return run(scores)


@kernel
def _attention_weights(scores, scale: float, bias, random, dropped: int):
  scores32 = tf.cast(scores, tf.float32) * scale + tf.cast(bias, tf.float32)
  exponentials = tf.exp(scores32 - tf.reduce_max(scores32, axis=-1, keepdims=True))
  # One division for a row, where a softmax has one for every element.
  probs = exponentials * (1.0 / tf.reduce_sum(exponentials, axis=-1, keepdims=True))
  return tf.cast(probs, scores.dtype), tf.cast(_drop(probs, random, dropped), scores.dtype)


@kernel
def _attention_weights_gradient(upstream, probs, scale: float, random, dropped: int):
  d_probs = _drop(tf.cast(upstream, tf.float32), random, dropped)
  probs32 = tf.cast(probs, tf.float32)
  return tf.cast(probs32 * (d_probs - row_sums(d_probs * probs32)) * scale, probs.dtype)


def row_sums(x32: tf.Tensor) -> tf.Tensor:
  """Sums over the last axis, which stays: [..., n] -> [..., 1].

  As a matrix product XLA computes it in one loop; its own reductions pass through memory in
  windows of 32 elements and take about twice as long.
  """
  shape = tf.shape(x32)
  rows = tf.reshape(x32, [-1, shape[-1]])
  sums = tf.matmul(rows, tf.ones([shape[-1], 1]))
  return tf.reshape(sums, tf.concat([shape[:-1], [1]], axis=0))


def _mean(x32: tf.Tensor) -> tf.Tensor:
  return row_sums(x32) / tf.cast(tf.shape(x32)[-1], tf.float32)


def _drop(x32: tf.Tensor, random: tf.Tensor, dropped: int) -> tf.Tensor:
  if dropped == 0:
    return x32
  keep = random >= tf.constant(dropped, tf.uint8)
  return tf.where(keep, x32 * (256.0 / (256 - dropped)), 0.0)
