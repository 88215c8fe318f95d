"""Trains a task from its start, or from where an earlier start of the run has come."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from bert_tf import names
from bert_tf.data.pipelines import ReadOptions
from bert_tf.errors import UserError
from bert_tf.optimization.optimizer import Optimizer
from bert_tf.optimization.schedules import linear_warmup_and_decay
from bert_tf.script import Stopped
from bert_tf.training import feasibility, initial_weights, nonfinite, output_dir, run_config
from bert_tf.training import strategy as strategies
from bert_tf.training.agreement import Agreement
from bert_tf.training.checkpointing import CheckpointManager
from bert_tf.training.evaluation import Evaluation
from bert_tf.training.options import DTYPES, DeviceOptions, TrainingOptions
from bert_tf.training.pacing import Clock, Pace
from bert_tf.training.profiling import Profiler
from bert_tf.training.progress import Heartbeat, Progress
from bert_tf.training.signals import Signals
from bert_tf.training.state import RunState
from bert_tf.training.step import TrainStep, trained_variables
from bert_tf.training.task import FeatureRole, Task

# What TensorFlow raises where another worker is gone.
_LOST_WORKER = (
  tf.errors.UnavailableError,
  tf.errors.AbortedError,
  tf.errors.CancelledError,
  tf.errors.DeadlineExceededError,
  tf.errors.InternalError,
)


def train(task: Task, options: TrainingOptions, devices: DeviceOptions) -> int:
  """Trains until `options.num_train_steps` and saves checkpoints on the way.

  Returns:
    The number of steps done, those of earlier starts counted in.

  Raises:
    UserError: the batch cannot be divided among the devices, the initial checkpoint does not
      fit, the directory holds another run, the loss is not finite, or a worker is lost.
    Stopped: a signal arrived; the run is saved.
  """
  if options.deterministic:
    tf.config.experimental.enable_op_determinism()
  strategy = strategies.create_strategy(
    devices,
    run_config.shared_settings(task.config, options, devices, task.settings),
    None if options.dry_run else options.output_dir,
  )
  check_batch(options, strategy.num_replicas_in_sync)
  if options.tokens_per_batch and isinstance(strategy, tf.distribute.TPUStrategy):
    raise UserError(
      "`tokens_per_batch`: expected CPUs or GPUs, found a TPU, which needs batches of one shape;"
      " give `gradient_accumulation_steps`"
    )
  logging.info(strategies.describe(strategy, options.train_batch_size))
  feasibility.check_memory(task.config, strategies.local_replicas(strategy))
  if options.dry_run:
    from bert_tf.training import dry_run

    feasibility.check_writable(options.output_dir)
    dry_run.run(task, options, devices, strategy)
    return 0
  lock = output_dir.prepare(options.output_dir) if strategies.is_chief(strategy) else None
  try:
    keras.utils.set_random_seed(options.seed)
    with strategy.scope():
      return _Training(task, options, devices, strategy, lock).train()
  except tf.errors.ResourceExhaustedError as error:
    raise UserError(
      f"out of memory ({error.message.splitlines()[0]}); compute a batch in pieces with"
      " `tokens_per_batch`, give `recompute_activations` or `dtype=bfloat16`, or lower"
      " `train_batch_size`"
    ) from error
  except _LOST_WORKER as error:
    if not strategies.has_several_workers(strategy):
      raise
    raise UserError(
      f"expected all workers to take part, found {strategies.who_is_gone(strategy, error.message)}"
      f" gone ({error.message.splitlines()[0]}); see its log, and start all workers again to go on"
      f" from the newest checkpoint in {options.output_dir}"
    ) from error
  finally:
    if lock:
      lock.close()


class _Training:
  """The variables of a run and what is done to them."""

  def __init__(
    self,
    task: Task,
    options: TrainingOptions,
    devices: DeviceOptions,
    strategy: tf.distribute.Strategy,
    lock: output_dir.Lock | None,
  ):
    """Args: `lock`, of the output directory, which the chief holds."""
    self._task = task
    self._lock = lock
    self._options = options
    self._devices = devices
    self._strategy = strategy
    self._is_chief = strategies.is_chief(strategy)
    self._agreement = Agreement(strategy)
    self._model = task.create_model(DTYPES[devices.dtype], options.recompute_activations)
    self._state = RunState()
    self._optimizer = Optimizer(
      trained_variables(task, self._model),
      options.optimizer,
      options.weight_decay,
      options.layerwise_lr_decay,
      options.adam_bias_correction,
    )
    self._step = TrainStep(
      task,
      self._model,
      self._optimizer,
      schedule(options),
      self._state,
      options,
      scale_loss=devices.dtype == "float16",
    )
    self._manager = CheckpointManager(
      options.output_dir, self._saved_state, options.keep_checkpoint_max
    )
    self._evaluation = Evaluation(task, self._model, self._state, options, writes=self._is_chief)
    self._profiler = Profiler(options if self._is_chief else None)

  def _saved_state(self) -> dict[str, tf.Variable]:
    weights = {n: v.value for n, v in names.named_variables(self._model).items()}
    return {**weights, **self._optimizer.slots, **self._state.variables}

  def train(self) -> int:
    """Runs loops of steps until the end, a signal or a loss that is not finite."""
    options = self._options
    restored = self._restore_or_initialise()
    step = int(self._state.global_step.numpy())
    self._agreement.check_same(step, f"the same checkpoints in {options.output_dir}")
    if self._nothing_left(step):
      if self._is_chief:
        self._manager.repair_state_file()
      return step
    if self._is_chief:
      run_config.write(self._model.config, options, self._devices, self._task.settings)
      if not restored:
        self._manager.save()
      self._manager.repair_state_file()
    reporter = self._reporter(step)
    try:
      with Signals() as signals:
        return self._loop(step, reporter, signals)
    finally:
      self._profiler.stop()
      reporter.close()

  def _restore_or_initialise(self) -> bool:
    """Returns whether an earlier start is continued."""
    options = self._options
    start = run_config.check(self._model.config, options, self._devices, self._task.settings)
    if start.note:
      logging.warning(start.note)
    restored = None if start.step is None else self._manager.restore()
    if restored:
      logging.info("Resuming from %s", restored)
      if options.init_checkpoint:
        logging.info("`init_checkpoint` is not read again")
      return True
    initial_weights.load(self._model, options, self._task.allow_missing)
    return False

  def _nothing_left(self, step: int) -> bool:
    options = self._options
    elapsed = float(self._state.elapsed_seconds.numpy())
    if step >= options.num_train_steps:
      reason = f"has done {step} of {options.num_train_steps} steps"
      remedy = "`num_train_steps` (or `num_train_epochs`)"
    elif step >= options.last_step:
      reason = f"has done {step} steps, where `stop_at={options.stop_at}` ends it"
      remedy = "`stop_at`"
    elif options.total_training_time and elapsed >= options.total_training_time:
      reason = f"has trained {elapsed:.0f} s, and `total_training_time` is no more"
      remedy = "`total_training_time`, with `allow_config_change`"
    elif self._evaluation.patience_is_over:
      reason = f"was stopped early, its best step being {int(self._state.best_step.numpy())}"
      remedy = "`early_stopping_patience`"
    else:
      return False
    logging.warning(
      "Skipping training: %s holds a run that %s. To train on, raise %s; to train anew, give"
      " another `output_dir`.",
      options.output_dir, reason, remedy,
    )  # fmt: skip
    return True

  def _reporter(self, step: int) -> Progress | Heartbeat:
    if not self._is_chief:
      number = strategies.workers(self._strategy)[1]
      return Heartbeat(number, step, self._options.num_train_steps, self._options.log_steps)
    return Progress(
      self._options.output_dir,
      step,
      self._options.num_train_steps,
      self._options.log_steps,
      self._options.wandb_project,
      self._options.total_training_time,
      float(self._state.elapsed_seconds.numpy()),
    )

  def _loop(self, step: int, reporter: Progress | Heartbeat, signals: Signals) -> int:
    options = self._options
    clock = Clock(float(self._state.elapsed_seconds.numpy()), options.total_training_time)
    pace = Pace(options.steps_per_loop)
    iterator = iter(distributed_batches(self._task, options, self._strategy, step))
    elapsed = clock.elapsed()
    while True:
      self._profiler.before(step)
      most = self._next_stop(step) - step
      number, elapsed = self._agreement.chief_decides(min(pace.steps, most), clock.elapsed())
      start = time.perf_counter()
      metrics = self._run_steps(iterator, int(number), clock.step(elapsed, options.num_train_steps))
      pace.took(int(number), time.perf_counter() - start)
      step = int(self._state.global_step.numpy())
      self._profiler.after(step)
      if metrics["halted"]:
        raise self._not_finite(step + 1, metrics)
      if self._lock:
        self._lock.check()
      [elapsed] = self._agreement.chief_decides(clock.elapsed())
      over = clock.is_over(elapsed)
      signal_number = self._agreement.anyone(signals.received)
      reporter.update(step, metrics, is_last=over or signal_number is not None)
      due = self._evaluation.is_due(step)
      if due or (over and self._evaluation.is_wanted):
        reporter.write("eval", step, self._evaluation.run(step))
      if self._decide(step, elapsed, over):
        return step
      if signal_number:
        self._stop(step, elapsed, signal_number, reporter, evaluated=due)

  def _run_steps(self, iterator, number: int, clock_step: float) -> dict[str, float]:
    try:
      results = self._step.run(iterator, tf.constant(number), tf.constant(clock_step, tf.float32))
    except tf.errors.InvalidArgumentError as error:
      # A CPU refuses an id that is outside of its table; a GPU takes zeros instead.
      step = int(self._state.global_step.numpy()) + 1
      try:
        wrong = nonfinite.ids_out_of_range(self._batch_of(step), self._task.features)
      except tf.errors.OpError:  # The batch itself cannot be read: the error is about that.
        raise error from None
      if not wrong:
        raise
      raise UserError(
        f"step {step}: {wrong[0]}; use the vocabulary and config that the data were made with"
      ) from error
    return {name: value.numpy().item() for name, value in results.items()}

  def _save(self, elapsed: float) -> None:
    self._state.elapsed_seconds.assign(elapsed)
    if self._is_chief:
      self._manager.save()

  def _stop(
    self, step: int, elapsed: float, number: int, reporter: Progress | Heartbeat, evaluated: bool
  ) -> NoReturn:
    """Ends the run, to be gone on with, as a signal asks; first of all it is saved."""
    self._save(elapsed)
    if self._evaluation.is_wanted and not evaluated:
      # In the run without an end here it would not have been: it may be the best, but if it is
      # not, it brings early stopping no nearer.
      reporter.write("eval", step, self._evaluation.run(step, counts=False))
      self._save(elapsed)
    raise Stopped(
      number,
      f"saved {self._options.output_dir}/model.ckpt-{step}; start the same command again to go"
      " on from there",
    )

  def _decide(self, step: int, elapsed: float, over: bool) -> bool:
    """Saves where it is time to; returns whether training has ended."""
    options = self._options
    finished = step >= options.last_step or over or self._evaluation.patience_is_over
    if step % options.save_checkpoints_steps == 0 or finished:
      self._save(elapsed)
    if finished and step < options.last_step:
      reason = "its time is used up" if over else (
        f"{options.early_stopping_patience} evaluations brought nothing better than step"
        f" {int(self._state.best_step.numpy())}, whose weights are in {options.output_dir}/best"
      )  # fmt: skip
      logging.info("Ending training at step %d: %s", step, reason)
    return finished

  def _next_stop(self, step: int) -> int:
    """The next step after which something other than training is to be done."""
    options = self._options
    every = [options.save_checkpoints_steps, options.log_steps, options.eval_steps]
    stops = [(step // number + 1) * number for number in every if number]
    return min(options.last_step, *stops, *self._profiler.stops(step))

  def _not_finite(self, step: int, metrics: dict[str, float]) -> UserError:
    worker = self._strategy.cluster_resolver.task_id if not self._is_chief else 0
    return nonfinite.explain(
      step,
      self._batch_of(step),
      metrics,
      self._model,
      self._task,
      self._options.output_dir,
      worker,
    )

  def _batch_of(self, step: int) -> dict[str, np.ndarray]:
    """Reads this worker's share of a step's batch once more: it is a function of the step."""
    batches = distributed_batches(self._task, self._options, self._strategy, step - 1)
    shares = self._strategy.experimental_local_results(next(iter(batches)))
    return joined_shares(shares, self._task.features)


def schedule(options: TrainingOptions):
  """The learning rate as a function of the step."""
  return functools.partial(
    linear_warmup_and_decay,
    init_lr=options.learning_rate,
    num_train_steps=options.num_train_steps,
    num_warmup_steps=options.num_warmup_steps,
  )


def joined_shares(
  shares: Sequence[Mapping[str, tf.Tensor]], features: Mapping[str, FeatureRole]
) -> dict[str, np.ndarray]:
  """The shares of all replicas as one batch; those of shorter rows are padded.

  Args: `features`, of the task; padding is 0, or what stands for nothing.
  """
  joined = {}
  for name in shares[0]:
    values = [share[name].numpy() for share in shares]
    shape = np.max([value.shape[1:] for value in values], axis=0).astype(int)
    padding = features.get(name, FeatureRole()).ignored or 0
    joined[name] = np.concatenate(
      [
        np.pad(
          value,
          [(0, 0), *((0, full - size) for full, size in zip(shape, value.shape[1:], strict=True))],
          constant_values=padding,
        )
        for value in values
      ]
    )
  return joined


def check_batch(options: TrainingOptions, replicas: int) -> None:
  """Raises UserError where the batch cannot be dealt out evenly."""
  pieces = replicas * options.gradient_accumulation_steps
  if options.train_batch_size % pieces:
    raise UserError(
      f"`train_batch_size`: expected a multiple of {pieces} ({replicas} replica(s) x"
      f" {options.gradient_accumulation_steps} accumulation step(s)), found"
      f" {options.train_batch_size}"
    )


def distributed_batches(
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
