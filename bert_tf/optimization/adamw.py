"""BERT's AdamW: Adam with decoupled weight decay and, unless asked for, no bias correction."""

from __future__ import annotations

import tensorflow as tf

from bert_tf.optimization import fused_update


def adamw_update(
  variable: tf.Variable,
  gradient: tf.Tensor,
  m: tf.Variable,
  v: tf.Variable,
  learning_rate: tf.Tensor,
  *,
  weight_decay_rate: float,
  beta_1: float = 0.9,
  beta_2: float = 0.999,
  epsilon: float = 1e-6,
  bias_correction_step: tf.Tensor | None = None,
) -> None:
  """One update in place (`AdamWeightDecayOptimizer.apply_gradients` of the original).

      m <- beta_1 * m + (1 - beta_1) * g
      v <- beta_2 * v + (1 - beta_2) * g^2
      w <- w - learning_rate * (m / (sqrt(v) + epsilon) + weight_decay_rate * w)

  With bias correction, which the original leaves out, m / (sqrt(v) + epsilon) is multiplied by
  sqrt(1 - beta_2^t) / (1 - beta_1^t) in update t (arXiv:1412.6980, end of section 2).

  Args:
    variable: w, float32.
    gradient: g, dense, of the shape of w.
    m: first moment, of the shape of w.
    v: second moment, of the shape of w.
    learning_rate: float32 scalar.
    weight_decay_rate: 0 for variables that are not decayed.
    beta_1: decay of the first moment.
    beta_2: decay of the second moment.
    epsilon: added to the root of the second moment.
    bias_correction_step: t, a number counted from 1; None for no bias correction.
  """
  if weight_decay_rate:
    variable.assign(fused_update.decayed(variable, learning_rate * weight_decay_rate))
  powers = 0.0, 0.0
  if bias_correction_step is not None:
    t = tf.cast(bias_correction_step, tf.float32)
    powers = beta_1**t, beta_2**t
  # The fused kernel is several times faster than composed ops. It multiplies the rate by
  # sqrt(1 - beta2_power) / (1 - beta1_power): powers of 0 switch the bias correction off.
  tf.raw_ops.ResourceApplyAdam(
    var=variable.handle,
    m=m.handle,
    v=v.handle,
    beta1_power=powers[0],
    beta2_power=powers[1],
    lr=learning_rate,
    beta1=beta_1,
    beta2=beta_2,
    epsilon=epsilon,
    grad=gradient,
    use_locking=False,
  )
