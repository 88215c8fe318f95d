"""Recognises the format of a checkpoint from its files."""

from __future__ import annotations

import os
import re
from typing import Any

from absl import logging

from bert_tf.checkpoints import huggingface, keras_hub, locate, scopes
from bert_tf.checkpoints.reader import Reader
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.model_dir import json_files, local_path, weight_files


def open_checkpoint(path: Any, prefix: str | None = None) -> Reader:
  """Opens the checkpoint that `path` means, in whatever supported format.

  Args:
    path: a TF1 or Model Garden prefix, a weight file, a directory with any of them,
      `hf://organisation/name[@revision]`, or a live BERT of KerasHub.
    prefix: what stands before the names of the model in it, see `scopes`.

  Raises:
    UserError: there is no checkpoint at `path`, it is damaged, or it holds several models and
      `prefix` does not say which.
  """
  if not isinstance(path, str | os.PathLike):
    return keras_hub.open_model(path)
  path = local_path(os.fspath(path))
  preset = keras_hub.find(path)
  if preset:
    if prefix:
      raise UserError(f"{path}: a KerasHub preset has no prefix; leave `checkpoint_prefix` out")
    return keras_hub.Reader(preset)
  weights = weight_files.find_hugging_face(_index_of_shard(path))
  if weights:
    _check_architecture(weights)
    return huggingface.Reader(weights, prefix)
  from bert_tf.checkpoints import model_garden, saved_model, tf1

  directory = saved_model.find(path)
  if directory:
    return saved_model.open_saved_model(directory, prefix)
  found = locate.find(path)
  if found is None:
    raise UserError(
      f"init checkpoint: expected a checkpoint, found none at {path!r}; give the prefix of the"
      " .index file, such as uncased_L-12_H-768_A-12/bert_model.ckpt, or a directory with"
      f" {', '.join(weight_files.HUGGING_FACE)} or a SavedModel, or hf://organisation/name"
    )
  reader = tf1.Reader(found)
  if model_garden.is_object_based(reader):
    return model_garden.Reader(reader, prefix)
  return scopes.open_scoped(reader, prefix)


def _index_of_shard(path: str) -> str:
  """Returns the index of the shards where `path` is one of several, or else `path` itself.

  Raises:
    UserError: there is no index, so that it is not known what the other shards hold.
  """
  match = re.search(r"^(.*)-(\d{5})-of-(\d{5})(\.\w+)$", path)
  if not match or not os.path.isfile(path) or int(match[3]) == 1:
    return path
  index = f"{match[1]}{match[4]}.index.json"
  if not os.path.isfile(index):
    raise UserError(
      f"{path}: expected {os.path.basename(index)} beside this one of {int(match[3])} shards, found"
      " none; copy it there too, or name the directory that holds all of them"
    )
  logging.info("%s: one of %d shards; reading all of them by %s", path, int(match[3]), index)
  return index


def _check_architecture(weights: str) -> None:
  """Refuses RoBERTa and others by name, before their weights are found not to fit."""
  file = os.path.join(os.path.dirname(weights), "config.json")
  if not os.path.isfile(file):
    return
  BertConfig.from_json_file(file)
  if json_files.read(file).get("is_decoder"):
    raise UserError(
      f"{file}: expected a BERT that sees both directions, found a decoder (is_decoder: true);"
      " its weights would give other outputs here"
    )
