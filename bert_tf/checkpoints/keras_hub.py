"""KerasHub's format: preset directories and `.weights.h5` files of its BERT models."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

import numpy as np

from bert_tf.checkpoints.name_tables import (
  HEADS_BIAS,
  HEADS_IN,
  HEADS_OUT,
  TRANSPOSED,
  Layout,
  Table,
)
from bert_tf.checkpoints.reader import Weights
from bert_tf.checkpoints.tensor_files import Hdf5File, Shape
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.model_dir import Description, head_kinds
from bert_tf.model_dir import write as write_beside
from bert_tf.tokenization import vocabulary_lines

FORMAT = "KerasHub"
BACKBONE_FILE = "model.weights.h5"
TASK_FILE = "task.weights.h5"

_LAYER, _THEIR_LAYER = "bert/encoder/layer_{}", "transformer_encoder_{}"
_ATTENTION = f"{_THEIR_LAYER}/_self_attention_layer"

# Names as in `model.weights.h5` of a BertBackbone, less "layers/"; the first layer's number is 0
# here and absent there.
BACKBONE_TABLE = Table([
  ("bert/embeddings/word_embeddings", "reversible_embedding/vars/0"),
  ("bert/embeddings/token_type_embeddings", "embedding/vars/0"),
  ("bert/embeddings/position_embeddings", "position_embedding/vars/0"),
  ("bert/embeddings/LayerNorm/gamma", "layer_normalization/vars/0"),
  ("bert/embeddings/LayerNorm/beta", "layer_normalization/vars/1"),
  (f"{_LAYER}/attention/self/query/kernel", f"{_ATTENTION}/query_dense/vars/0", HEADS_OUT),
  (f"{_LAYER}/attention/self/query/bias", f"{_ATTENTION}/query_dense/vars/1", HEADS_BIAS),
  (f"{_LAYER}/attention/self/key/kernel", f"{_ATTENTION}/key_dense/vars/0", HEADS_OUT),
  (f"{_LAYER}/attention/self/key/bias", f"{_ATTENTION}/key_dense/vars/1", HEADS_BIAS),
  (f"{_LAYER}/attention/self/value/kernel", f"{_ATTENTION}/value_dense/vars/0", HEADS_OUT),
  (f"{_LAYER}/attention/self/value/bias", f"{_ATTENTION}/value_dense/vars/1", HEADS_BIAS),
  (f"{_LAYER}/attention/output/dense/kernel", f"{_ATTENTION}/output_dense/vars/0", HEADS_IN),
  (f"{_LAYER}/attention/output/dense/bias", f"{_ATTENTION}/output_dense/vars/1"),
  (f"{_LAYER}/attention/output/LayerNorm/gamma",
   f"{_THEIR_LAYER}/_self_attention_layer_norm/vars/0"),
  (f"{_LAYER}/attention/output/LayerNorm/beta",
   f"{_THEIR_LAYER}/_self_attention_layer_norm/vars/1"),
  (f"{_LAYER}/intermediate/dense/kernel",
   f"{_THEIR_LAYER}/_feedforward_intermediate_dense/vars/0"),
  (f"{_LAYER}/intermediate/dense/bias", f"{_THEIR_LAYER}/_feedforward_intermediate_dense/vars/1"),
  (f"{_LAYER}/output/dense/kernel", f"{_THEIR_LAYER}/_feedforward_output_dense/vars/0"),
  (f"{_LAYER}/output/dense/bias", f"{_THEIR_LAYER}/_feedforward_output_dense/vars/1"),
  (f"{_LAYER}/output/LayerNorm/gamma", f"{_THEIR_LAYER}/_feedforward_layer_norm/vars/0"),
  (f"{_LAYER}/output/LayerNorm/beta", f"{_THEIR_LAYER}/_feedforward_layer_norm/vars/1"),
  ("bert/pooler/dense/kernel", "dense/vars/0"),
  ("bert/pooler/dense/bias", "dense/vars/1"),
])  # fmt: skip

# Names as in `task.weights.h5`, less "layers/": the heads alone.
TASK_TABLE = Table([
  ("output_weights", "dense/vars/0", TRANSPOSED),
  ("output_bias", "dense/vars/1"),
  ("cls/predictions/transform/dense/kernel", "masked_lm_head/_intermediate_dense/vars/0"),
  ("cls/predictions/transform/dense/bias", "masked_lm_head/_intermediate_dense/vars/1"),
  ("cls/predictions/transform/LayerNorm/gamma", "masked_lm_head/_intermediate_layer_norm/vars/0"),
  ("cls/predictions/transform/LayerNorm/beta", "masked_lm_head/_intermediate_layer_norm/vars/1"),
  ("cls/predictions/output_bias", "masked_lm_head/vars/0"),
])  # fmt: skip

MASKED_LM_DIFFERS = (
  "KerasHub's masked-LM head uses the erf form of gelu and the epsilon 1e-5 where BERT uses the"
  " activation of its encoder and 1e-12, so its weights give other outputs in a BERT"
)
_MASKED_LM = "cls/predictions/"


def find(path: str) -> str | None:
  """Returns the preset directory or the `.weights.h5` file that `path` means, or None."""
  if os.path.isdir(path):
    return path if os.path.isfile(os.path.join(path, BACKBONE_FILE)) else None
  return path if path.endswith(".weights.h5") and os.path.isfile(path) else None


class Reader:
  """Reads the tensors of a KerasHub model one at a time, by the original's names."""

  format = FORMAT

  def __init__(self, path: str):
    """Opens a preset directory or a `.weights.h5`; raises UserError where it is damaged."""
    self.path = path
    self._sources: dict[str, tuple[Hdf5File, str, Layout]] = {}
    self.shapes: dict[str, Shape] = {}
    self.refused: dict[str, str] = {}
    if os.path.isdir(path):
      # Presets of other models are refused by name, before their weights are found not to fit.
      BertConfig.from_json_file(os.path.join(path, "config.json"))
      self._add(os.path.join(path, BACKBONE_FILE), is_task=False)
      task = os.path.join(path, TASK_FILE)
      if os.path.isfile(task):
        self._add(task, is_task=True)
    else:
      self._add(path, is_task=os.path.basename(path) == TASK_FILE)

  def _add(self, path: str, is_task: bool) -> None:
    file = Hdf5File(path)
    # A whole task in one file has its backbone as one of its layers.
    is_task = is_task or any("layers/bert_backbone/" in _today(n) for n in file.shapes)
    for key, shape in file.shapes.items():
      if key.startswith("optimizer/"):
        continue
      name, layout = _from_key(_today(key), is_task)
      if name.startswith(_MASKED_LM):
        self.refused[name] = MASKED_LM_DIFFERS
      self._sources[name] = file, key, layout
      self.shapes[name] = layout.shape(shape)

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the original's layout; raises UserError where it is damaged."""
    file, key, layout = self._sources[name]
    return layout.from_theirs(file.read(key))


def open_model(model: Any) -> Reader:
  """Reads a live KerasHub model, by way of a temporary file that the library writes.

  Raises:
    UserError: it is no BERT.
  """
  kind = type(model).__name__
  if kind not in ("BertBackbone", "BertTextClassifier", "BertMaskedLM"):
    raise UserError(f"expected KerasHub's BERT, found {kind}; only BERT weights can be read")
  with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, kind + ".weights.h5")
    model.save_weights(path)
    # The open file outlives its name.
    return Reader(path)


def _today(key: str) -> str:
  """The key of today for one of the first Keras 3, which Keras still reads."""
  return key.replace("_layer_checkpoint_dependencies/", "layers/")


def _from_key(key: str, is_task: bool) -> tuple[str, Layout]:
  name = key.removeprefix("layers/")
  table = TASK_TABLE if is_task else BACKBONE_TABLE
  if name.startswith("bert_backbone/layers/"):
    name, table = name.removeprefix("bert_backbone/layers/"), BACKBONE_TABLE
  name = re.sub(r"^transformer_encoder/", "transformer_encoder_0/", name)
  return table.from_theirs(name) or (key, Layout())


def _to_key(name: str) -> str:
  return "layers/" + re.sub(r"^transformer_encoder_0/", "transformer_encoder/", name)


def write(directory: str, weights: Weights, about: Description) -> dict[str, str]:
  """Writes a preset that `from_preset` of KerasHub's BERT classes loads.

  The library itself writes a model of the right shape; its tensors are then overwritten.

  Args:
    directory: an existing, empty directory.
    weights: the tensors by our names.
    about: config, vocabulary and case.

  Returns:
    The names of weights that the format has no place for, each with the reason.

  Raises:
    UserError: KerasHub's BERT cannot have this config, or a weight of its backbone is missing.
  """
  import h5py

  _check_config(about.config)
  classes = None
  if about.head != head_kinds.TOKENS:
    classes = weights.shapes.get("output_weights", (None,))[0]
  placed, left_out = _place(weights, about, has_classifier=classes is not None)
  _library_model(about, classes).save_to_preset(directory)
  for file_name, rows in placed.items():
    with h5py.File(os.path.join(directory, file_name), "r+") as file:
      absent = sorted(set(_datasets(file)) - {key for _, key, _ in rows})
      if absent:
        raise UserError(f"expected a weight for KerasHub's {absent[0]}, found none; it needs all")
      for name, key, layout in rows:
        file[key][...] = layout.to_theirs(weights[name], about.config.num_attention_heads)
  write_beside(directory, about, with_config=False)
  return left_out


def _place(
  weights: Weights, about: Description, has_classifier: bool
) -> tuple[dict[str, list[tuple[str, str, Layout]]], dict[str, str]]:
  """File -> (our name, key, layout) of what it takes; and what no file takes, with the reason."""
  placed: dict[str, list[tuple[str, str, Layout]]] = {BACKBONE_FILE: []}
  left_out = {}
  for name in weights:
    row, file_name = BACKBONE_TABLE.to_theirs(name), BACKBONE_FILE
    if row is None and has_classifier and name in ("output_weights", "output_bias"):
      row, file_name = TASK_TABLE.to_theirs(name), TASK_FILE
    if row:
      placed.setdefault(file_name, []).append((name, _to_key(row[0]), row[1]))
    elif name.startswith(_MASKED_LM):
      left_out[name] = MASKED_LM_DIFFERS
    else:
      left_out[name] = "KerasHub has no such head for BERT"
  return placed, left_out


def _datasets(file) -> list[str]:
  import h5py

  found: list[str] = []
  file.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
  return [name for name in found if not name.startswith("optimizer/")]


def _check_config(config: BertConfig) -> None:
  """Refuses what KerasHub's BertBackbone fixes in its code."""
  if config.hidden_act != "gelu":
    raise UserError(
      f"KerasHub's BERT always uses the tanh form of gelu; this model uses {config.hidden_act},"
      " so it would give other outputs there"
    )
  if config.layer_norm_eps != 1e-12:
    raise UserError(
      f"KerasHub's BERT always uses the epsilon 1e-12; this model uses {config.layer_norm_eps},"
      " so it would give other outputs there"
    )
  if config.hidden_dropout_prob != config.attention_probs_dropout_prob:
    raise UserError(
      "KerasHub's BERT has one dropout for everything; this model has"
      f" hidden_dropout_prob={config.hidden_dropout_prob} and attention_probs_dropout_prob="
      f"{config.attention_probs_dropout_prob}; make them equal in the config"
    )


def _library_model(about: Description, num_classes: int | None):
  """A backbone, or a classifier, of KerasHub with random weights and the vocabulary."""
  import keras_hub

  config = about.config
  backbone = keras_hub.models.BertBackbone(
    vocabulary_size=config.vocab_size,
    num_layers=config.num_hidden_layers,
    num_heads=config.num_attention_heads,
    hidden_dim=config.hidden_size,
    intermediate_dim=config.intermediate_size,
    dropout=config.hidden_dropout_prob,
    max_sequence_length=config.max_position_embeddings,
    num_segments=config.type_vocab_size,
    dtype="float32",
  )
  preprocessor = None
  if about.tokens:
    lines = vocabulary_lines(about.vocab_file) if about.vocab_file else about.tokens
    try:
      tokenizer = keras_hub.models.BertTokenizer(
        # Not stripped: KerasHub refuses the empty token that the Chinese vocabulary has then.
        vocabulary=[line.rstrip("\r") for line in lines],
        lowercase=about.tokenizer.do_lower_case,
        strip_accents=about.tokenizer.strips_accents,
        split_on_cjk=about.tokenizer.tokenize_chinese_chars,
      )
    except ValueError as error:
      raise UserError(f"{about.vocab_file}: KerasHub's tokenizer refuses it: {error}") from error
    preprocessor = keras_hub.models.BertTextClassifierPreprocessor(
      tokenizer, sequence_length=config.max_position_embeddings
    )
  if num_classes is None:
    return _Together(backbone, preprocessor)
  return keras_hub.models.BertTextClassifier(
    backbone, num_classes, preprocessor=preprocessor, dropout=config.hidden_dropout_prob
  )


class _Together:
  """A backbone and a preprocessor without a task, saved into one preset."""

  def __init__(self, backbone, preprocessor):
    self._parts = [part for part in (backbone, preprocessor) if part is not None]

  def save_to_preset(self, directory: str) -> None:
    for part in self._parts:
      part.save_to_preset(directory)
