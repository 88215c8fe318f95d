"""What makes a run the run that it is, kept beside its checkpoints. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir.weight_files import complete_checkpoints, step_of
from bert_tf.training import settings as settings_of_fields
from bert_tf.training.options import DeviceOptions, TrainingOptions

FILE = "run_config.json"

# How much of the beginning and of the end of a file tells it from others.
_IDENTITY_BYTES = 1 << 16
# Texts that are longer are cut in messages.
_LONGEST_TEXT = 60


@dataclasses.dataclass(frozen=True)
class Start:
  """How a run starts in its directory.

  Attributes:
    step: of the newest checkpoint to go on from; None: there is none, or the run starts anew.
    note: what is to be said about that, if anything.
  """

  step: int | None
  note: str = ""


def check(
  config: BertConfig,
  options: TrainingOptions,
  devices: DeviceOptions,
  settings: Mapping[str, Any] | None = None,
) -> Start:
  """Compares a run to be started with the one that its output directory holds, if any.

  Call it first of all: it takes milliseconds.

  Args:
    config: the model's.
    options: of the training.
    devices: of the training.
    settings: the task's own, as JSON values; only what both runs name is compared.

  Raises:
    UserError: the directory holds a run of another model, or of other hyperparameters and
      `options.allow_config_change` does not say that this is meant. A run that never made a step
      stands in nobody's way, and more steps than before are always granted.
  """
  checkpoints = complete_checkpoints(options.output_dir)
  if not checkpoints:
    return Start(None)
  step = step_of(checkpoints[-1]) or 0
  other_model = _other_model(config, options.output_dir)
  before = _read(options.output_dir)
  now = hyperparameters(options, devices, settings)
  changed = _changes(before.get("hyperparameters", {}), now)
  if step == 0:
    other_start = before.get("init_checkpoint", options.init_checkpoint) != options.init_checkpoint
    if other_model or changed or other_start:
      return Start(
        None,
        f"{options.output_dir}: starting anew, as the run in it never made a step and had other"
        " settings",
      )
    return Start(step)
  if other_model:
    raise UserError(other_model)
  if not changed:
    return Start(step)
  told = ", ".join(changed.values())
  if _is_longer(before["hyperparameters"], now, changed):
    return Start(step, f"{options.output_dir}: going on for longer than was said: was {told}")
  if not options.allow_config_change:
    raise UserError(
      f"{options.output_dir}: holds a run with {told}; give the same settings to go on with"
      " it, `allow_config_change` to go on with the new ones, or another `output_dir`"
    )
  return Start(step, f"{options.output_dir}: going on with other settings: was {told}")


def write(
  config: BertConfig,
  options: TrainingOptions,
  devices: DeviceOptions,
  settings: Mapping[str, Any] | None = None,
) -> None:
  """Writes the settings for later starts to compare with."""
  contents = {
    "model": config.to_dict(),
    "hyperparameters": hyperparameters(options, devices, settings),
    "init_checkpoint": options.init_checkpoint,
    "distribution_strategy": devices.distribution_strategy,
    "enable_xla": options.enable_xla,
    "recompute_activations": options.recompute_activations,
  }
  with atomic_writer(os.path.join(options.output_dir, FILE)) as file:
    file.write(json.dumps(contents, indent=2, sort_keys=True) + "\n")


def hyperparameters(
  options: TrainingOptions, devices: DeviceOptions, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """All values that the weights depend on, as JSON gives them back: tuples are lists there."""
  chosen = {
    name: getattr(source, name)
    for source in (options, devices)
    for name, setting in settings_of_fields.of(source).items()
    if setting.another_run
  }
  return json.loads(json.dumps({**chosen, **(settings or {})}))


def shared_settings(
  config: BertConfig,
  options: TrainingOptions,
  devices: DeviceOptions,
  settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """What all workers of a run must have been told alike, as JSON values: everything but paths,
  which may be called otherwise on another machine.
  """
  values = {**config.to_dict(), **dataclasses.asdict(devices), **dataclasses.asdict(options)}
  for name in ("output_dir", "wandb_project", "worker_timeout"):
    del values[name]
  if options.init_checkpoint:
    values["init_checkpoint"] = os.path.basename(options.init_checkpoint.rstrip("/"))
  return json.loads(json.dumps({**values, **(settings or {})}))


def data_identity(paths: Iterable[str]) -> list[list[Any]]:
  """What tells files of data from others, by little reading; for the settings of a task.

  Returns:
    [base name, size in bytes, digest of the first and last 64 KiB] of every file in the order that
    they are read in, which is that of the examples; the directory does not count.
  """
  return [_identity(path) for path in paths]


def _identity(path: str) -> list[Any]:
  size = os.path.getsize(path)
  with open(path, "rb") as file:
    content = file.read(_IDENTITY_BYTES)
    file.seek(max(len(content), size - _IDENTITY_BYTES))
    content += file.read()
  return [os.path.basename(path), size, digest(content)]


def digest(content: bytes | Iterable[str]) -> str:
  """A short name of bytes, or of lines such as those of a vocabulary."""
  if not isinstance(content, bytes):
    content = "\n".join(content).encode("utf-8")
  return hashlib.sha256(content).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Says of every setting that both name what it was and what it is now."""
  return list(_changes(before, now).values())


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
  return {
    name: _difference(name, before[name], now[name])
    for name in now
    if name in before and before[name] != now[name]
  }


def _difference(name: str, before: Any, now: Any) -> str:
  if not isinstance(before, list) or not isinstance(now, list):
    return f"`{name}={_short(before)}` (now {_short(now)})"
  if len(before) != len(now):
    return f"{len(before)} entries of `{name}` (now {len(now)})"
  old, new = next((a, b) for a, b in zip(before, now, strict=True) if a != b)
  count = sum(a != b for a, b in zip(before, now, strict=True))
  return (
    f"{count} of {len(now)} entries of `{name}` others, first {_short(old)} (now {_short(new)})"
  )


def _short(value: Any) -> str:
  if isinstance(value, list):
    return " ".join(map(_short, value))
  text = str(value)
  return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."


def _is_longer(before: Mapping[str, Any], now: Mapping[str, Any], changed: Iterable[str]) -> bool:
  """Whether nothing but the number of steps is other, and it is larger; the warmup is a share of
  it in fine-tuning.
  """
  if not set(changed) <= {"num_train_steps", "num_warmup_steps"}:
    return False
  return now["num_train_steps"] > before.get("num_train_steps", now["num_train_steps"])


def _read(output_dir: str) -> dict[str, Any]:
  path = os.path.join(output_dir, FILE)
  if not os.path.exists(path):
    return {}
  try:
    with open(path, encoding="utf-8") as file:
      contents = json.load(file)
    if not isinstance(contents["hyperparameters"], dict):
      raise TypeError(f"hyperparameters {contents['hyperparameters']!r}")
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"{path}: expected the settings of a run, found {error}; remove it") from error
  return contents


def _other_model(config: BertConfig, output_dir: str) -> str | None:
  """Compares with run_config.json, or with the bert_config.json that a script has left; says what
  is other.
  """
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
      return (
        f"{output_dir}: holds a run of another model: its {first} is {before.get(first)}, that of"
        f" `bert_config_file` {now.get(first)}; give another `output_dir`, or that run's config"
      )
    return None
  return None
