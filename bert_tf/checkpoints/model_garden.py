"""The TensorFlow Model Garden's format: object-based checkpoints of its BERT encoders.

Such a checkpoint names a tensor by the attributes that lead to it from the saved object, and so
by how that object was wrapped. What identifies a weight is the end of its key.
"""

from __future__ import annotations

import os
import re

import numpy as np

from bert_tf.checkpoints import tf1
from bert_tf.checkpoints.name_tables import (
  HEADS_BIAS,
  HEADS_IN,
  HEADS_OUT,
  TRANSPOSED,
  Layout,
  Table,
)
from bert_tf.checkpoints.reader import Weights
from bert_tf.checkpoints.tensor_files import Shape, as_float32
from bert_tf.errors import UserError
from bert_tf.model_dir import Description
from bert_tf.model_dir import write as write_beside

FORMAT = "Model Garden"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"

_LAYER, _THEIR_LAYER = "bert/encoder/layer_{}", "_transformer_layers/{}"
_ATTENTION = f"{_THEIR_LAYER}/_attention_layer"

# Attributes of BertEncoderV2.
ENCODER_TABLE = Table([
  ("bert/embeddings/word_embeddings", "_embedding_layer/embeddings"),
  ("bert/embeddings/token_type_embeddings", "_type_embedding_layer/embeddings"),
  ("bert/embeddings/position_embeddings", "_position_embedding_layer/embeddings"),
  ("bert/embeddings/LayerNorm/gamma", "_embedding_norm_layer/gamma"),
  ("bert/embeddings/LayerNorm/beta", "_embedding_norm_layer/beta"),
  (f"{_LAYER}/attention/self/query/kernel", f"{_ATTENTION}/_query_dense/kernel", HEADS_OUT),
  (f"{_LAYER}/attention/self/query/bias", f"{_ATTENTION}/_query_dense/bias", HEADS_BIAS),
  (f"{_LAYER}/attention/self/key/kernel", f"{_ATTENTION}/_key_dense/kernel", HEADS_OUT),
  (f"{_LAYER}/attention/self/key/bias", f"{_ATTENTION}/_key_dense/bias", HEADS_BIAS),
  (f"{_LAYER}/attention/self/value/kernel", f"{_ATTENTION}/_value_dense/kernel", HEADS_OUT),
  (f"{_LAYER}/attention/self/value/bias", f"{_ATTENTION}/_value_dense/bias", HEADS_BIAS),
  (f"{_LAYER}/attention/output/dense/kernel", f"{_ATTENTION}/_output_dense/kernel", HEADS_IN),
  (f"{_LAYER}/attention/output/dense/bias", f"{_ATTENTION}/_output_dense/bias"),
  (f"{_LAYER}/attention/output/LayerNorm/gamma", f"{_THEIR_LAYER}/_attention_layer_norm/gamma"),
  (f"{_LAYER}/attention/output/LayerNorm/beta", f"{_THEIR_LAYER}/_attention_layer_norm/beta"),
  (f"{_LAYER}/intermediate/dense/kernel", f"{_THEIR_LAYER}/_intermediate_dense/kernel"),
  (f"{_LAYER}/intermediate/dense/bias", f"{_THEIR_LAYER}/_intermediate_dense/bias"),
  (f"{_LAYER}/output/dense/kernel", f"{_THEIR_LAYER}/_output_dense/kernel"),
  (f"{_LAYER}/output/dense/bias", f"{_THEIR_LAYER}/_output_dense/bias"),
  (f"{_LAYER}/output/LayerNorm/gamma", f"{_THEIR_LAYER}/_output_layer_norm/gamma"),
  (f"{_LAYER}/output/LayerNorm/beta", f"{_THEIR_LAYER}/_output_layer_norm/beta"),
  ("bert/pooler/dense/kernel", "_pooler_layer/kernel"),
  ("bert/pooler/dense/bias", "_pooler_layer/bias"),
])  # fmt: skip
# Attributes of the heads of BertPretrainerV2, under the names that `_canonical_names` gives them.
HEADS_TABLE = Table([
  ("cls/predictions/transform/dense/kernel", "masked_lm/dense/kernel"),
  ("cls/predictions/transform/dense/bias", "masked_lm/dense/bias"),
  ("cls/predictions/transform/LayerNorm/gamma", "masked_lm/layer_norm/gamma"),
  ("cls/predictions/transform/LayerNorm/beta", "masked_lm/layer_norm/beta"),
  ("cls/predictions/output_bias", "masked_lm/output_bias.Sbias"),
  ("cls/seq_relationship/output_weights", "next_sentence/out_proj/kernel", TRANSPOSED),
  ("cls/seq_relationship/output_bias", "next_sentence/out_proj/bias"),
  ("output_weights", "classifier/out_proj/kernel", TRANSPOSED),
  ("output_bias", "classifier/out_proj/bias"),
])  # fmt: skip

# The same weights by another way: the masked-LM head refers to the word embeddings, and the
# next-sentence head has BERT's pooler as its inner layer.
_ALIASES = {
  "masked_lm/embedding_table": "_embedding_layer/embeddings",
  "next_sentence/dense/kernel": "_pooler_layer/kernel",
  "next_sentence/dense/bias": "_pooler_layer/bias",
}
_WORDS = "bert/embeddings/word_embeddings"
_NEXT_SENTENCE = "cls/seq_relationship/output_bias"
_ENCODER_KEY = re.compile(
  r"(?:^|/)(_(?:embedding|type_embedding|position_embedding|embedding_norm|pooler)_layer/.*"
  r"|_transformer_layers/.*)$"
)
_FUNCTIONAL_BLOCK = re.compile(r"^(.*?)layer_with_weights-(\d+)/_attention_layer/")
_FUNCTIONAL_EMBEDDINGS = (
  "_embedding_layer", "_position_embedding_layer", "_type_embedding_layer", "_embedding_norm_layer"
)  # fmt: skip


def is_object_based(reader: tf1.Reader) -> bool:
  """Whether a TensorFlow checkpoint was written by `tf.train.Checkpoint`."""
  return OBJECT_GRAPH in reader.shapes


class Reader:
  """Reads the tensors of a Model Garden checkpoint one at a time, by the original's names."""

  format = FORMAT

  def __init__(self, reader: tf1.Reader, prefix: str | None = None):
    """Finds the weights of BERT among the keys of a checkpoint, however it was wrapped.

    Raises:
      UserError: there are several encoders and `prefix`, with which the keys of one begin, does
        not say which; or there is none under it.
    """
    self.path = reader.path
    self.refused: dict[str, str] = {}
    self._reader = reader
    self._sources: dict[str, tuple[str, Layout]] = {}
    self.shapes: dict[str, Shape] = {}
    keys = [
      key.removesuffix(_VALUE)
      for key in reader.shapes
      if key.endswith(_VALUE) and ".OPTIMIZER_SLOT" not in key and not _is_state(key)
      if key.startswith(prefix or "")
    ]
    if prefix and not keys:
      raise UserError(
        f"{self.path}: expected the weights of a BERT under the prefix {prefix!r}, found none;"
        " correct `checkpoint_prefix` or leave it out"
      )
    names = _canonical_names(keys)
    # The next-sentence head's inner layer comes last and wins: it is the pooler that was trained.
    for key in sorted(keys, key=lambda key: names[key].startswith("next_sentence/")):
      theirs = _ALIASES.get(names[key], names[key])
      ours, layout = (
        ENCODER_TABLE.from_theirs(theirs) or HEADS_TABLE.from_theirs(theirs) or (key, Layout())
      )
      if ours in self._sources and not self._same(ours, key):
        if ours == _WORDS:
          raise UserError(
            f"{self.path}: expected the weights of one BERT, found two, with {key} and"
            f" {self._sources[ours][0]}; say which with `checkpoint_prefix`"
          )
        self._keep(self._sources[ours][0], self._sources[ours][0], Layout())
      self._keep(ours, key, layout)

  def _keep(self, name: str, key: str, layout: Layout) -> None:
    self._sources[name] = key, layout
    self.shapes[name] = layout.shape(self._reader.shapes[key + _VALUE])

  def _same(self, ours: str, key: str) -> bool:
    other = self._sources[ours][0]
    return np.array_equal(self._reader.read(key + _VALUE), self._reader.read(other + _VALUE))

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the original's layout; raises UserError where it is damaged."""
    key, layout = self._sources[name]
    return layout.from_theirs(as_float32(self._reader.read(key + _VALUE)))


def _is_state(key: str) -> bool:
  return key.startswith(("save_counter/", "optimizer/", "global_step/", "_CHECK"))


def _canonical_names(keys: list[str]) -> dict[str, str]:
  """Key -> the attributes of BertEncoderV2, `masked_lm`, `next_sentence` or `classifier`.

  A Keras functional model, as the older encoder and pretrainer are, numbers its layers in place
  of attributes.
  """
  blocks = sorted({(m[1], int(m[2])) for m in map(_FUNCTIONAL_BLOCK.match, keys) if m})
  prefix = blocks[0][0] if blocks else None
  numbers = [number for container, number in blocks if container == prefix]
  masked_lms = {k.rsplit("/", 1)[0] for k in keys if k.endswith(("/embedding_table", ".Sbias"))}
  head_name = "next_sentence" if masked_lms else "classifier"
  heads = {k.removesuffix("/out_proj/kernel") for k in keys if k.endswith("/out_proj/kernel")}
  result = {}
  for key in keys:
    name = key.replace("_attention_output_dense/", "_attention_layer/_output_dense/")
    container = next((c for c in masked_lms | heads if name.startswith(c + "/")), None)
    encoder = _ENCODER_KEY.search(name)
    if encoder:
      name = encoder[1]
    elif container in masked_lms:
      name = "masked_lm" + name.removeprefix(container)
    elif container and len(heads) == 1:
      name = head_name + name.removeprefix(container)
    elif name.startswith("next_sentence..pooler_dense/"):
      name = "next_sentence/dense/" + name.rsplit("/", 1)[1]
    elif prefix is not None and name.startswith(prefix + "layer_with_weights-"):
      name = _functional_name(name.removeprefix(prefix), numbers)
    if name == key and re.search(
      r"layer_with_weights-\d+/layer_with_weights-0/(kernel|bias)$", key
    ):
      name = f"{head_name}/out_proj/{key.rsplit('/', 1)[1]}"
    result[key] = name
  return result


def _functional_name(name: str, blocks: list[int]) -> str:
  layer, rest = name.split("/", 1)
  number = int(layer.removeprefix("layer_with_weights-"))
  if number in blocks:
    return f"_transformer_layers/{blocks.index(number)}/{rest}"
  if number < len(_FUNCTIONAL_EMBEDDINGS):
    return f"{_FUNCTIONAL_EMBEDDINGS[number]}/{rest}"
  return f"_pooler_layer/{rest}" if number == blocks[-1] + 1 else name


def write(directory: str, weights: Weights, about: Description) -> dict[str, str]:
  """Writes `bert_model.ckpt`, which `tf.train.Checkpoint(encoder=...)` and others restore.

  The objects that are saved have the attributes of a BertPretrainerV2 where there is a masked-LM
  head and of a BertEncoderV2 where there is none, as `model` and by the names of its
  `checkpoint_items`. Config and vocabulary lie beside it, as in Google's releases.

  Args:
    directory: an existing, empty directory.
    weights: the tensors by our names.
    about: config and vocabulary.

  Returns:
    The names of weights that the format has no place for, each with the reason.

  Raises:
    UserError: the config cannot be had there, or a weight of the encoder is missing.
  """
  import tensorflow as tf

  config = about.config
  if config.layer_norm_eps != 1e-12:
    raise UserError(
      f"Model Garden's BERT always uses the epsilon 1e-12; this model uses {config.layer_norm_eps},"
      " so it would give other outputs there"
    )
  for row in ENCODER_TABLE.rows:
    name = row.ours.replace("{}", "0")
    if name not in weights:
      raise UserError(f"expected {name}, which Model Garden's encoder needs; there is none here")
  parts = {"encoder_network"}
  if "cls/predictions/output_bias" in weights:
    parts |= {"masked_lm", *(["next_sentence"] if _NEXT_SENTENCE in weights else [])}
  model, left_out = tf.Module(), {}
  for name in weights:
    places = [place for place in _places(name) if place[0].split("/")[0] in parts]
    if not places:
      left_out[name] = "Model Garden's encoder and pretrainer have no such head"
      continue
    array = places[0][1].to_theirs(weights[name], config.num_attention_heads)
    variable = tf.Variable(array)
    for path, _ in places:
      # There the two poolers are two variables; the word embeddings are one.
      is_copy = path.startswith("next_sentence/dense/")
      _attach(model, path, tf.Variable(array) if is_copy else variable)
  try:
    root = tf.train.Checkpoint(root=_root(model))
    root.write(os.path.join(directory, "bert_model.ckpt"))
  except tf.errors.OpError as error:
    raise UserError(f"cannot write in {directory}: {str(error).splitlines()[0]}") from error
  write_beside(directory, about)
  return left_out


def _places(name: str) -> list[tuple[str, Layout]]:
  """Where a weight stands in a pretrainer; some stand in two parts of it."""
  row = ENCODER_TABLE.to_theirs(name)
  if row is None:
    row = HEADS_TABLE.to_theirs(name)
    return [row] if row else []
  aliases = [(alias, row[1]) for alias, theirs in _ALIASES.items() if theirs == row[0]]
  return [(f"encoder_network/{row[0]}", row[1]), *aliases]


def _attach(root, path: str, variable) -> None:
  """Makes `variable` an attribute of an attribute ... of `root`, as `path` says."""
  import tensorflow as tf

  # Slashes within the name of an attribute are escaped in keys.
  *steps, last = (step.replace(".S", "/") for step in path.split("/"))
  for step in steps:
    if not hasattr(root, step):
      setattr(root, step, tf.Module())
    root = getattr(root, step)
  setattr(root, last, variable)


def _root(model):
  """What is saved: the model, and its parts by the names of `checkpoint_items`."""
  import tensorflow as tf

  root = tf.Module()
  root.encoder = model.encoder_network
  # `Checkpoint.restore`, unlike `read`, wants a counter.
  root.save_counter = tf.Variable(0, dtype=tf.int64)
  if not hasattr(model, "masked_lm"):
    root.model = model.encoder_network
    return root
  root.model, root.masked_lm = model, model.masked_lm
  if hasattr(model, "next_sentence"):
    model.classification_heads = [model.next_sentence]
    setattr(root, "next_sentence.pooler_dense", model.next_sentence.dense)
  return root
