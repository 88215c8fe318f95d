"""Recognises the format of a checkpoint from its files."""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from bert_tf.checkpoints import hub, huggingface
from bert_tf.config import BertConfig
from bert_tf.errors import UserError

Shape = tuple[int, ...]

_CONFIG_FILES = ("bert_config.json", "config.json")
_VOCABULARY_FILES = ("vocab.txt",)


class Reader(Protocol):
  """A checkpoint of any format, read one tensor at a time by the original's names."""

  path: str
  format: str
  shapes: dict[str, Shape]

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the original's layout; raises UserError where it is damaged."""
    ...


def open_checkpoint(path: str) -> Reader:
  """Opens the checkpoint that `path` means, in whatever supported format.

  Args:
    path: a TF1 prefix, a weight file, a directory or `hf://organisation/name[@revision]`.

  Raises:
    UserError: there is no checkpoint at `path`, or it is damaged.
  """
  path = local_path(path)
  weights = huggingface.find(path)
  if weights:
    _check_architecture(weights)
    return huggingface.Reader(weights)
  from bert_tf.checkpoints import tf1

  prefix = tf1.find(path)
  if prefix is None:
    raise UserError(
      f"init checkpoint: expected a checkpoint, found none at {path!r}; give the prefix of the"
      " .index file, such as uncased_L-12_H-768_A-12/bert_model.ckpt, or a directory with"
      f" {', '.join(huggingface.WEIGHT_FILES)}, or hf://organisation/name"
    )
  return tf1.Reader(prefix)


def local_path(path: str) -> str:
  """Returns `path`, or where it names a model on the hub, the directory with a copy of it."""
  return hub.fetch(path) if hub.is_hub_id(path) else path


def find_beside(path: str, names: tuple[str, ...]) -> str | None:
  """Returns the first of some files in the directory of a checkpoint, or None."""
  path = local_path(path)
  directory = path if os.path.isdir(path) else os.path.dirname(path)
  candidates = (os.path.join(directory, name) for name in names)
  return next((file for file in candidates if os.path.isfile(file)), None)


def config_file(path: str) -> str | None:
  """Returns the `bert_config.json` or `config.json` that lies beside a checkpoint, or None."""
  path = local_path(path)
  # A directory with the weights of both worlds has a config of each.
  names = _CONFIG_FILES[::-1] if huggingface.find(path) else _CONFIG_FILES
  return find_beside(path, names)


def vocabulary_file(path: str) -> str | None:
  """Returns the `vocab.txt` that lies beside a checkpoint, or None."""
  return find_beside(path, _VOCABULARY_FILES)


def read_config(path: str) -> BertConfig:
  """Reads the config that lies beside a checkpoint.

  Raises:
    UserError: there is none, or it describes another architecture than BERT.
  """
  file = config_file(path)
  if file is None:
    raise UserError(
      f"{path}: expected {' or '.join(_CONFIG_FILES)} beside the weights, found neither; name a"
      " config with --bert_config_file"
    )
  return BertConfig.from_json_file(file)


def _check_architecture(weights: str) -> None:
  """Refuses RoBERTa and others by name, before their weights are found not to fit."""
  file = os.path.join(os.path.dirname(weights), "config.json")
  if os.path.isfile(file):
    BertConfig.from_json_file(file)
