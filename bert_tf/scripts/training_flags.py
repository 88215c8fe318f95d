"""The flags that the run_* scripts share, and the options made from them.

A script calls `flags.adopt_module_key_flags(training_flags)`, so that its `--help` shows them too.
"""

from __future__ import annotations

from typing import Any

from absl import flags, logging

from bert_tf.errors import UserError
from bert_tf.export.options import ExportOptions
from bert_tf.export.run import ExportRun, ExportRunner
from bert_tf.model_dir import Description
from bert_tf.scripts.option_flags import define_integer, define_options, options_of_flags
from bert_tf.training import cluster, feasibility, rendezvous
from bert_tf.training.options import DeviceOptions, TrainingOptions

FLAGS = flags.FLAGS


def define_model_flags() -> None:
  """Defines what every script needs to know of the model; output_dir is required."""
  flags.DEFINE_string(
    "bert_config_file",
    None,
    "JSON file with the configuration of the model: Google's bert_config.json, or the config.json"
    " of Hugging Face or KerasHub; default: the one beside --init_checkpoint.",
  )
  flags.DEFINE_string("output_dir", None, "Directory for checkpoints and results.")
  flags.DEFINE_string(
    "init_checkpoint",
    None,
    "Checkpoint to start from, usually a pre-trained BERT: a prefix such as"
    " uncased_L-12_H-768_A-12/bert_model.ckpt, or a directory.",
  )
  flags.DEFINE_list(
    "allow_missing",
    [],
    "Names of weights, or patterns such as 'cls/*', that the initial checkpoint need not hold;"
    " they start at random.",
  )
  flags.DEFINE_string(
    "export_dir",
    None,
    "At the end, export a model that takes raw text to this directory, as export_model.py does: of"
    " the best weights with --eval_steps, else of the newest.",
  )
  flags.mark_flag_as_required("output_dir")


def define_training_flags() -> None:
  """Defines how to train, as the fields of `TrainingOptions` say."""
  define_options(TrainingOptions)


def define_device_flags() -> None:
  """Defines where to compute: the original's TPU flags and the fields of `DeviceOptions`."""
  flags.DEFINE_bool("use_tpu", False, "Whether to use a TPU.")
  flags.DEFINE_string("master", None, "Address of the TPU, as tpu_name; the original's name.")
  define_integer("num_tpu_cores", 8, "Ignored: the number is found by itself.")
  define_options(DeviceOptions)


def device_options() -> DeviceOptions:
  """The devices that the flags ask for; raises UserError where workers are wrongly described."""
  options = options_of_flags(
    DeviceOptions,
    distribution_strategy="tpu" if FLAGS.use_tpu else FLAGS.distribution_strategy,
    tpu_name=FLAGS.tpu_name or FLAGS.master,
  )
  cluster.find_cluster(options)
  return options


def said(name: str) -> Any:
  """The value of a flag; None where it was left out."""
  return FLAGS[name].value if FLAGS[name].present else None


def exporter(about: Description, static_length: bool = False) -> ExportRunner | None:
  """What --export_dir asks for, checked now and written at the end; None where nothing is.

  Args:
    about: the model that will be exported.
    static_length: whether it pads to the longest sequence.

  Raises:
    UserError: the export cannot be written, or its flags do not fit.
  """
  if not FLAGS.export_dir:
    return None
  options = ExportOptions(FLAGS.export_dir)
  # Checked by all workers, written by the chief.
  runner = ExportRunner(
    ExportRun(FLAGS.output_dir, options, static_length=static_length, about=about)
  )
  return runner if cluster.is_chief(device_options()) else None


def tell_workers(error: UserError) -> None:
  """Tells the workers of this run, if there are others, that this one has failed."""
  try:
    workers = cluster.find_cluster(device_options())
  except UserError:  # It may be just that which is wrong.
    return
  if workers and len(workers.workers) > 1:
    # Said now, as telling may take a while.
    logging.error("%s", error)
    rendezvous.tell_failure(workers, error)


def training_options(num_train_steps: int, num_warmup_steps: int) -> TrainingOptions:
  """The training that the flags ask for.

  Raises:
    UserError: the flags contradict each other, or output_dir holds another run (this is found
      out before anything that takes time).
  """
  options = options_of_flags(
    TrainingOptions,
    output_dir=FLAGS.output_dir,
    num_train_steps=num_train_steps,
    num_warmup_steps=num_warmup_steps,
    init_checkpoint=FLAGS.init_checkpoint,
  )
  if 0 < FLAGS.tokens_per_batch < FLAGS.max_seq_length:
    raise UserError(
      f"`tokens_per_batch`: expected at least `max_seq_length` ({FLAGS.max_seq_length}), found"
      f" {FLAGS.tokens_per_batch}; a piece holds one example at least"
    )
  if FLAGS.do_train and cluster.is_chief(device_options()):
    feasibility.check_writable(options.output_dir)
  return options
