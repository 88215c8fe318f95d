"""A fine-tuning run: check, make records, train, evaluate, predict; the same for every task.

What a task is (its examples, features, scores and result files) is its `TaskData`; how it is learnt
is its `training.task.Task`. TensorFlow is imported only once it must be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from absl import logging

from bert_tf import model_dir, progress_bars
from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.files import existing_checkpoint, refuse_overwriting
from bert_tf.model_dir import Description, Given, weight_files
from bert_tf.tasks.task_data import DEV, TEST, TRAIN, Answers, FineTuningOptions, TaskData, setting
from bert_tf.training import cluster, feasibility, run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions
from bert_tf.training.settings import check_choice

if TYPE_CHECKING:
  import keras

  from bert_tf.training.task import Task


class FineTuning:
  """One start of a fine-tuning run.

  Attributes:
    data: of the task.
    about: the model that is trained, or used; what is left beside its weights, and exported.
  """

  def __init__(
    self,
    options: FineTuningOptions,
    make_data: Callable[[FineTuningOptions, Description], TaskData],
    default_max_seq_length: int = TaskData.default_max_seq_length,
  ):
    """Finds what belongs to the weights, and reads all examples that are needed.

    Args:
      options: of the run.
      make_data: makes the task's data from the options and from what binds them, see `TaskData`.
      default_max_seq_length: taken where neither the options nor the weights say.

    Raises:
      UserError: there are no weights, something is missing, or does not fit together.
    """
    self._options = options
    self._start = _weights(options)
    weights = self._start
    if options.do_train:
      # A training may have another head; whether it goes on with the same run, `run_config` tells.
      weights = Description(weights.config, weights.tokens, weights.vocab_file, weights.tokenizer)
    weights = _with_length(weights, options, default_max_seq_length)
    self.data = make_data(options, weights)
    for split in (TRAIN, DEV, TEST):
      if options.wants(split):
        self.data.examples(split)
    self._refuse_overwriting()
    self.about = dataclasses.replace(
      weights,
      labels=self.data.labels,
      head=self.data.head,
      pairs=self.data.pairs,
      settings=self.data.settings,
    )

  def _refuse_overwriting(self) -> None:
    """Raises UserError where a record or a result file would replace a file that is read."""
    names = (*self.data.record_files.values(), *self.data.result_files)
    written = [os.path.join(self._options.output_dir, name) for name in names]
    read = {f"`{flag}`": files for flag, files in self.data.input_files.items()}
    refuse_overwriting({"`output_dir`": written}, read)

  @property
  def num_train_examples(self) -> int:
    """How many examples an epoch has."""
    return self.data.num_train_examples

  @property
  def weights(self) -> str:
    """The weights to answer with; raises UserError where there are none."""
    options = self._options
    return weight_files.newest(options.output_dir, options.takes_best, options.init_checkpoint)

  def train(self, training: TrainingOptions, devices: DeviceOptions) -> None:
    """Writes records and what belongs to the weights, then trains.

    With `training.eval_steps` the scored split is evaluated on the way. With `training.dry_run`
    everything is checked and nothing is left in the output directory.

    Raises:
      UserError: the output directory holds another run, or see `loop.train`.
    """
    self.data.check_training(training)
    if training.best_metric and self.data.score_names:
      check_choice("best_metric", training.best_metric, self.data.score_names)
    settings = self.run_settings()
    start = run_config.check(self.about.config, training, devices, settings)
    finished = start.step is not None and start.step >= training.last_step
    feasibility.check_memory(self.about.config)
    if training.eval_steps:
      self.data.examples(self.data.scored_split)
    self._warn_of_another_head()
    self._warn_of_what_is_forgotten()
    logging.info("***** Running training *****")
    self.data.log_training()
    logging.info("  Batch size = %d", training.train_batch_size)
    logging.info("  Num steps = %d", training.num_train_steps)
    with contextlib.ExitStack() as stack:
      directory = training.output_dir
      if training.dry_run or finished or not cluster.is_chief(devices):
        # Nothing that lies in the output directory is touched.
        directory = stack.enter_context(tempfile.TemporaryDirectory())
      else:
        model_dir.write(directory, self.about)
      train_file, num_records = self._write_records(TRAIN, directory)
      task = self._task(
        train_file,
        num_records,
        settings=settings,
        scorer=self._scorer(directory, lambda: task) if training.eval_steps else None,
      )

      from bert_tf.training import loop

      loop.train(task, training, devices)

  def _warn_of_another_head(self) -> None:
    """Says where outputs of the initial checkpoint are taken on under other names."""
    known, labels = self._start.labels, self.about.labels
    if known and len(known) == len(labels) and known != labels:
      logging.warning(
        "The head of the initial checkpoint, trained on %s, is where training on %s starts from",
        ", ".join(known[:6]),
        ", ".join(labels[:6]),
      )

  def _warn_of_what_is_forgotten(self) -> None:
    """Says which settings in the output directory a training does without, such as thresholds."""
    lost = sorted(set(self._start.settings) - set(self.data.settings))
    if lost and weight_files.holds_run(self._options.output_dir):
      logging.warning(
        "%s beside the weights no longer hold; evaluate again to choose them anew", ", ".join(lost)
      )

  def _scorer(
    self, directory: str, task: Callable[[], Task]
  ) -> Callable[[keras.Model], dict[str, float]]:
    """What evaluates a model on the way."""
    records_of_split = self._write_records(self.data.scored_split, directory)
    batch_size = self._batch_size(self.data.scored_split)
    return lambda model: self.data.scores(Answers(task(), model, *records_of_split, batch_size))

  def evaluate(self, devices: DeviceOptions) -> None:
    """Writes the scores of the dev set."""
    answers, step = self._answers(DEV, devices)
    self.data.evaluate(answers, self._options.output_dir, step)
    # What the evaluation has found out, such as thresholds.
    if self.data.settings != self.about.settings:
      self._keep_settings()

  def predict(self, devices: DeviceOptions) -> None:
    """Writes the answers to the test set."""
    answers, _ = self._answers(TEST, devices)
    self.data.predict(answers, self._options.output_dir)
    self._keep_settings()

  def _keep_settings(self) -> None:
    """Writes them beside the weights, so that what comes later answers as was answered here."""
    output_dir, settings = self._options.output_dir, self.data.settings
    if settings != self.about.settings and not weight_files.holds_run(output_dir):
      logging.warning(
        "What was chosen holds for this start alone, as the weights are not in %s: evaluate with"
        " the `output_dir` of their training to keep it",
        output_dir,
      )
    model_dir.update_settings(output_dir, settings)
    self.about = dataclasses.replace(self.about, settings=self.data.settings)

  def _answers(self, split: str, devices: DeviceOptions) -> tuple[Answers, int]:
    """The model that answers a split, and how many updates it has had."""
    path, num_records = self._write_records(split, self._options.output_dir)

    from bert_tf.training import inference

    task = self._task(None, None)
    options = self._options
    directory = weight_files.run_directory(options.output_dir, options.takes_best)
    model, step = inference.load_newest(task, directory, options.init_checkpoint, devices)
    what = os.path.basename(path)
    return Answers(task, model, path, num_records, self._batch_size(split), what), step

  def _batch_size(self, split: str) -> int:
    return self._options.predict_batch_size if split == TEST else self._options.eval_batch_size

  def _task(self, train_file: str | None, num_records: int | None, **options: Any) -> Task:
    allow_missing = self._options.allow_missing
    return self.data.create_task(train_file, num_records, allow_missing=allow_missing, **options)

  def run_settings(self) -> dict[str, Any]:
    """What makes a run another one if it changes, see `training.run_config`."""
    about = self.about
    return {
      **self.data.run_settings,
      "max_seq_length": about.max_seq_length,
      "do_lower_case": about.tokenizer.do_lower_case,
      "strip_accents": about.tokenizer.strips_accents,
      "tokenize_chinese_chars": about.tokenizer.tokenize_chinese_chars,
      "vocabulary": run_config.digest(about.tokens),
      "labels": list(about.labels),
      "pad_to_max_length": self._options.pad_to_max_length,
      "train_data": run_config.data_identity(self.data.train_files),
    }

  def _write_records(self, split: str, directory: str) -> tuple[str, int]:
    """Writes the records of a split; returns the file and their number."""
    path = os.path.join(directory, self.data.record_files[split])
    bar = progress_bars.bar(
      self.data.examples(split),
      desc=os.path.basename(path),
      unit=f" {self.data.unit}",
    )
    with records.RecordWriter(path) as writer:
      for record in self.data.records(split, bar):
        writer.write(records.encode_example(record))
    if not writer.num_written:
      raise UserError(
        f"{path}: expected at least one record, found texts without any that can be read; check the"
        f" {split} set"
      )
    return path, writer.num_written


def _weights(options: FineTuningOptions) -> Description:
  """Describes the weights that the run goes on from.

  That is the run in the output directory where there is one, or else the initial checkpoint.
  """
  given = Given(
    options.bert_config_file, options.vocab_file, options.do_lower_case, default_lower_case=True
  )
  if options.init_checkpoint:
    existing_checkpoint(options.init_checkpoint)
  resumes = weight_files.holds_run(options.output_dir)
  if not resumes and not options.init_checkpoint and not options.do_train:
    weight_files.newest(options.output_dir, takes_best=False)
    resumes = True
  place = options.output_dir if resumes else options.init_checkpoint
  return model_dir.describe(place, given, needs_vocabulary=True)


def _with_length(weights: Description, options: FineTuningOptions, default: int) -> Description:
  """The description with the length that the run uses."""
  length = setting("max_seq_length", options.max_seq_length, weights.max_seq_length, default)
  weights.config.check_sequence_length(length)
  return dataclasses.replace(weights, max_seq_length=length)


def steps_of_epochs(
  num_examples: int, batch_size: int, num_epochs: float, warmup_proportion: float
) -> tuple[int, int]:
  """Training steps and warmup steps, rounded down as in the original.

  Raises:
    UserError: not a single step, or a warmup_proportion outside [0, 1].
  """
  if batch_size < 1:
    raise UserError(f"`train_batch_size`: expected at least 1, found {batch_size}")
  if not 0 <= warmup_proportion <= 1:
    raise UserError(f"`warmup_proportion`: expected 0 to 1, found {warmup_proportion}")
  steps = int(num_examples / batch_size * num_epochs)
  if steps < 1:
    raise UserError(
      f"expected at least one training step, found {num_examples} examples x {num_epochs} epochs"
      f" / a batch of {batch_size}; lower `train_batch_size` or raise `num_train_epochs`"
    )
  return steps, int(steps * warmup_proportion)
