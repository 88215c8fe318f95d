"""One update of the weights, and a loop of them inside one TensorFlow function."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from bert_tf import names
from bert_tf.optimization import fused_update
from bert_tf.optimization.optimizer import Optimizer
from bert_tf.training import microbatches
from bert_tf.training.options import TrainingOptions
from bert_tf.training.state import RunState
from bert_tf.training.task import Features, Task

# Dropout seeds of two steps, replicas or accumulation steps are this far apart: far more than a
# model has places with dropout.
_SITES = 1 << 20
# The loss scale doubles after so many updates without an overflow (arXiv:1710.03740, 3.2).
_LOSS_SCALE_GROWTH_STEPS = 2000

# Metrics that are sums over the steps of a loop; of the others, the last step's value is kept.
COUNTS = ("examples", "tokens", "positions", "updates")

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
    optimizer: Optimizer,
    schedule: Schedule,
    state: RunState,
    options: TrainingOptions,
    scale_loss: bool = False,
  ):
    """Args: as named; all variables were created under the strategy that will be current.
    `schedule` maps a step, float32, to a rate; `scale_loss` is for float16.
    """
    self._task = task
    self._model = model
    self._optimizer = optimizer
    self._schedule = schedule
    self._state = state
    self._options = options
    self._scale_loss = scale_loss
    self._variables = trained_variables(task, model)
    self._sums = self._gradient_sums() if self._most_pieces > 1 else {}
    self._compute = self._loss_and_gradients
    if options.enable_xla:
      self._compute = tf.function(self._loss_and_gradients, autograph=False, jit_compile=True)

  def _gradient_sums(self) -> dict[str, tf.Variable]:
    """Where each replica adds up the gradients of the pieces of a batch.

    Variables, since with the sums as values of the loop TensorFlow's memory optimizer rewrites
    the additions of large gradients to temporary variables that it does not free: the second run
    of the loop then fails (AlreadyExistsError, TensorFlow 2.20).
    """
    return {
      name: tf.Variable(
        tf.zeros(variable.shape),
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
      )
      for name, variable in self._variables.items()
    }

  @tf.function(autograph=False)
  def run(self, iterator: Iterator, num_steps: tf.Tensor, clock: tf.Tensor) -> Metrics:
    """Runs up to `num_steps` updates; stops before the first that must not be made.

    A batch whose loss or gradient is not finite changes no weight. It is left out where float16
    overflowed, or where `skip_nonfinite_steps` are not used up; otherwise the loop halts with
    the state as it was before that batch.

    Args:
      iterator: of a distributed dataset.
      num_steps: int32 scalar, at least 1.
      clock: float32 scalar, the step that the schedule is at by the clock; 0 for no clock.

    Returns:
      Scalars. Means over the updates: every loss, and `loss`, their sum. Sums: `examples`,
      `tokens`, `positions` (tokens and computed padding) and `updates`. Of the last step:
      `learning_rate`, `gradient_norm` (before clipping), `last_loss` and `halted`.
    """
    strategy = tf.distribute.get_strategy()
    first = self._state.global_step.read_value()

    def one_step(halted: tf.Tensor, totals: Metrics) -> tuple[tf.Tensor, Metrics]:
      results = strategy.run(self._replica_step, args=(next(iterator), clock))
      metrics = {k: strategy.experimental_local_results(v)[0] for k, v in results.items()}
      finite = metrics.pop("finite")
      halted = self._update_state(finite)
      counted = tf.cast(finite, tf.float32)
      metrics |= {"updates": counted, "last_loss": metrics["loss"]}
      for name in metrics:
        if _is_loss(name):
          metrics[name] = totals[name] + tf.where(finite, metrics[name], 0.0)
        elif name in COUNTS:
          metrics[name] += totals[name]
      return halted, metrics

    last = first + tf.cast(num_steps, tf.int64)
    halted, totals = tf.while_loop(
      lambda halted, _: (self._state.global_step < last) & ~halted,
      one_step,
      (tf.constant(False), self._no_metrics(iterator)),
    )
    for name in totals:
      if _is_loss(name):
        totals[name] = tf.math.divide_no_nan(totals[name], totals["updates"])
    return {**totals, "halted": halted}

  def _no_metrics(self, iterator: Any) -> Metrics:
    """Zeros for all metrics; what losses there are, the task tells from the shapes of a batch."""
    replicas = tf.distribute.get_strategy().experimental_local_results(iterator.element_spec)
    weights = tf.function(self._task.loss_weights, autograph=False).get_concrete_function(
      _one_replica(replicas[0])
    )
    last = ("learning_rate", "gradient_norm", "last_loss")
    losses = [f"{name}_loss" for name in weights.structured_outputs]
    return {name: tf.constant(0.0) for name in ("loss", *losses, *last, *COUNTS)}

  def _update_state(self, finite: tf.Tensor) -> tf.Tensor:
    """Counts the step; returns whether to halt, and then has changed nothing."""
    state = self._state
    overflow = tf.constant(False)
    if self._scale_loss:
      # At a scale of 1 it is not the scale that makes numbers too large.
      overflow = ~finite & (state.loss_scale > 1.0)
    skipped = ~finite & ~overflow
    halted = skipped & (state.skipped_steps >= self._options.skip_nonfinite_steps)
    if self._scale_loss:
      good = tf.where(finite, state.loss_scale_good_steps + 1, 0)
      grow = good >= _LOSS_SCALE_GROWTH_STEPS
      scale = state.loss_scale * tf.where(grow, 2.0, 1.0) * tf.where(overflow, 0.5, 1.0)
      state.loss_scale.assign(scale)
      state.loss_scale_good_steps.assign(tf.where(grow, tf.zeros_like(good), good))
    state.skipped_steps.assign_add(tf.cast(skipped & ~halted, tf.int64))
    state.global_step.assign_add(tf.cast(~halted, tf.int64))
    return halted

  def _replica_step(self, features: Features, clock: tf.Tensor) -> Metrics:
    """What one replica does with its share of a batch."""
    context = tf.distribute.get_replica_context()
    total = tf.distribute.ReduceOp.SUM
    step = tf.cast(self._state.global_step, tf.int64)
    # The original adds 1 to the step before the schedule reads it: its first update is made with
    # the rate of step 1, not with the 0 that a warmup starts from, and its last one with 0.
    learning_rate = self._schedule(tf.maximum(tf.cast(step + 1, tf.float32), clock))
    weights = context.all_reduce(total, self._task.loss_weights(features))
    replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
    first_piece = (step * context.num_replicas_in_sync + replica) * self._most_pieces
    losses, gradients, positions = self._compute_in_pieces(features, weights, first_piece)
    if context.num_replicas_in_sync == 1:  # others are added up, which wants float32
      gradients = {name: fused_update.before_widening(g) for name, g in gradients.items()}
    counts = count(features) | {"positions": positions}
    losses, gradients, counts = context.all_reduce(total, (losses, gradients, counts))
    loss = tf.add_n(list(losses.values()))
    norm = fused_update.global_norm(gradients.values())
    finite = tf.math.is_finite(loss) & tf.math.is_finite(norm)
    scale = tf.constant(1.0)
    if self._options.max_grad_norm:
      scale = self._options.max_grad_norm / tf.maximum(norm, self._options.max_grad_norm)
    self._optimizer.apply(gradients, scale, learning_rate, step + 1, finite)
    return {
      **{f"{name}_loss": value for name, value in losses.items()},
      **counts,
      "loss": loss,
      "learning_rate": learning_rate,
      "gradient_norm": norm,
      "finite": finite,
    }

  @property
  def _most_pieces(self) -> int:
    """A number of pieces that no batch is cut into more of."""
    options = self._options
    if options.tokens_per_batch:
      return options.train_batch_size
    return options.gradient_accumulation_steps

  def _cut(self, features: Features) -> microbatches.Pieces:
    options = self._options
    if not options.tokens_per_batch:
      return microbatches.equal(features, options.gradient_accumulation_steps)
    # XLA compiles every length anew.
    trimmed = () if options.enable_xla else self._task.token_features

    def tokens_of_row(length: tf.Tensor) -> tf.Tensor:
      count, of_each = self._task.sequences_of_row(length)
      return count * of_each

    return microbatches.of_tokens(features, options.tokens_per_batch, trimmed, tokens_of_row)

  def _compute_in_pieces(
    self, features: Features, weights: Mapping[str, tf.Tensor], first_piece: tf.Tensor
  ) -> tuple[Metrics, Metrics, tf.Tensor]:
    """Losses and gradients of a batch, and how many positions were computed for them."""
    scale = tf.identity(self._state.loss_scale) if self._scale_loss else tf.constant(1.0)

    def compute(piece: Features, index: tf.Tensor) -> tuple[Metrics, Metrics, tf.Tensor]:
      seed = _dropout_seed(self._options.seed, first_piece + index)
      positions = tf.cast(tf.size(piece["input_mask"]), tf.float32)
      return *self._compute(piece, weights, seed, scale), positions

    first = tf.constant(0, tf.int64)
    if self._most_pieces == 1:
      return compute(features, first)
    batch = self._cut(features)

    def add(index: tf.Tensor, start: tf.Tensor, sums: tuple[Metrics, tf.Tensor]):
      piece, end = batch.take(start)
      losses, gradients, positions = compute(piece, index)
      for name, gradient in gradients.items():
        self._sums[name].assign_add(gradient)
      return index + 1, end, tf.nest.map_structure(tf.add, sums, (losses, positions))

    for total in self._sums.values():
      total.assign(tf.zeros_like(total))
    *_, (losses, positions) = tf.while_loop(
      lambda index, start, _: start < batch.rows,
      add,
      (first, tf.constant(0), ({name: tf.constant(0.0) for name in weights}, tf.constant(0.0))),
      parallel_iterations=1,
    )
    return losses, {name: total.read_value() for name, total in self._sums.items()}, positions

  def _loss_and_gradients(
    self,
    features: Features,
    weights: Mapping[str, tf.Tensor],
    seed: tf.Tensor,
    scale: tf.Tensor,
  ) -> tuple[Metrics, Metrics]:
    variables = {name: variable.value for name, variable in self._variables.items()}
    with tf.GradientTape() as tape:
      outputs = self._model(features, training=True, dropout_seed=seed)
      sums = self._task.loss_sums(outputs, features)
      losses = {name: value / weights[name] for name, value in sums.items()}
      loss = tf.add_n(list(losses.values()))
      if self._scale_loss:
        loss *= scale
    gradients = tape.gradient(loss, variables)
    # An embedding's gradient comes as slices, with a row for every occurrence of an id. Adam
    # squares it, and the square of a sum is not the sum of squares: add the rows up first.
    gradients = {name: tf.convert_to_tensor(g) for name, g in gradients.items()}
    if self._scale_loss:
      gradients = {name: g / scale for name, g in gradients.items()}
    return losses, gradients


def count(features: Features) -> Metrics:
  """Counts `examples` and `tokens` of a batch, as float32."""
  mask = features["input_mask"]
  examples = tf.shape(mask)[0]
  if "sequence_ids" in features:
    examples = tf.reduce_sum(tf.reduce_max(features["sequence_ids"], axis=1))
  return {
    "examples": tf.cast(examples, tf.float32),
    "tokens": tf.reduce_sum(tf.cast(mask, tf.float32)),
  }


def _is_loss(name: str) -> bool:
  return name == "loss" or (name.endswith("_loss") and name != "last_loss")


def _one_replica(spec):
  """The spec of one replica's features, from that of a distributed dataset."""
  return tf.nest.map_structure(lambda s: getattr(s, "_value_specs", [s])[0], spec)


def _dropout_seed(seed: int, piece: tf.Tensor) -> tf.Tensor:
  return tf.stack([tf.constant(seed, tf.int64), piece * _SITES])
