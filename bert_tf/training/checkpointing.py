"""The checkpoints of a run: `model.ckpt-N` in its output directory, as the original lays them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import tensorflow as tf
from absl import logging

from bert_tf import names
from bert_tf.checkpoints import tf1
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir.weight_files import complete_checkpoints, step_of

__all__ = ["CheckpointManager", "complete_checkpoints"]

State = Mapping[str, tf.Variable]


class CheckpointManager:
  """Saves, finds, restores and prunes the checkpoints of one output directory."""

  def __init__(self, directory: str, state: Callable[[], State], keep_checkpoint_max: int):
    """Args: `state`, gives the variables to save by name, `global_step` among them."""
    self._directory = directory
    self._state = state
    self._keep = keep_checkpoint_max
    self.latest_step: int | None = None

  def save(self) -> str:
    """Writes `model.ckpt-<global_step>`, then the state file, then prunes; returns the prefix."""
    state = self._state()
    step = int(state[names.GLOBAL_STEP].numpy())
    prefix = os.path.join(self._directory, f"model.ckpt-{step}")
    tf1.write(prefix, state)
    self.latest_step = step
    kept = complete_checkpoints(self._directory)
    write_state_file(self._directory, kept[-self._keep :])
    for old in kept[: -self._keep]:
      tf1.delete(old)
    return prefix

  def restore(self) -> str | None:
    """Reads the newest complete checkpoint into the variables; None where there is none.

    A broken checkpoint is named in the log and the next older one taken.

    Raises:
      UserError: the checkpoint is of another model or optimizer, or all of them are broken.
    """
    prefixes = complete_checkpoints(self._directory)
    for prefix in reversed(prefixes):
      try:
        reader = tf1.Reader(prefix)
        tensors = {name: reader.read(name) for name in reader.shapes}
      except UserError as error:
        logging.warning("%s; going back to the one before", error)
        continue
      self._assign(prefix, tensors)
      self.latest_step = step_of(prefix)
      return prefix
    if prefixes:
      raise UserError(
        f"{self._directory}: expected a checkpoint that can be read, found {len(prefixes)} broken"
        " ones; remove them or give another `output_dir`"
      )
    return None

  def repair_state_file(self) -> None:
    """Writes the file `checkpoint` anew where it is empty or missing beside checkpoints."""
    path = os.path.join(self._directory, "checkpoint")
    kept = complete_checkpoints(self._directory)
    if kept and not (os.path.exists(path) and os.path.getsize(path)):
      logging.warning("Writing %s anew, which was found empty or missing", path)
      write_state_file(self._directory, kept)

  def _assign(self, prefix: str, tensors: Mapping) -> None:
    state = self._state()
    # The original's checkpoints hold nothing of ours.
    own = {name for name in state if name.startswith(names.OWN_PREFIX) and name not in tensors}
    expected = {n: tuple(variable.shape) for n, variable in state.items() if n not in own}
    for name, shape in expected.items():
      found = tuple(tensors[name].shape) if name in tensors else None
      if found != shape:
        raise UserError(
          f"{prefix}: expected {name} of shape {list(shape)}, found"
          f" {'nothing' if found is None else list(found)}; it is of another model: give another"
          " `output_dir`, or the config that it was trained with"
        )
    for name in expected:
      state[name].assign(tensors[name])


def write_state_file(directory: str, prefixes: list[str]) -> None:
  """Writes the file `checkpoint`, by which TensorFlow finds the newest one.

  It is a text protocol buffer of two fields; TensorFlow's own function for it is deprecated.
  """
  names_of = [os.path.basename(prefix) for prefix in prefixes]
  with atomic_writer(os.path.join(directory, "checkpoint")) as file:
    file.write(f'model_checkpoint_path: "{names_of[-1]}"\n')
    file.writelines(f'all_model_checkpoint_paths: "{name}"\n' for name in names_of)
