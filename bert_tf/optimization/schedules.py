"""Learning rates as functions of the step."""

from __future__ import annotations

import tensorflow as tf


def linear_warmup_and_decay(
  step: tf.Tensor, init_lr: float, num_train_steps: int, num_warmup_steps: int
) -> tf.Tensor:
  """Linear warmup, then linear decay to 0 (`create_optimizer` of the original).

  The decay starts at step 0, not at the end of the warmup: the first rate after it is
  `init_lr * (1 - num_warmup_steps / num_train_steps)`, as in the original.

  Args:
    step: integer scalar, the number of updates done so far.
    init_lr: the peak that the decay starts from.
    num_train_steps: the step at which the rate reaches 0.
    num_warmup_steps: length of the warmup; 0 for none.

  Returns:
    float32 scalar.
  """
  step = tf.cast(step, tf.float32)
  progress = tf.minimum(step, float(num_train_steps)) / float(num_train_steps)
  decayed = init_lr * (1.0 - progress)
  if num_warmup_steps == 0:
    return decayed
  warmup = init_lr * (step / float(num_warmup_steps))
  return tf.where(step < float(num_warmup_steps), warmup, decayed)
