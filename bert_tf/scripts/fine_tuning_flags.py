"""The flags that run_classifier.py, run_squad.py and run_ner.py share, and what all three do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from absl import flags, logging

from bert_tf.model_dir import Description
from bert_tf.scripts import script_flags, seeds, training_flags
from bert_tf.scripts.option_flags import define_float, define_integer
from bert_tf.tasks.fine_tuning import FineTuning, steps_of_epochs
from bert_tf.tasks.task_data import FineTuningOptions, TaskData
from bert_tf.training import cluster
from bert_tf.training.options import DeviceOptions

FLAGS = flags.FLAGS


def define(max_seq_length: str, default_max_seq_length: int = 128) -> None:
  """Defines what all fine-tuning scripts have.

  Args:
    max_seq_length: the help of that flag.
    default_max_seq_length: its default.
  """
  training_flags.define_model_flags()
  flags.DEFINE_string(
    "vocab_file", None, "The vocabulary file of the model; default: beside the weights."
  )
  flags.DEFINE_bool(
    "do_lower_case",
    True,
    "Lower-case the text: True for uncased models, False for cased ones; default: as beside the"
    " weights, if they say.",
  )
  define_integer("max_seq_length", default_max_seq_length, max_seq_length, least=1)
  flags.DEFINE_bool("do_train", False, "Whether to train.")
  flags.DEFINE_bool("do_predict", False, "Whether to predict the test set.")
  define_integer("predict_batch_size", 8, "Examples in a batch of the prediction.", least=1)
  define_float("num_train_epochs", 3.0, "How often to go over the training examples.", most=1e9)
  define_integer(
    "seeds",
    1,
    "Train with so many seeds, from --seed on, each in a directory of its own in output_dir/runs;"
    " with a table and a picture, and --export_dir for the best.",
    least=1,
  )
  define_float("warmup_proportion", 0.1, "Share of the training steps to warm up in.", most=1)


def define_evaluation() -> None:
  """Defines what scripts have whose dev set is another one than the test set."""
  flags.DEFINE_bool("do_eval", False, "Whether to evaluate on the dev set.")
  define_integer("eval_batch_size", 8, "Examples in a batch of the evaluation.", least=1)
  flags.DEFINE_bool(
    "pad_to_max_length",
    False,
    "Give all batches one shape, instead of grouping examples by length: for XLA and TPUs.",
  )


def files_of_splits() -> dict[str, str]:
  """Split -> the file that --train_file, --dev_file or --test_file names."""
  return {
    split: path for split in ("train", "dev", "test") if (path := FLAGS[f"{split}_file"].value)
  }


def _options(devices: DeviceOptions) -> FineTuningOptions:
  more: dict[str, Any] = {}
  if "do_eval" in FLAGS:
    more = {
      "do_eval": FLAGS.do_eval,
      "eval_batch_size": FLAGS.eval_batch_size,
      "pad_to_max_length": FLAGS.pad_to_max_length
      or FLAGS.enable_xla
      or devices.distribution_strategy == "tpu",
    }
  return FineTuningOptions(
    output_dir=FLAGS.output_dir,
    init_checkpoint=FLAGS.init_checkpoint,
    bert_config_file=FLAGS.bert_config_file,
    vocab_file=FLAGS.vocab_file,
    do_lower_case=training_flags.said("do_lower_case"),
    max_seq_length=training_flags.said("max_seq_length"),
    do_train=FLAGS.do_train,
    do_predict=FLAGS.do_predict,
    predict_batch_size=FLAGS.predict_batch_size,
    # What is exported, the best weights with --eval_steps, is what predicts too.
    takes_best=bool(FLAGS.export_dir and FLAGS.eval_steps),
    allow_missing=tuple(FLAGS.allow_missing),
    **more,
  )


def run(
  make_data: Callable[[FineTuningOptions, Description], TaskData], static_length: bool = False
) -> None:
  """Checks the input, then trains, evaluates, predicts and exports, as the flags say.

  Args:
    make_data: see `FineTuning`.
    static_length: whether an export pads to the longest sequence.
  """
  if FLAGS.seeds > 1 and not FLAGS.dry_run:  # That of one seed says all there is to say.
    seeds.start(_program(), script_flags.said(), FLAGS.seeds)
    return
  logging.set_verbosity(logging.INFO)
  devices = training_flags.device_options()
  fine_tuning = FineTuning(_options(devices), make_data, FLAGS["max_seq_length"].default)
  exporter = training_flags.exporter(fine_tuning.about, static_length)
  if FLAGS.do_train:
    _train(fine_tuning, devices)
  if FLAGS.dry_run or not cluster.is_chief(devices):
    return
  if "do_eval" in FLAGS and FLAGS.do_eval:
    fine_tuning.evaluate(devices)
  if FLAGS.do_predict:
    fine_tuning.predict(devices)
  if exporter:
    logging.info("Exporting %s", fine_tuning.weights)
    logging.info("Exported to %s", exporter.export(fine_tuning.weights, fine_tuning.about.settings))


def _program() -> str:
  """What other processes start to do what this one does: its file, or the script it is."""
  program = sys.argv[0]
  if program.endswith(".py") and not program.endswith("__main__.py"):
    return program
  return next(name for name in script_flags.FINE_TUNING if f"bert_tf.scripts.{name}" in sys.modules)


def _train(fine_tuning: FineTuning, devices: DeviceOptions) -> None:
  steps = steps_of_epochs(
    fine_tuning.num_train_examples,
    FLAGS.train_batch_size,
    FLAGS.num_train_epochs,
    FLAGS.warmup_proportion,
  )
  fine_tuning.train(training_flags.training_options(*steps), devices)
