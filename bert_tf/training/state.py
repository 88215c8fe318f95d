"""What a run has to remember besides its weights and moments."""

from __future__ import annotations

import tensorflow as tf

from bert_tf import names

# The first loss scale is too large on purpose: the first steps find the right one by halving.
_FIRST_LOSS_SCALE = 2.0**15


class RunState:
  """Scalars that are saved with a run; all but `global_step` are unknown to the original.

  Attributes:
    global_step: batches done; a batch that was left out counts too.
    skipped_steps: batches left out because their loss or gradient was not finite.
    loss_scale: what float16 losses are multiplied by.
    loss_scale_good_steps: updates since the loss scale last changed.
    elapsed_seconds: time that training has taken, over all starts.
    best_value: the best result of an evaluation so far, larger being better.
    best_step: the step of that evaluation.
    evaluations_since_best: how many evaluations have not been better since.
  """

  def __init__(self):
    """Creates the variables; call it under the strategy's scope."""
    self.global_step = _scalar(0, tf.int64, names.GLOBAL_STEP)
    self.skipped_steps = _own(0, tf.int64, "skipped_steps")
    self.loss_scale = _own(_FIRST_LOSS_SCALE, tf.float32, "loss_scale")
    self.loss_scale_good_steps = _own(0, tf.int64, "loss_scale_good_steps")
    self.elapsed_seconds = _own(0.0, tf.float64, "elapsed_seconds")
    self.best_value = _own(float("-inf"), tf.float64, "best_value")
    self.best_step = _own(0, tf.int64, "best_step")
    self.evaluations_since_best = _own(0, tf.int64, "evaluations_since_best")
    self._named = {variable.name.partition(":")[0]: variable for variable in vars(self).values()}

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """The variables by the names that they are saved under."""
    return dict(self._named)


def _own(value, dtype: tf.DType, name: str) -> tf.Variable:
  return _scalar(value, dtype, names.OWN_PREFIX + name)


def _scalar(value, dtype: tf.DType, name: str) -> tf.Variable:
  return tf.Variable(
    value,
    dtype=dtype,
    trainable=False,
    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    name=name,
  )
