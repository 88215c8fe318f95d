"""Weights out of a SavedModel: ours, the Model Garden's, and modules of TF-Hub.

The graph is not looked at: a SavedModel keeps its variables in a checkpoint, and that checkpoint
the names that they had. Ours have the original's; Keras of the Model Garden has given its own.
"""

from __future__ import annotations

import os
import re

import numpy as np
from absl import logging

from bert_tf.checkpoints import model_garden, reader, scopes, tf1
from bert_tf.checkpoints.name_tables import (
  HEADS_BIAS,
  HEADS_IN,
  HEADS_OUT,
  SAME,
  Layout,
  Table,
)
from bert_tf.errors import UserError

FORMAT = "SavedModel"
_GRAPH_FILES = ("saved_model.pb", "saved_model.pbtxt")
_WORDS = "bert/embeddings/word_embeddings"
_LAYER, _THEIR_LAYER = "bert/encoder/layer_{}", "transformer/layer_{}"
_ATTENTION = f"{_THEIR_LAYER}/self_attention"

# What Keras called the variables of the Model Garden's encoder and masked-LM head, as
# `official/nlp/tools/export_tfhub_lib.py` exports them.
_TABLE = Table([
  ("bert/embeddings/word_embeddings", "word_embeddings/embeddings"),
  ("bert/embeddings/token_type_embeddings", "type_embeddings/embeddings"),
  ("bert/embeddings/position_embeddings", "position_embedding/embeddings"),
  ("bert/embeddings/LayerNorm/gamma", "embeddings/layer_norm/gamma"),
  ("bert/embeddings/LayerNorm/beta", "embeddings/layer_norm/beta"),
  (f"{_LAYER}/attention/self/query/kernel", f"{_ATTENTION}/query/kernel", HEADS_OUT),
  (f"{_LAYER}/attention/self/query/bias", f"{_ATTENTION}/query/bias", HEADS_BIAS),
  (f"{_LAYER}/attention/self/key/kernel", f"{_ATTENTION}/key/kernel", HEADS_OUT),
  (f"{_LAYER}/attention/self/key/bias", f"{_ATTENTION}/key/bias", HEADS_BIAS),
  (f"{_LAYER}/attention/self/value/kernel", f"{_ATTENTION}/value/kernel", HEADS_OUT),
  (f"{_LAYER}/attention/self/value/bias", f"{_ATTENTION}/value/bias", HEADS_BIAS),
  (f"{_LAYER}/attention/output/dense/kernel", f"{_ATTENTION}/attention_output/kernel", HEADS_IN),
  (f"{_LAYER}/attention/output/dense/bias", f"{_ATTENTION}/attention_output/bias"),
  (f"{_LAYER}/attention/output/LayerNorm/gamma", f"{_THEIR_LAYER}/self_attention_layer_norm/gamma"),
  (f"{_LAYER}/attention/output/LayerNorm/beta", f"{_THEIR_LAYER}/self_attention_layer_norm/beta"),
  (f"{_LAYER}/intermediate/dense/kernel", f"{_THEIR_LAYER}/intermediate/kernel"),
  (f"{_LAYER}/intermediate/dense/bias", f"{_THEIR_LAYER}/intermediate/bias"),
  (f"{_LAYER}/output/dense/kernel", f"{_THEIR_LAYER}/output/kernel"),
  (f"{_LAYER}/output/dense/bias", f"{_THEIR_LAYER}/output/bias"),
  (f"{_LAYER}/output/LayerNorm/gamma", f"{_THEIR_LAYER}/output_layer_norm/gamma"),
  (f"{_LAYER}/output/LayerNorm/beta", f"{_THEIR_LAYER}/output_layer_norm/beta"),
  ("bert/pooler/dense/kernel", "pooler_transform/kernel"),
  ("bert/pooler/dense/bias", "pooler_transform/bias"),
  ("cls/predictions/transform/dense/kernel", "cls/predictions/transform/dense/kernel"),
  ("cls/predictions/transform/dense/bias", "cls/predictions/transform/dense/bias"),
  ("cls/predictions/transform/LayerNorm/gamma", "cls/predictions/transform/LayerNorm/gamma"),
  ("cls/predictions/transform/LayerNorm/beta", "cls/predictions/transform/LayerNorm/beta"),
  ("cls/predictions/output_bias", "cls/predictions/output_bias/bias"),
])  # fmt: skip
_THEIR_NAME = re.compile(
  r"(?:^|/)((?:word_embeddings|position_embedding|type_embeddings)/embeddings"
  r"|embeddings/layer_norm/\w+|transformer/layer_\d+/.*|pooler_transform/\w+|cls/predictions/.*)$"
)


def find(path: str) -> str | None:
  """Returns the directory of the SavedModel that `path` means, or None where it means none.

  `path` is the directory, one of its files, the directory of its variables, or a directory of
  numbered versions, as model servers have it.
  """
  name = os.path.basename(path.rstrip("/"))
  if name in _GRAPH_FILES and os.path.isfile(path):
    return os.path.dirname(path) or "."
  for directory in (
    path,
    os.path.dirname(path.rstrip("/")),
    os.path.dirname(os.path.dirname(path)),
  ):
    if _is_saved_model(directory) and (directory == path or "variables" in path[len(directory) :]):
      return directory
  versions = os.listdir(path) if os.path.isdir(path) else []
  numbers = [v for v in versions if v.isdecimal() and _is_saved_model(os.path.join(path, v))]
  if not numbers:
    return None
  newest = os.path.join(path, max(numbers, key=int))
  logging.info("%s: taking the newest of %d version(s), %s", path, len(numbers), newest)
  return newest


def _is_saved_model(directory: str) -> bool:
  return any(os.path.isfile(os.path.join(directory, name)) for name in _GRAPH_FILES)


def open_saved_model(directory: str, prefix: str | None = None) -> reader.Reader:
  """Opens the variables of a SavedModel under the original's names.

  Raises:
    UserError: it holds no variables, or none of a BERT that is known here.
  """
  variables = os.path.join(directory, "variables", "variables")
  if not os.path.exists(variables + ".index"):
    raise UserError(
      f"{directory}: expected a SavedModel with variables, found none (its weights are constants of"
      " the graph); take the checkpoint that it was made from"
    )
  checkpoint = tf1.Reader(variables)
  opened = scopes.open_scoped(_Renamed(checkpoint, directory), prefix)
  if _WORDS not in opened.shapes and model_garden.is_object_based(checkpoint):
    # The names of attributes, where variables had none of their own.
    opened = model_garden.Reader(checkpoint, prefix)
  if _WORDS not in opened.shapes:
    raise UserError(
      f"{directory}: expected a SavedModel whose variables have the names of BERT's, found"
      f" {', '.join(list(opened.shapes)[:3]) or 'none'}; take the checkpoint that it was made from"
    )
  return opened


class _Renamed:
  """The variables of a SavedModel by the names that they had when they were created."""

  format = FORMAT

  def __init__(self, checkpoint: tf1.Reader, directory: str):
    """Args: `checkpoint`, of the variables; `directory`, which messages name."""
    self.path = directory
    self.refused: dict[str, str] = {}
    self._reader = checkpoint
    self._sources: dict[str, tuple[str, Layout]] = {}
    for key, full_name in _full_names(checkpoint).items():
      if key in checkpoint.shapes and checkpoint.is_floating(key):
        name, layout = _original(full_name or key)
        self._sources.setdefault(name, (key, layout))
    self.shapes = {
      name: layout.shape(checkpoint.shapes[key])
      for name, (key, layout) in sorted(self._sources.items())
    }

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the original's layout; raises UserError where it is damaged."""
    key, layout = self._sources[name]
    return layout.from_theirs(self._reader.read(key))


def _full_names(checkpoint: tf1.Reader) -> dict[str, str]:
  """Key in the checkpoint -> name of the variable; of TensorFlow 1, they are the same."""
  if not model_garden.is_object_based(checkpoint):
    return {name: name for name in checkpoint.shapes}
  from tensorflow.core.protobuf import trackable_object_graph_pb2

  graph = trackable_object_graph_pb2.TrackableObjectGraph()
  graph.ParseFromString(checkpoint.read(model_garden.OBJECT_GRAPH).item())
  return {a.checkpoint_key: a.full_name for node in graph.nodes for a in node.attributes}


def _original(full_name: str) -> tuple[str, Layout]:
  theirs = _THEIR_NAME.search(full_name)
  found = (
    _TABLE.from_theirs(theirs[1])
    if theirs and "layer_" not in full_name[: theirs.start()]
    else None
  )
  return found or (full_name, SAME)
