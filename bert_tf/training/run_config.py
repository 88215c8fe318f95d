"""What makes a run the run that it is, kept beside its checkpoints. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir.weight_files import complete_checkpoints
from bert_tf.training.options import DeviceOptions, TrainingOptions

FILE = "run_config.json"
_ENDS = 1 << 16

# With another value of one of these, the weights come out differently.
_HYPERPARAMETERS = (
  "num_train_steps",
  "num_warmup_steps",
  "train_batch_size",
  "learning_rate",
  "seed",
  "weight_decay",
  "max_grad_norm",
  "gradient_accumulation_steps",
  "tokens_per_batch",
  "optimizer",
  "layerwise_lr_decay",
  "adam_bias_correction",
  "total_training_time",
)


def check(
  config: BertConfig,
  options: TrainingOptions,
  devices: DeviceOptions,
  settings: Mapping[str, Any] | None = None,
) -> None:
  """Compares a run to be started with the one that its output directory holds, if any.

  Call it first of all: it takes milliseconds.

  Args:
    config: the model's.
    options: of the training.
    devices: of the training.
    settings: the task's own, as JSON values; only what both runs name is compared.

  Raises:
    UserError: the directory holds a run of another model, or of other hyperparameters and
      `options.allow_config_change` does not say that this is meant.
  """
  if not complete_checkpoints(options.output_dir):
    return
  _check_model(config, options.output_dir)
  path = os.path.join(options.output_dir, FILE)
  if not os.path.exists(path):
    return
  try:
    with open(path, encoding="utf-8") as file:
      before = json.load(file)["hyperparameters"]
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"{path}: expected the settings of a run, found {error}; remove it") from error
  now = _hyperparameters(options, devices, settings)
  changed = [name for name in now if name in before and before[name] != now[name]]
  if not changed:
    return
  differences = ", ".join(f"--{name}={before[name]} (now {now[name]})" for name in changed)
  if not options.allow_config_change:
    raise UserError(
      f"{options.output_dir}: holds a run with {differences}; give the same settings to go on with"
      " it, --allow_config_change to go on with the new ones, or another --output_dir"
    )
  logging.warning("%s: going on with other settings: was %s", options.output_dir, differences)


def write(
  config: BertConfig,
  options: TrainingOptions,
  devices: DeviceOptions,
  settings: Mapping[str, Any] | None = None,
) -> None:
  """Writes the settings for later starts to compare with."""
  contents = {
    "model": config.to_dict(),
    "hyperparameters": _hyperparameters(options, devices, settings),
    "distribution_strategy": devices.distribution_strategy,
    "enable_xla": options.enable_xla,
    "recompute_activations": options.recompute_activations,
  }
  with atomic_writer(os.path.join(options.output_dir, FILE)) as file:
    file.write(json.dumps(contents, indent=2, sort_keys=True) + "\n")


def _hyperparameters(
  options: TrainingOptions, devices: DeviceOptions, settings: Mapping[str, Any] | None
) -> dict[str, Any]:
  values = dataclasses.asdict(options)
  chosen = {name: values[name] for name in _HYPERPARAMETERS}
  # As JSON gives it back: tuples are lists there.
  return json.loads(json.dumps({**chosen, "dtype": devices.dtype, **(settings or {})}))


def _check_model(config: BertConfig, output_dir: str) -> None:
  """Compares with run_config.json, or with the bert_config.json that a script has left."""
  now = config.to_dict()
  for name, key in ((FILE, "model"), ("bert_config.json", None)):
    path = os.path.join(output_dir, name)
    if not os.path.exists(path):
      continue
    try:
      with open(path, encoding="utf-8") as file:
        before = json.load(file)
      before = BertConfig.from_dict(before[key] if key else before, path).to_dict()
    except (ValueError, KeyError, TypeError) as error:
      raise UserError(f"{path}: expected the config of a model, found {error}") from error
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
      first = changed[0]
      raise UserError(
        f"{output_dir}: holds a run of another model: its {first} is {before.get(first)}, that of"
        f" --bert_config_file {now.get(first)}; give another --output_dir, or that run's config"
      )
    return


def data_identity(paths: Sequence[str]) -> list[list[str | int]]:
  """What tells other data: of each file base name, size, digest of its first and last 64 KiB."""
  identity: list[list[str | int]] = []
  for path in sorted(paths):
    size = os.path.getsize(path)
    with open(path, "rb") as file:
      digest = hashlib.sha256(file.read(_ENDS))
      file.seek(max(0, size - _ENDS))
      digest.update(file.read(_ENDS))
    identity.append([os.path.basename(path), size, digest.hexdigest()[:16]])
  return identity
