"""The flags that the run_* scripts share, and the options made from them.

A script calls `flags.adopt_module_key_flags(training_flags)`, so that its `--help` shows them too.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from bert_tf.errors import UserError
from bert_tf.export.options import ExportOptions
from bert_tf.export.run import ExportRun, ExportRunner
from bert_tf.model_dir import Description
from bert_tf.training import cluster
from bert_tf.training.options import (
  DTYPES,
  OPTIMIZERS,
  RESOLVERS,
  STRATEGIES,
  DeviceOptions,
  TrainingOptions,
)

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
  """Defines how to train: the original's flags first, then our additions."""
  flags.DEFINE_integer("train_batch_size", 32, "Examples in a batch, over all devices.")
  flags.DEFINE_float("learning_rate", 5e-5, "The peak learning rate of AdamW.")
  flags.DEFINE_integer("save_checkpoints_steps", 1000, "How often to save a checkpoint.")
  flags.DEFINE_integer(
    "iterations_per_loop", 1000, "The most steps to run before looking at signals and losses."
  )
  flags.DEFINE_alias("steps_per_loop", "iterations_per_loop")
  flags.DEFINE_integer("keep_checkpoint_max", 5, "How many checkpoints to keep.")
  flags.DEFINE_integer("log_steps", 100, "How often to log losses and speed.")
  flags.DEFINE_integer(
    "seed", 12345, "Seed of initial weights, of dropout and of the order of the data."
  )
  flags.DEFINE_integer(
    "gradient_accumulation_steps", 1, "Compute a batch in so many pieces, to save memory."
  )
  flags.DEFINE_integer(
    "tokens_per_batch",
    0,
    "Compute a batch of --train_batch_size examples in pieces of up to so many tokens, padding"
    " included, each of examples of similar length: even memory and little padding, and the same"
    " update. 0: do not.",
  )
  flags.DEFINE_float("weight_decay", 0.01, "Rate of the decoupled weight decay.")
  flags.DEFINE_float("max_grad_norm", 1.0, "Global norm to clip gradients to; 0: do not clip.")
  flags.DEFINE_bool(
    "recompute_activations",
    False,
    "Compute activations again in the backward pass instead of keeping them: slower, but it"
    " takes far less memory.",
  )
  _define_more_training_flags()


def _define_more_training_flags() -> None:
  flags.DEFINE_enum("optimizer", "adamw", OPTIMIZERS, "adamw, or lamb for very large batches.")
  flags.DEFINE_bool(
    "adam_bias_correction",
    False,
    "Correct the bias of AdamW's moments, as the original does not: better on few examples.",
  )
  flags.DEFINE_float(
    "layerwise_lr_decay", 1.0, "Factor of the learning rate from each layer to the one below it."
  )
  flags.DEFINE_integer(
    "eval_steps",
    0,
    "Evaluate after every so many steps, and keep the best weights in output_dir/best; 0: do not.",
  )
  flags.DEFINE_integer(
    "early_stopping_patience",
    0,
    "Stop after so many evaluations that brought nothing better; 0: do not.",
  )
  flags.DEFINE_float(
    "total_training_time",
    0.0,
    "Seconds that training may take, over all starts; the learning rate then follows the clock"
    " where it is ahead of the steps. 0: no limit.",
  )
  flags.DEFINE_integer(
    "skip_nonfinite_steps",
    0,
    "Leave out up to so many batches whose loss or gradient is not finite, before giving up.",
  )
  flags.DEFINE_bool(
    "allow_config_change", False, "Go on with the run in output_dir although settings differ."
  )
  flags.DEFINE_bool(
    "deterministic",
    False,
    "Use only operations that give the same bits every time (slower on GPUs).",
  )
  flags.DEFINE_bool(
    "dry_run", False, "Check everything and estimate memory and time, but train nothing."
  )
  flags.DEFINE_list("profile_steps", [], "First and last step to profile for TensorBoard: 10,20.")
  flags.DEFINE_string("wandb_project", None, "Report to this project of Weights & Biases.")


def define_device_flags() -> None:
  """Defines where to compute: the original's TPU flags first, then our additions."""
  flags.DEFINE_bool("use_tpu", False, "Whether to use a TPU.")
  flags.DEFINE_string("tpu_name", None, "Name of the Cloud TPU, or its grpc:// address.")
  flags.DEFINE_string("tpu_zone", None, "Zone of the Cloud TPU, found by itself if not given.")
  flags.DEFINE_string("gcp_project", None, "Project of the Cloud TPU, found by itself likewise.")
  flags.DEFINE_string("master", None, "Address of the TPU, as tpu_name; the original's name.")
  flags.DEFINE_integer("num_tpu_cores", 8, "Ignored: the number is found by itself.")
  flags.DEFINE_enum(
    "distribution_strategy",
    "auto",
    STRATEGIES,
    "Devices to use; auto: a TPU if one is named, workers if TF_CONFIG names them, else all GPUs.",
  )
  flags.DEFINE_enum("dtype", "float32", list(DTYPES), "Type of activations and matrix products.")
  flags.DEFINE_bool("enable_xla", False, "Whether to compile the step with XLA.")
  flags.DEFINE_enum(
    "cluster_resolver",
    "auto",
    RESOLVERS,
    "Who names the workers: TF_CONFIG, Slurm or an indexed Job of Kubernetes; auto: TF_CONFIG.",
  )
  flags.DEFINE_float("worker_timeout", 600.0, "Seconds to wait for all workers at the start.")


def device_options() -> DeviceOptions:
  """The devices that the flags ask for; raises UserError where workers are wrongly described."""
  options = DeviceOptions(
    distribution_strategy="tpu" if FLAGS.use_tpu else FLAGS.distribution_strategy,
    dtype=FLAGS.dtype,
    tpu_name=FLAGS.tpu_name or FLAGS.master,
    tpu_zone=FLAGS.tpu_zone,
    gcp_project=FLAGS.gcp_project,
    cluster_resolver=FLAGS.cluster_resolver,
    worker_timeout=FLAGS.worker_timeout,
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
  workers = cluster.find_cluster(device_options())
  if not FLAGS.export_dir or (workers and workers.index):
    return None
  options = ExportOptions(FLAGS.export_dir)
  return ExportRunner(
    ExportRun(FLAGS.output_dir, options, static_length=static_length, about=about)
  )


def training_options(num_train_steps: int, num_warmup_steps: int) -> TrainingOptions:
  """The training that the flags ask for.

  Raises:
    UserError: the flags contradict each other, or output_dir holds another run (this is found
      out before anything that takes time).
  """
  options = TrainingOptions(
    output_dir=FLAGS.output_dir,
    num_train_steps=num_train_steps,
    num_warmup_steps=num_warmup_steps,
    train_batch_size=FLAGS.train_batch_size,
    learning_rate=FLAGS.learning_rate,
    init_checkpoint=FLAGS.init_checkpoint,
    save_checkpoints_steps=FLAGS.save_checkpoints_steps,
    keep_checkpoint_max=FLAGS.keep_checkpoint_max,
    steps_per_loop=FLAGS.iterations_per_loop,
    log_steps=FLAGS.log_steps,
    seed=FLAGS.seed,
    weight_decay=FLAGS.weight_decay,
    max_grad_norm=FLAGS.max_grad_norm,
    gradient_accumulation_steps=FLAGS.gradient_accumulation_steps,
    tokens_per_batch=FLAGS.tokens_per_batch,
    recompute_activations=FLAGS.recompute_activations,
    enable_xla=FLAGS.enable_xla,
    optimizer=FLAGS.optimizer,
    adam_bias_correction=FLAGS.adam_bias_correction,
    layerwise_lr_decay=FLAGS.layerwise_lr_decay,
    eval_steps=FLAGS.eval_steps,
    early_stopping_patience=FLAGS.early_stopping_patience,
    total_training_time=FLAGS.total_training_time,
    skip_nonfinite_steps=FLAGS.skip_nonfinite_steps,
    allow_config_change=FLAGS.allow_config_change,
    deterministic=FLAGS.deterministic,
    dry_run=FLAGS.dry_run,
    profile_steps=_profile_steps(FLAGS.profile_steps),
    wandb_project=FLAGS.wandb_project,
  )
  if 0 < FLAGS.tokens_per_batch < FLAGS.max_seq_length:
    raise UserError(
      f"--tokens_per_batch: expected at least --max_seq_length ({FLAGS.max_seq_length}), found"
      f" {FLAGS.tokens_per_batch}; a piece holds one example at least"
    )
  return options


def _profile_steps(values: list[str]) -> tuple[int, int] | None:
  if not values:
    return None
  if len(values) != 2 or not all(value.strip().isdigit() for value in values):
    raise UserError(f"--profile_steps: expected two steps such as 10,20, found {','.join(values)}")
  return int(values[0]), int(values[1])
