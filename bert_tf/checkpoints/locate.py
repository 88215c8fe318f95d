"""Which checkpoint of TensorFlow's a path means: a prefix, one of its files, or a directory."""

from __future__ import annotations

import glob
import os
import re

from absl import logging

from bert_tf.errors import UserError
from bert_tf.model_dir.weight_files import step_of

_INDEX = ".index"
_FILE_OF_CHECKPOINT = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def find(path: str) -> str | None:
  """Returns the checkpoint prefix that `path` means, or None where it means none.

  Args:
    path: a prefix (`bert_model.ckpt`), any one of a checkpoint's files, or a directory: then the
      newest checkpoint in it that its state file `checkpoint` lists, or the only one.

  Raises:
    UserError: there are several checkpoints and nothing says which, or a file without its index.
  """
  if os.path.isdir(path):
    return _newest(path)
  prefix = _FILE_OF_CHECKPOINT.sub("", path)
  if os.path.exists(prefix + _INDEX):
    return prefix
  if prefix != path and os.path.exists(path):
    raise UserError(
      f"{path}: expected {os.path.basename(prefix)}{_INDEX} beside it, found none; copy all files"
      f" of the checkpoint ({_INDEX} and .data-...) into one directory"
    )
  return None


def listed(directory: str) -> list[str]:
  """The checkpoints that a state file lists and that are there, the newest last.

  A state file may name another machine's directory; what lies here goes before that.
  """
  import tensorflow as tf

  try:
    state = tf.train.get_checkpoint_state(directory)
  except ValueError:
    # An empty one: the machine went down while it was written.
    state = None
  if state is None:
    return []
  paths = [p for p in state.all_model_checkpoint_paths if p != state.model_checkpoint_path]
  found = []
  for path in [*paths, state.model_checkpoint_path]:
    here = os.path.join(directory, os.path.basename(path))
    if path and os.path.exists(here + _INDEX):
      found.append(here)
    elif path and os.path.exists(path + _INDEX):
      logging.warning("%s: its state file means the files at %s", directory, path)
      found.append(path)
  return found


def _newest(directory: str) -> str | None:
  stated = listed(directory)
  if stated:
    return stated[-1]
  indexes = sorted(glob.glob(os.path.join(glob.escape(directory), "*" + _INDEX)))
  prefixes = [path.removesuffix(_INDEX) for path in indexes]
  if len(prefixes) < 2:
    return prefixes[0] if prefixes else None
  stems = {re.sub(r"-\d+$", "", prefix) for prefix in prefixes}
  newest = max(prefixes, key=lambda prefix: -1 if step_of(prefix) is None else step_of(prefix) or 0)
  if len(stems) > 1 or step_of(newest) is None:
    raise UserError(
      f"{directory}: expected one checkpoint, found {len(prefixes)} and no state file that says"
      f" which: {', '.join(map(os.path.basename, prefixes[:4]))}; name one of them"
    )
  logging.info("%s: no state file; taking the newest, %s", directory, newest)
  return newest
