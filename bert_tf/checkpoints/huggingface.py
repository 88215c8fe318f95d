"""Hugging Face's format: a directory of weights, `config.json` and vocabulary."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.checkpoints import scopes
from bert_tf.checkpoints.name_tables import SAME, TRANSPOSED, Layout, Table
from bert_tf.checkpoints.tensor_files import (
  Hdf5File,
  SafetensorsFile,
  Shape,
  ShardedFiles,
  TensorFile,
)
from bert_tf.checkpoints.torch_file import TorchFile
from bert_tf.errors import UserError
from bert_tf.model_dir import head_kinds
from bert_tf.model_dir import write as write_beside

if TYPE_CHECKING:
  from bert_tf.checkpoints.reader import Weights
  from bert_tf.model_dir import Description

FORMAT = "Hugging Face"

_LAYER, _THEIR_LAYER = "bert/encoder/layer_{}", "bert.encoder.layer.{}"
_TRANSFORM, _THEIR_TRANSFORM = "cls/predictions/transform", "cls.predictions.transform"

# The names of transformers' PyTorch classes. Dense kernels are stored [out, in] there.
TABLE = Table([
  ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight"),
  ("bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings.weight"),
  ("bert/embeddings/position_embeddings", "bert.embeddings.position_embeddings.weight"),
  ("bert/embeddings/LayerNorm/gamma", "bert.embeddings.LayerNorm.weight"),
  ("bert/embeddings/LayerNorm/beta", "bert.embeddings.LayerNorm.bias"),
  (f"{_LAYER}/attention/self/query/kernel", f"{_THEIR_LAYER}.attention.self.query.weight",
   TRANSPOSED),
  (f"{_LAYER}/attention/self/query/bias", f"{_THEIR_LAYER}.attention.self.query.bias"),
  (f"{_LAYER}/attention/self/key/kernel", f"{_THEIR_LAYER}.attention.self.key.weight",
   TRANSPOSED),
  (f"{_LAYER}/attention/self/key/bias", f"{_THEIR_LAYER}.attention.self.key.bias"),
  (f"{_LAYER}/attention/self/value/kernel", f"{_THEIR_LAYER}.attention.self.value.weight",
   TRANSPOSED),
  (f"{_LAYER}/attention/self/value/bias", f"{_THEIR_LAYER}.attention.self.value.bias"),
  (f"{_LAYER}/attention/output/dense/kernel", f"{_THEIR_LAYER}.attention.output.dense.weight",
   TRANSPOSED),
  (f"{_LAYER}/attention/output/dense/bias", f"{_THEIR_LAYER}.attention.output.dense.bias"),
  (f"{_LAYER}/attention/output/LayerNorm/gamma",
   f"{_THEIR_LAYER}.attention.output.LayerNorm.weight"),
  (f"{_LAYER}/attention/output/LayerNorm/beta",
   f"{_THEIR_LAYER}.attention.output.LayerNorm.bias"),
  (f"{_LAYER}/intermediate/dense/kernel", f"{_THEIR_LAYER}.intermediate.dense.weight",
   TRANSPOSED),
  (f"{_LAYER}/intermediate/dense/bias", f"{_THEIR_LAYER}.intermediate.dense.bias"),
  (f"{_LAYER}/output/dense/kernel", f"{_THEIR_LAYER}.output.dense.weight", TRANSPOSED),
  (f"{_LAYER}/output/dense/bias", f"{_THEIR_LAYER}.output.dense.bias"),
  (f"{_LAYER}/output/LayerNorm/gamma", f"{_THEIR_LAYER}.output.LayerNorm.weight"),
  (f"{_LAYER}/output/LayerNorm/beta", f"{_THEIR_LAYER}.output.LayerNorm.bias"),
  ("bert/pooler/dense/kernel", "bert.pooler.dense.weight", TRANSPOSED),
  ("bert/pooler/dense/bias", "bert.pooler.dense.bias"),
  (f"{_TRANSFORM}/dense/kernel", f"{_THEIR_TRANSFORM}.dense.weight", TRANSPOSED),
  (f"{_TRANSFORM}/dense/bias", f"{_THEIR_TRANSFORM}.dense.bias"),
  (f"{_TRANSFORM}/LayerNorm/gamma", f"{_THEIR_TRANSFORM}.LayerNorm.weight"),
  (f"{_TRANSFORM}/LayerNorm/beta", f"{_THEIR_TRANSFORM}.LayerNorm.bias"),
  ("cls/predictions/output_bias", "cls.predictions.bias"),
  ("cls/seq_relationship/output_weights", "cls.seq_relationship.weight"),
  ("cls/seq_relationship/output_bias", "cls.seq_relationship.bias"),
  ("output_weights", "classifier.weight"),
  ("output_bias", "classifier.bias"),
  ("cls/squad/output_weights", "qa_outputs.weight"),
  ("cls/squad/output_bias", "qa_outputs.bias"),
])  # fmt: skip

# The names in tf_model.h5 are ours but for these.
_H5_TABLE = Table([
  ("bert/embeddings/word_embeddings", "bert/embeddings/word_embeddings/weight"),
  ("bert/embeddings/token_type_embeddings", "bert/embeddings/token_type_embeddings/embeddings"),
  ("bert/embeddings/position_embeddings", "bert/embeddings/position_embeddings/embeddings"),
  ("cls/predictions/output_bias", "cls/predictions/bias"),
  ("cls/seq_relationship/output_weights", "cls/seq_relationship/kernel", TRANSPOSED),
  ("cls/seq_relationship/output_bias", "cls/seq_relationship/bias"),
  ("output_weights", "classifier/kernel", TRANSPOSED),
  ("output_bias", "classifier/bias"),
  ("cls/squad/output_weights", "qa_outputs/kernel", TRANSPOSED),
  ("cls/squad/output_bias", "qa_outputs/bias"),
])  # fmt: skip

# The masked-LM output weights; BERT has none but its word embeddings.
_DECODER = "cls.predictions.decoder.weight"
# The decoder's bias is the head's bias under a second name; position_ids is 0, 1, 2, ...
_REDUNDANT = frozenset({"cls.predictions.decoder.bias", "bert.embeddings.position_ids"})


def _open(path: str) -> TensorFile:
  if path.endswith(".index.json"):
    return ShardedFiles(path, _open)
  if path.endswith(".safetensors"):
    return SafetensorsFile(path)
  return Hdf5File(path) if path.endswith(".h5") else TorchFile(path)


class Reader:
  """Reads the tensors of a Hugging Face model one at a time, by the original's names."""

  format = FORMAT

  def __init__(self, path: str, prefix: str | None = None):
    """Opens a weight file; raises UserError where it is damaged or no BERT.

    Args:
      path: see `model_dir.weight_files.find_hugging_face`.
      prefix: what stands before the names of the model in the file, see `scopes.find`.
    """
    self.path = path
    self.refused: dict[str, str] = {}
    self._file = _open(path)
    self._names: dict[str, tuple[str, Layout]] = {}
    self._decoder: str | None = None
    is_h5 = path.endswith(".h5")
    if is_h5 and prefix:
      raise UserError(
        f"{path}: the names in an .h5 need no prefix: what stands before BERT's is skipped; leave"
        " `checkpoint_prefix` out"
      )
    scope = None if is_h5 else scopes.find(path, self._file.shapes, scopes.TORCH, prefix)
    for name in self._file.shapes:
      native = name if scope is None else scope.native_name(name, "bert.")
      if native.removeprefix("bert.") == _DECODER:
        self._decoder = name
        continue
      found = _from_h5(name) if scope is None else _from_torch(native, name, scope)
      if found:
        self._names.setdefault(found[0], (name, found[1]))
    self.shapes: dict[str, Shape] = {
      ours: layout.shape(self._file.shapes[name])
      for ours, (name, layout) in sorted(self._names.items())
    }

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the original's layout; raises UserError where it is damaged.

    Raises UserError too for the bias of a masked-LM head whose output weights are not the
    word embeddings: no BERT computes such a head's outputs.
    """
    theirs, layout = self._names[name]
    if name == "cls/predictions/output_bias" and self._decoder:
      self._check_tied()
    return layout.from_theirs(self._file.read(theirs))

  def _check_tied(self) -> None:
    words = self._names.get("bert/embeddings/word_embeddings", ("", SAME))[0]
    decoder = self._decoder or ""
    if isinstance(self._file, TorchFile) and self._file.shares_storage(decoder, words):
      return
    if not words or not np.array_equal(self._file.read(decoder), self._file.read(words)):
      raise UserError(
        f"{self.path}: expected masked-LM output weights that are the word embeddings, found"
        f" other ones in {self._decoder}; BERT ties them, so this head cannot be loaded"
      )


def _from_torch(name: str, full: str, scope: scopes.Scope) -> tuple[str, Layout] | None:
  """Name -> ours and its layout; None for what says nothing.

  Args:
    name: as transformers has it, for a weight in the scope of the model.
    full: as in the file.
    scope: of the model.
  """
  name = re.sub(r"^bert\.(?=(?:cls|classifier|qa_outputs)\.)", "", name)
  if name == full and name.startswith("bert.") and not full.startswith(scope.encoder):
    # Of another BERT in the same file.
    return name, SAME
  if name in _REDUNDANT:
    return None
  # Models of the years 2018 and 2019 have TensorFlow's names for the parameters of LayerNorm.
  name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
  name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
  return TABLE.from_theirs(name) or (name, SAME)


def _from_h5(name: str) -> tuple[str, Layout] | None:
  """`bert/tf_bert_for_masked_lm/bert/encoder/layer_._0/...:0` -> `bert/encoder/layer_0/...`."""
  name = name.removesuffix(":0").replace("layer_._", "layer_").replace("___cls", "/cls")
  tops = [m.end() for m in re.finditer(r"(?:^|/)(?=(?:bert|cls|classifier|qa_outputs)/)", name)]
  # Group names of Keras and the class of the model come first, and may be "bert" too.
  name = name[tops[-1] :] if tops else name
  name = re.sub(r"^(bert/embeddings/\w+)/(weight|embeddings)$", _embedding_spelling, name)
  return _H5_TABLE.from_theirs(name) or (name, SAME)


def _embedding_spelling(match: re.Match[str]) -> str:
  spelling = "weight" if match[1].endswith("word_embeddings") else "embeddings"
  return f"{match[1]}/{spelling}"


# Our name for an activation -> theirs.
_ACTIVATIONS = {
  "gelu": "gelu_new", "gelu_erf": "gelu", "relu": "relu", "tanh": "tanh", "linear": "linear"
}  # fmt: skip


def write(directory: str, weights: Weights, about: Description) -> dict[str, str]:
  """Writes `model.safetensors`, `config.json`, and what belongs to the weights.

  Args:
    directory: an existing, empty directory.
    weights: the tensors by our names.
    about: config, vocabulary, case and labels.

  Returns:
    The names of weights that the format has no place for, each with the reason.
  """
  import safetensors
  import safetensors.numpy

  architecture = _architecture(weights, about.head)
  tensors, left_out = {}, {}
  for name in weights:
    row = TABLE.to_theirs(name)
    if row is None:
      left_out[name] = "Hugging Face's BERT has no such weight"
      continue
    # A bare BertModel is saved without the name of the attribute that it is in other classes.
    theirs = row[0].removeprefix("bert.") if architecture == "BertModel" else row[0]
    tensors[theirs] = row[1].to_theirs(weights[name], about.config.num_attention_heads)
  try:
    safetensors.numpy.save_file(
      tensors, os.path.join(directory, "model.safetensors"), metadata={"format": "pt"}
    )
    _write_json(directory, "config.json", _config(weights, about, architecture))
  except (OSError, safetensors.SafetensorError) as error:
    raise UserError(f"cannot write in {directory}: {error}") from error
  write_beside(directory, about, with_config=False)
  return left_out


def _architecture(weights: Weights, head: str | None) -> str:
  """transformers' class for what the weights are; the first that fits where there are several."""
  if "output_weights" in weights:
    of_tokens = head == head_kinds.TOKENS
    return "BertForTokenClassification" if of_tokens else "BertForSequenceClassification"
  if "cls/squad/output_weights" in weights:
    return "BertForQuestionAnswering"
  masked_lm = "cls/predictions/output_bias" in weights
  if "cls/seq_relationship/output_weights" in weights:
    return "BertForPreTraining" if masked_lm else "BertForNextSentencePrediction"
  return "BertForMaskedLM" if masked_lm else "BertModel"


def _config(weights: Weights, about: Description, architecture: str) -> dict[str, Any]:
  config = about.config
  values = {
    **config.to_dict(),
    "architectures": [architecture],
    "hidden_act": _ACTIVATIONS[config.hidden_act],
    "layer_norm_eps": config.layer_norm_eps,
    "model_type": "bert",
    "pad_token_id": 0,
    "torch_dtype": "float32",
  }
  if "output_weights" in weights.shapes:
    count = weights.shapes["output_weights"][0]
    labels = about.labels or tuple(f"LABEL_{i}" for i in range(count))
    if len(labels) != count:
      raise UserError(f"expected {count} labels, one for each class, found {len(labels)}")
    values["id2label"] = {str(i): label for i, label in enumerate(labels)}
    values["label2id"] = {label: i for i, label in enumerate(labels)}
    if problem_type := head_kinds.problem_type(about.head or ""):
      values["problem_type"] = problem_type
  return values


def _write_json(directory: str, name: str, values: dict[str, Any]) -> None:
  with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
    json.dump(values, file, indent=2, sort_keys=True, ensure_ascii=False)
    file.write("\n")
