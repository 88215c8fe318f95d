"""What run_pretraining.py does: check, train, evaluate. Imports TensorFlow only once it must."""

from __future__ import annotations

import dataclasses
import os

from absl import logging

from bert_tf.config import BertConfig
from bert_tf.data import checks, records
from bert_tf.data.inputs import input_files
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.tasks.results import write_eval_results
from bert_tf.training.options import DeviceOptions, TrainingOptions


@dataclasses.dataclass(frozen=True)
class PretrainingRun:
  """The flags of run_pretraining.py that are its own; see there."""

  bert_config_file: str
  input_file: str
  eval_input_file: str | None
  max_seq_length: int
  max_predictions_per_seq: int
  do_train: bool
  do_eval: bool
  eval_batch_size: int
  max_eval_steps: int
  allow_missing: tuple[str, ...] = ()


def run(flags: PretrainingRun, training: TrainingOptions, devices: DeviceOptions) -> None:
  """Trains and evaluates as the flags say.

  Raises:
    UserError: neither training nor evaluation is asked for, the config or the records are wrong
      or do not fit each other.
  """
  if not flags.do_train and not flags.do_eval:
    raise UserError("expected --do_train or --do_eval, found neither; give at least one")
  config = BertConfig.from_json_file(flags.bert_config_file)
  config.check_sequence_length(flags.max_seq_length)
  train_files = input_files(flags.input_file)
  eval_files = train_files
  if flags.eval_input_file:
    eval_files = input_files(flags.eval_input_file, "--eval_input_file")
  spec = records.pretraining(flags.max_seq_length, flags.max_predictions_per_seq)
  limits = {"vocab_size": config.vocab_size, "type_vocab_size": config.type_vocab_size}
  for files in {tuple(train_files), tuple(eval_files)}:
    checks.check_records(files, spec, limits=limits)
  for path in train_files:
    logging.info("Input: %s", path)

  import tensorflow as tf

  from bert_tf.tasks.pretraining import HeldOut, PretrainingTask
  from bert_tf.training import loop

  task = PretrainingTask(
    config,
    train_files,
    flags.max_seq_length,
    flags.max_predictions_per_seq,
    HeldOut(eval_files, flags.eval_batch_size, flags.max_eval_steps),
  )
  task.allow_missing = (*task.allow_missing, *flags.allow_missing)
  try:
    if flags.do_train and training.dry_run:
      loop.train(task, training, devices)
      return
    if flags.do_train:
      os.makedirs(training.output_dir, exist_ok=True)
      with atomic_writer(os.path.join(training.output_dir, "bert_config.json")) as file:
        file.write(config.to_json_string())
      loop.train(task, training, devices)
    if flags.do_eval:
      _evaluate(task, eval_files, flags, training, devices)
  except tf.errors.OpError as error:
    raise checks.explain_record_error(error, [*train_files, *eval_files], spec, limits) from error


def _evaluate(task, files, flags: PretrainingRun, training: TrainingOptions, devices) -> None:
  from bert_tf.tasks.pretraining import Evaluator
  from bert_tf.training.inference import load_newest, progress

  model, step = load_newest(task, training.output_dir, training.init_checkpoint, devices)
  logging.info("Evaluating on %d batches of %d", flags.max_eval_steps, flags.eval_batch_size)
  batches = task.eval_dataset(files, flags.eval_batch_size).take(flags.max_eval_steps)
  results = Evaluator(model).evaluate(progress(batches, flags.max_eval_steps, "eval"))
  write_eval_results(training.output_dir, {**results, "global_step": step})
