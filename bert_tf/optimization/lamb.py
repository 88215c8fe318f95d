"""LAMB: AdamW's direction, scaled layer by layer, for very large batches (arXiv:1904.00962)."""

from __future__ import annotations

import tensorflow as tf


def lamb_update(
  variable: tf.Variable,
  gradient: tf.Tensor,
  m: tf.Variable,
  v: tf.Variable,
  learning_rate: tf.Tensor,
  step: tf.Tensor,
  *,
  weight_decay_rate: float,
  beta_1: float = 0.9,
  beta_2: float = 0.999,
  epsilon: float = 1e-6,
) -> None:
  """One update in place (algorithm 2 of the paper, with phi(z) = z).

      m <- beta_1 * m + (1 - beta_1) * g
      v <- beta_2 * v + (1 - beta_2) * g^2
      r <- (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)
      u <- r + weight_decay_rate * w
      w <- w - learning_rate * |w| / |u| * u

  A "layer" of the paper is a variable. Where |w| or |u| is 0 the ratio is 1. See docs/scaling.md
  for how other implementations differ.

  Args:
    variable: w, float32.
    gradient: g, dense, of the shape of w.
    m: first moment, of the shape of w.
    v: second moment, of the shape of w.
    learning_rate: float32 scalar.
    step: t, integer scalar, 1 for the first update.
    weight_decay_rate: 0 for variables that are not decayed.
    beta_1: decay of the first moment.
    beta_2: decay of the second moment.
    epsilon: added to the root of the second moment.
  """
  t = tf.cast(step, tf.float32)
  new_m = m.assign(beta_1 * m + (1.0 - beta_1) * gradient, read_value=True)
  new_v = v.assign(beta_2 * v + (1.0 - beta_2) * tf.square(gradient), read_value=True)
  m_hat = new_m / (1.0 - tf.pow(beta_1, t))
  v_hat = new_v / (1.0 - tf.pow(beta_2, t))
  direction = m_hat / (tf.sqrt(v_hat) + epsilon)
  if weight_decay_rate:
    direction += weight_decay_rate * variable
  ratio = trust_ratio(tf.norm(variable), tf.norm(direction))
  variable.assign_sub(learning_rate * ratio * direction)


def trust_ratio(weight_norm: tf.Tensor, update_norm: tf.Tensor) -> tf.Tensor:
  """|w| / |u|, and 1 where either is 0 (a bias starts at 0 and has to get away from there)."""
  positive = (weight_norm > 0.0) & (update_norm > 0.0)
  return tf.where(positive, tf.math.divide_no_nan(weight_norm, update_norm), 1.0)
