"""One update of the weights, and a loop of them inside one TensorFlow function."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping

import keras
import tensorflow as tf

from bert_tf.checkpoints import names
from bert_tf.optimization.adamw import AdamW
from bert_tf.tasks.task import Features, Task
from bert_tf.training.options import TrainingOptions

# Dropout seeds of two steps, replicas or accumulation steps are this far apart: far more than a
# model has places with dropout.
_SITES = 1 << 20

Schedule = Callable[[tf.Tensor], tf.Tensor]
Metrics = dict[str, tf.Tensor]


def trained_variables(task: Task, model: keras.Model) -> dict[str, keras.Variable]:
  """The variables that the task's losses depend on, by the original's names."""
  return {
    name: variable
    for name, variable in names.named_variables(model).items()
    if variable.trainable and not any(fnmatch.fnmatchcase(name, p) for p in task.untrained)
  }


class TrainStep:
  """Runs updates: forward, backward, all-reduce, clip, apply - in this order.

  Clipping comes after the sum over replicas, so that the result does not depend on how many
  there are; the loss of a batch is likewise a mean over the whole of it.
  """

  def __init__(
    self,
    task: Task,
    model: keras.Model,
    optimizer: AdamW,
    schedule: Schedule,
    global_step: tf.Variable,
    options: TrainingOptions,
  ):
    """Args: as named; all variables were created under the strategy that will be current."""
    self._task = task
    self._model = model
    self._optimizer = optimizer
    self._schedule = schedule
    self._global_step = global_step
    self._options = options
    self._variables = trained_variables(task, model)
    self._compute = self._loss_and_gradients
    if options.enable_xla:
      self._compute = tf.function(self._loss_and_gradients, autograph=False, jit_compile=True)

  @tf.function(autograph=False)
  def run(self, iterator: Iterator, num_steps: tf.Tensor) -> Metrics:
    """Runs up to `num_steps` updates; stops before the first that is not finite.

    Args:
      iterator: of a distributed dataset.
      num_steps: int32 scalar, at least 1.

    Returns:
      Scalars: every loss and `loss`, their sum, as means over the steps; `learning_rate` and
      `gradient_norm` (before clipping) of the last step; `examples`, `tokens` and `positions`
      (tokens and padding), sums over the steps; `steps`, how many were run; `finite`, whether
      the last one was finite - if not, it changed nothing.
    """
    strategy = tf.distribute.get_strategy()

    def one_step() -> Metrics:
      results = strategy.run(self._replica_step, args=(next(iterator),))
      metrics = {k: strategy.experimental_local_results(v)[0] for k, v in results.items()}
      self._global_step.assign_add(tf.cast(metrics["finite"], tf.int64))
      return metrics

    def advance(step: tf.Tensor, totals: Metrics) -> tuple[tf.Tensor, Metrics]:
      metrics = one_step()
      last = ("learning_rate", "gradient_norm", "finite")
      return step + 1, {k: v if k in last else totals[k] + v for k, v in metrics.items()}

    # The first step stands outside of the loop: it tells which metrics there are.
    steps, totals = tf.while_loop(
      lambda step, totals: (step < num_steps) & totals["finite"],
      advance,
      (tf.constant(1), one_step()),
    )
    for name in ("loss", *(k for k in totals if k.endswith("_loss"))):
      totals[name] /= tf.cast(steps, tf.float32)
    return {**totals, "steps": steps}

  def _replica_step(self, features: Features) -> Metrics:
    """What one replica does with its share of a batch."""
    context = tf.distribute.get_replica_context()
    total = tf.distribute.ReduceOp.SUM
    step = tf.cast(self._global_step, tf.int64)
    # The original adds 1 to the step before the schedule reads it: its first update is made with
    # the rate of step 1, not with the 0 that a warmup starts from, and its last one with 0.
    learning_rate = self._schedule(step + 1)
    weights = context.all_reduce(total, self._task.loss_weights(features))
    replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
    first_piece = (step * context.num_replicas_in_sync + replica) * self._pieces
    losses, gradients = self._compute_in_pieces(features, weights, first_piece)
    losses, gradients, counts = context.all_reduce(total, (losses, gradients, count(features)))
    loss = tf.add_n(list(losses.values()))
    norm = tf.linalg.global_norm(list(gradients.values()))
    finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
    if self._options.max_grad_norm:
      scale = self._options.max_grad_norm / tf.maximum(norm, self._options.max_grad_norm)
      gradients = {name: gradient * scale for name, gradient in gradients.items()}
    self._optimizer.apply(gradients, learning_rate, finite)
    return {
      **{f"{name}_loss": value for name, value in losses.items()},
      **counts,
      "loss": loss,
      "learning_rate": learning_rate,
      "gradient_norm": norm,
      "finite": finite,
    }

  @property
  def _pieces(self) -> int:
    return self._options.gradient_accumulation_steps

  def _compute_in_pieces(
    self, features: Features, weights: Mapping[str, tf.Tensor], first_piece: tf.Tensor
  ) -> tuple[Metrics, Metrics]:
    """Losses and gradients of a batch, computed in `gradient_accumulation_steps` pieces."""
    if self._pieces == 1:
      return self._compute(features, weights, _dropout_seed(self._options.seed, first_piece))
    pieces = {
      name: tf.reshape(x, tf.concat([[self._pieces, -1], tf.shape(x)[1:]], axis=0))
      for name, x in features.items()
    }

    def piece(index: tf.Tensor) -> tuple[Metrics, Metrics]:
      part = {
        name: tf.ensure_shape(x[index], [None, *features[name].shape[1:]])
        for name, x in pieces.items()
      }
      seed = _dropout_seed(self._options.seed, first_piece + tf.cast(index, tf.int64))
      return self._compute(part, weights, seed)

    def add(index: tf.Tensor, sums: tuple[Metrics, Metrics]):
      return index + 1, tf.nest.map_structure(tf.add, sums, piece(index))

    _, sums = tf.while_loop(
      lambda index, _: index < self._pieces, add, (tf.constant(1), piece(tf.constant(0)))
    )
    return sums

  def _loss_and_gradients(
    self, features: Features, weights: Mapping[str, tf.Tensor], seed: tf.Tensor
  ) -> tuple[Metrics, Metrics]:
    variables = {name: variable.value for name, variable in self._variables.items()}
    with tf.GradientTape() as tape:
      outputs = self._model(features, training=True, dropout_seed=seed)
      sums = self._task.loss_sums(outputs, features)
      losses = {name: value / weights[name] for name, value in sums.items()}
      loss = tf.add_n(list(losses.values()))
    gradients = tape.gradient(loss, variables)
    # An embedding's gradient comes as slices, with a row for every occurrence of an id. Adam
    # squares it, and the square of a sum is not the sum of squares: add the rows up first.
    return losses, {name: tf.convert_to_tensor(g) for name, g in gradients.items()}


def count(features: Features) -> Metrics:
  """Counts `examples`, `tokens` and `positions` (tokens and padding) of a batch, as float32."""
  mask = features["input_mask"]
  return {
    "examples": tf.cast(tf.shape(mask)[0], tf.float32),
    "tokens": tf.reduce_sum(tf.cast(mask, tf.float32)),
    "positions": tf.cast(tf.size(mask), tf.float32),
  }


def _dropout_seed(seed: int, piece: tf.Tensor) -> tf.Tensor:
  return tf.stack([tf.constant(seed, tf.int64), piece * _SITES])
