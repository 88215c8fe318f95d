"""Trains a task from its start, or from where an earlier start of the run has come."""

from __future__ import annotations

import functools
import signal
import time

import keras
import tensorflow as tf
from absl import logging

from bert_tf import checkpoints
from bert_tf.checkpoints import names
from bert_tf.data.pipelines import ReadOptions
from bert_tf.errors import UserError
from bert_tf.optimization.adamw import AdamW
from bert_tf.optimization.schedules import linear_warmup_and_decay
from bert_tf.script import Stopped
from bert_tf.tasks.task import Task
from bert_tf.training import strategy as strategies
from bert_tf.training.checkpointing import CheckpointManager
from bert_tf.training.options import DTYPES, DeviceOptions, TrainingOptions
from bert_tf.training.progress import Progress
from bert_tf.training.step import TrainStep, trained_variables

# The loop looks at the clock, at signals and at the losses about this often, in seconds.
_LOOP_SECONDS = 2.0


def train(task: Task, options: TrainingOptions, devices: DeviceOptions) -> int:
  """Trains until `options.num_train_steps` and saves checkpoints on the way.

  Returns:
    The number of steps done, those of earlier starts counted in.

  Raises:
    UserError: the batch cannot be divided among the devices, the initial checkpoint does not
      fit, the loss is not finite, or nothing is left to train.
    Stopped: a signal arrived; the run is saved.
  """
  strategy = strategies.create_strategy(devices)
  _check_batch(options, strategy.num_replicas_in_sync)
  logging.info(strategies.describe(strategy, options.train_batch_size))
  keras.utils.set_random_seed(options.seed)
  with strategy.scope():
    run = _Run(task, options, DTYPES[devices.dtype])
    return run.train(strategy)


class _Run:
  """The variables of a run and what is done to them."""

  def __init__(self, task: Task, options: TrainingOptions, dtype: str):
    self._task = task
    self._options = options
    self._model = task.create_model(dtype, options.recompute_activations)
    variables = trained_variables(task, self._model)
    self._optimizer = AdamW(variables, weight_decay_rate=options.weight_decay)
    self._global_step = tf.Variable(
      0,
      dtype=tf.int64,
      trainable=False,
      aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
      name=names.GLOBAL_STEP,
    )
    schedule = functools.partial(
      linear_warmup_and_decay,
      init_lr=options.learning_rate,
      num_train_steps=options.num_train_steps,
      num_warmup_steps=options.num_warmup_steps,
    )
    self._step = TrainStep(task, self._model, self._optimizer, schedule, self._global_step, options)
    self._manager = CheckpointManager(options.output_dir, self._state, options.keep_checkpoint_max)

  def _state(self) -> dict[str, tf.Variable]:
    weights = {n: v.value for n, v in names.named_variables(self._model).items()}
    return {**weights, **self._optimizer.slots, names.GLOBAL_STEP: self._global_step}

  def _restore_or_initialise(self) -> int:
    """Returns the step to start from."""
    restored = self._manager.restore()
    if restored:
      logging.info("Resuming from %s", restored)
      return int(self._global_step.numpy())
    if self._options.init_checkpoint:
      report = checkpoints.load(
        self._model, self._options.init_checkpoint, self._task.allow_missing
      )
      logging.info("Starting from the weights of %s", report)
    else:
      logging.info("Starting from random weights")
    return 0

  def train(self, strategy: tf.distribute.Strategy) -> int:
    """Runs loops of steps until the end, a signal or a loss that is not finite."""
    options = self._options
    step = self._restore_or_initialise()
    if step >= options.num_train_steps:
      logging.warning(
        "Skipping training: %s holds a run that has done %d steps, and num_train_steps is %d."
        " Give another --output_dir to train anew, or more steps to train on.",
        options.output_dir, step, options.num_train_steps,
      )  # fmt: skip
      return step
    iterator = iter(_distributed_batches(self._task, options, strategy, step))
    progress = Progress(options.output_dir, step, options.num_train_steps, options.log_steps)
    pace = _Pace(options.steps_per_loop, fixed=_several_workers(strategy))
    try:
      with _Signals() as signals:
        if step == 0:
          self._manager.save()
        while step < options.num_train_steps:
          until = min(options.num_train_steps, _next_multiple(step, options.save_checkpoints_steps))
          until = min(until, _next_multiple(step, options.log_steps))
          metrics = pace.run(self._step, iterator, until - step)
          step = int(self._global_step.numpy())
          if not metrics["finite"]:
            raise self._not_finite(step, metrics)
          progress.update(step, metrics)
          finished = step >= options.num_train_steps
          if step % options.save_checkpoints_steps == 0 or finished or signals.received:
            self._manager.save()
          if signals.received and not finished:
            raise Stopped(
              signals.received,
              f"saved {options.output_dir}/model.ckpt-{step}; start the same command again to go"
              " on from there",
            )
    finally:
      progress.close()
    return step

  def _not_finite(self, step: int, metrics: dict[str, float]) -> UserError:
    return UserError(
      f"expected a finite loss and gradient, found loss {metrics['loss']} and gradient norm"
      f" {metrics['gradient_norm']} in step {step}; lower --learning_rate (now"
      f" {metrics['learning_rate']:.3g} in this step) or lengthen the warmup"
    )


class _Pace:
  """Chooses how many steps to run before the next look at the clock."""

  def __init__(self, steps_per_loop: int, fixed: bool):
    self._most = steps_per_loop
    self._fixed = fixed  # Workers must agree on the number, whatever their clocks say.
    self._steps = steps_per_loop if fixed else 1

  def run(self, step: TrainStep, iterator, most: int) -> dict[str, float]:
    start = time.perf_counter()
    number = min(self._steps, most)
    results = step.run(iterator, tf.constant(number))
    metrics = {name: value.numpy().item() for name, value in results.items()}
    if not self._fixed and number == self._steps:
      per_step = (time.perf_counter() - start) / number
      wanted = int(_LOOP_SECONDS / per_step)
      # At most twice as many: the first loops also pay for tracing.
      self._steps = max(1, min(wanted, 2 * self._steps, self._most))
    return metrics


class _Signals:
  """Remembers SIGINT and SIGTERM, so that the loop can save and stop between two steps."""

  def __init__(self):
    self.received: int | None = None

  def _receive(self, number: int, frame) -> None:
    if self.received == signal.SIGINT and number == signal.SIGINT:
      raise KeyboardInterrupt  # The second Ctrl-C means it.
    self.received = number

  def __enter__(self) -> _Signals:
    self._previous = {
      number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
    }
    return self

  def __exit__(self, *unused) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)


def _next_multiple(step: int, of: int) -> int:
  return (step // of + 1) * of


def _check_batch(options: TrainingOptions, replicas: int) -> None:
  pieces = replicas * options.gradient_accumulation_steps
  if options.train_batch_size % pieces:
    raise UserError(
      f"--train_batch_size: expected a multiple of {pieces} ({replicas} replica(s) x"
      f" {options.gradient_accumulation_steps} accumulation step(s)), found"
      f" {options.train_batch_size}"
    )


def _distributed_batches(
  task: Task, options: TrainingOptions, strategy: tf.distribute.Strategy, first_step: int
) -> tf.distribute.DistributedDataset:
  """Every worker reads its own share of the examples; its replicas take batches in turn."""

  def dataset(context: tf.distribute.InputContext) -> tf.data.Dataset:
    replicas = context.num_replicas_in_sync // context.num_input_pipelines
    return task.train_dataset(
      ReadOptions(
        batch_size=context.get_per_replica_batch_size(options.train_batch_size),
        training=True,
        seed=options.seed,
        skip_batches=first_step * replicas,
        num_shards=context.num_input_pipelines,
        shard_index=context.input_pipeline_id,
      )
    )

  return strategy.distribute_datasets_from_function(dataset)


def _several_workers(strategy: tf.distribute.Strategy) -> bool:
  return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
