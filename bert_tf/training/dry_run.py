"""Checks a run before it starts: data, checkpoint, sizes; estimates its memory and time."""

from __future__ import annotations

import time

import keras
import numpy as np
import tensorflow as tf
import tqdm
from absl import logging

from bert_tf import checkpoints, names
from bert_tf.checkpoints import tf1
from bert_tf.config import BertConfig
from bert_tf.data.pipelines import ReadOptions
from bert_tf.errors import UserError
from bert_tf.model_dir.weight_files import complete_checkpoints
from bert_tf.training import run_config
from bert_tf.training import strategy as strategies
from bert_tf.training.nonfinite import ids_out_of_range
from bert_tf.training.options import DTYPES, DeviceOptions, TrainingOptions
from bert_tf.training.task import FeatureRole, Task

_EXAMPLES = 1000
_SECONDS = 10.0
# A step takes about so many times as long as its matrix products alone (benchmarks/training.py).
_STEP_OVER_PRODUCTS = 1.6


def run(
  task: Task, options: TrainingOptions, devices: DeviceOptions, strategy: tf.distribute.Strategy
) -> None:
  """Logs what would be done and all warnings; changes nothing on disk.

  Raises:
    UserError: the run would fail.
  """
  model = task.create_model(DTYPES[devices.dtype], options.recompute_activations)
  run_config.check(model.config, options, devices, task.settings)
  warnings = [*_settings_warnings(options), *_check_weights(task, model, options)]
  batches = _some_batches(task, options, strategies.workers(strategy))
  _check_ids(batches, task)
  warnings += _data_warnings(batches, task)
  examples = task.num_train_examples()
  if examples is not None:
    steps = examples / options.train_batch_size
    logging.info(
      "Dry run: %d examples, %.1f steps an epoch, %d steps are %.2f epochs, %d of them warmup",
      examples,
      steps,
      options.num_train_steps,
      options.num_train_steps / steps,
      options.num_warmup_steps,
    )
    if examples < options.train_batch_size:
      warnings.append(
        f"a batch ({options.train_batch_size}) holds more than all {examples} examples"
      )
  _estimate(task, model, batches[0], strategy.num_replicas_in_sync, options, devices)
  for warning in warnings:
    logging.warning("Dry run: %s", warning)
  logging.info("Dry run: nothing found that would fail, %d warning(s)", len(warnings))


def _settings_warnings(options: TrainingOptions) -> list[str]:
  warnings = []
  if options.num_warmup_steps >= options.num_train_steps:
    warnings.append(
      f"the warmup ({options.num_warmup_steps} steps) is no shorter than the training"
      f" ({options.num_train_steps})"
    )
  if options.optimizer == "adamw" and options.learning_rate > 1e-3:
    warnings.append(f"`learning_rate={options.learning_rate}` is high for AdamW")
  if options.learning_rate == 0:
    warnings.append("`learning_rate=0` trains nothing")
  return warnings


def _check_weights(task: Task, model: keras.Model, options: TrainingOptions) -> list[str]:
  """Reads the checkpoint that the run would start from."""
  variables = names.named_variables(model)
  parameters = sum(int(np.prod(variable.shape)) for variable in variables.values())
  logging.info("Dry run: %d parameters in %d variables", parameters, len(variables))
  saved = complete_checkpoints(options.output_dir)
  if saved:
    shapes = tf1.Reader(saved[-1]).shapes
    for name, variable in variables.items():
      if shapes.get(name) != tuple(variable.shape):
        raise UserError(
          f"{saved[-1]}: expected {name} of shape {list(variable.shape)}, found"
          f" {list(shapes.get(name, [])) or 'nothing'}; give another `output_dir`"
        )
    logging.info("Dry run: would resume from %s", saved[-1])
    return []
  if not options.init_checkpoint:
    return ["no `init_checkpoint`: training starts from random weights"]
  report = checkpoints.load(model, options.init_checkpoint, task.allow_missing)
  logging.info("Dry run: would start from the weights of %s", report)
  return []


def _some_batches(
  task: Task, options: TrainingOptions, workers: tuple[int, int]
) -> list[dict[str, np.ndarray]]:
  """The first batches of the run, of this worker's share, up to some examples or seconds."""
  num_shards, shard_index = workers
  dataset = task.train_dataset(
    ReadOptions(
      batch_size=options.train_batch_size,
      training=True,
      seed=options.seed,
      num_shards=num_shards,
      shard_index=shard_index,
    )
  )
  batches, start = [], time.monotonic()
  for batch in dataset.take(-(-_EXAMPLES // options.train_batch_size)):
    batches.append({name: value.numpy() for name, value in batch.items()})
    if time.monotonic() - start > _SECONDS:
      break
  if not batches:
    raise UserError("expected training examples, found none")
  return batches


def _check_ids(batches: list[dict[str, np.ndarray]], task: Task) -> None:
  for number, batch in enumerate(batches):
    wrong = ids_out_of_range(batch, task.features)
    if wrong:
      raise UserError(f"batch {number} of the training data: {wrong[0]}; does it fit the config?")


def _data_warnings(batches: list[dict[str, np.ndarray]], task: Task) -> list[str]:
  """Looks at padding, lengths and the balance of labels."""
  lengths = np.concatenate([batch["input_mask"].sum(axis=1) for batch in batches])
  positions = sum(batch["input_mask"].size for batch in batches)
  padding = 1 - lengths.sum() / positions
  longest = max(batch["input_mask"].shape[1] for batch in batches)
  logging.info(
    "Dry run: %d %s looked at: %.0f tokens on average, %d at most of %d, %.0f%% padding",
    len(lengths), "rows of examples" if "sequence_ids" in batches[0] else "examples",
    lengths.mean(), lengths.max(), longest, 100 * padding,
  )  # fmt: skip
  warnings = []
  if padding > 0.5:
    warnings.append(f"{padding:.0%} of what is computed is padding: lower `max_seq_length`")
  for name, role in task.features.items():
    if not role.is_label:
      continue
    labels = np.concatenate([_labels(batch, name, role) for batch in batches])
    values, counts = np.unique(labels, return_counts=True)
    shares = ", ".join(f"{v}: {c / len(labels):.0%}" for v, c in zip(values, counts, strict=True))
    logging.info("Dry run: %s: %s", name, shares)
    if counts.max() / len(labels) > 0.95:
      warnings.append(f"{name} is nearly always {values[counts.argmax()]} ({shares})")
  return warnings


def _labels(batch: dict[str, np.ndarray], name: str, role: FeatureRole) -> np.ndarray:
  """The labels of a batch, without places that hold nothing, as packed rows have them."""
  labels = batch[name].reshape(-1)
  if role.weights in batch:
    labels = labels[batch[role.weights].reshape(-1) > 0]
  return labels[labels != role.ignored]


def _estimate(
  task: Task,
  model: keras.Model,
  batch: dict[str, np.ndarray],
  replicas: int,
  options: TrainingOptions,
  devices: DeviceOptions,
) -> None:
  config: BertConfig = model.config
  parameters = sum(int(np.prod(variable.shape)) for variable in model.variables)
  count, length = task.sequences_of_row(int(batch["input_mask"].shape[1]))
  share = count * max(1, len(batch["input_mask"]) // replicas)
  rows = share // options.gradient_accumulation_steps
  if options.tokens_per_batch:
    rows = max(count, min(share, options.tokens_per_batch // length))
  state = 16 * parameters
  activations = activation_bytes(
    config, rows, length, 4 if devices.dtype == "float32" else 2, options.recompute_activations
  )
  predictions = task.predictions_per_row(batch)
  activations += 3 * 4 * rows * predictions * config.vocab_size
  logging.info(
    "Dry run: about %.1f GB for each device: %.1f for weights, gradients and moments, %.1f for the"
    " activations of %d rows",
    (state + activations) / 1e9, state / 1e9, activations / 1e9, rows,
  )  # fmt: skip
  flops = step_flops(config, share, length, predictions)
  seconds = _STEP_OVER_PRODUCTS * flops / _products_per_second(model.compute_dtype)
  logging.info(
    "Dry run: about %.2g s a step, %s in all (from the speed of matrix products alone)",
    seconds,
    tqdm.tqdm.format_interval(seconds * options.num_train_steps),
  )


def activation_bytes(
  config: BertConfig, rows: int, length: int, width: int, recompute: bool
) -> float:
  """Memory for what the backward pass needs of the encoder.

  Per layer B * S * H * (34 + 5 * N * S / H) bytes in 16 bits (arXiv:2205.05198, eq. 1); where
  activations are recomputed, the input of every layer and the whole of one.

  Args:
    config: the architecture.
    rows: B, examples computed at once on a device.
    length: S.
    width: bytes of an activation.
    recompute: whether activations are recomputed.
  """
  heads, hidden = config.num_attention_heads, config.hidden_size
  tokens = rows * length
  layer = tokens * hidden * (34 + 5 * heads * length / hidden) * width / 2
  if recompute:
    return layer + config.num_hidden_layers * tokens * hidden * width
  return config.num_hidden_layers * layer


def step_flops(config: BertConfig, rows: int, length: int, predictions: int) -> float:
  """Operations in the matrix products of a step, forward (2 each) and backward (4 each)."""
  hidden, inner = config.hidden_size, config.intermediate_size
  tokens = rows * length
  layer = tokens * (4 * hidden * hidden + 2 * hidden * inner + 2 * length * hidden)
  head = rows * predictions * (hidden * hidden + hidden * config.vocab_size)
  return 6.0 * (config.num_hidden_layers * layer + head)


def _products_per_second(dtype: str) -> float:
  """Operations a second of a matrix product of BERT-base's sizes on the default device."""
  a = tf.ones([512, 768], dtype)
  b = tf.ones([768, 3072], dtype)
  multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(a, b)))
  multiply().numpy()
  count, start = 0, time.perf_counter()
  while time.perf_counter() - start < 0.3:
    multiply().numpy()
    count += 1
  return count * 2.0 * 512 * 768 * 3072 / (time.perf_counter() - start)
