"""What models are given: the names of features, other tools' names for them, and their form."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bert_tf.config import BertConfig
from bert_tf.errors import UserError

# What the models of this package read; other entries are labels and the like, for others to read.
NAMES = (
  "input_ids", "input_mask", "segment_ids", "sequence_ids", "position_ids", "cls_positions",
  "token_places", "masked_lm_positions",
)  # fmt: skip
# Names by Hugging Face, Model Garden and KerasHub -> ours.
ALIASES = {
  "attention_mask": "input_mask", "token_type_ids": "segment_ids",
  "input_word_ids": "input_ids", "input_type_ids": "segment_ids",
  "token_ids": "input_ids", "padding_mask": "input_mask",
}  # fmt: skip

# One value for every token, [B, S].
_PER_TOKEN = ("input_mask", "segment_ids", "sequence_ids", "position_ids")
_INTEGERS = ("input_ids", "segment_ids", "position_ids")
# So near to one of `NAMES`, a name that nobody reads is a slip: `input_masks`, `segment_id`.
_SLIP = 0.9


def model_features(
  features: Any, config: BertConfig, reads_documents: bool = False
) -> dict[str, Any]:
  """Features under this package's names, as tensors.

  Args:
    features: names -> tensors, arrays or nested lists; None is as good as absent. Names of
      `ALIASES` are taken for ours. Entries that models do not read pass through.
    config: says which ids there are.
    reads_documents: whether rows may be longer than a sequence.

  Raises:
    UserError: `input_ids` are missing, a feature is given under two names or under a misspelt
      one, or has another shape or type, or, if it is an array or list, other values than a model
      of `config` can read.
  """
  if not isinstance(features, Mapping):
    raise UserError(
      "features: expected a dictionary with input_ids, int [batch, length], found"
      f" {type(features).__name__}; pass {{'input_ids': ..., 'input_mask': ...}}"
    )
  found: dict[str, Any] = {}
  given: dict[str, str] = {}
  for name, value in features.items():
    if value is None:
      continue
    ours = ALIASES.get(name) or name
    if ours in given:
      raise UserError(
        f"features: expected {given[ours]} or {name}, which mean the same, found both; leave one"
        " out"
      )
    given[ours] = name
    _check_name(ours)
    found[ours] = _tensor(name, ours, value, config)
  if "input_ids" not in found:
    raise UserError(
      "features: expected input_ids, int [batch, length], found"
      f" {', '.join(map(str, given)) or 'nothing'}"
    )
  _check_shapes(found, given)
  if not reads_documents:
    _check_length(found, given, config)
  return found


def _check_name(name: str) -> None:
  if name in NAMES or not isinstance(name, str):
    return
  near = difflib.get_close_matches(name, [*NAMES, *ALIASES], n=1, cutoff=_SLIP)
  if near:
    raise UserError(f"features: {name!r} is read by nobody; did you mean {near[0]!r}?")


def _tensor(name: str, ours: str, value: Any, config: BertConfig) -> Any:
  if isinstance(value, tf.RaggedTensor):
    raise UserError(
      f"{name}: expected rows of one length, found a ragged tensor; pad it with .to_tensor() and"
      " say in input_mask where tokens are"
    )
  if not (tf.is_tensor(value) or isinstance(value, keras.KerasTensor)):
    value = _from_array(name, ours, value, config)
  dtype = tf.as_dtype(value.dtype)
  if ours in _INTEGERS and not dtype.is_integer:
    raise UserError(f"{name}: expected integers, found {dtype.name}; cast them to int32")
  return value


def _from_array(name: str, ours: str, value: Any, config: BertConfig) -> tf.Tensor:
  try:
    array = np.asarray(value)
    if array.dtype == object:
      raise ValueError
  except ValueError:
    raise UserError(
      f"{name}: expected rows of one length, found rows of several; pad them and say in input_mask"
      " where tokens are"
    ) from None
  values = {
    "input_ids": config.vocab_size,
    "input_mask": 2,
    "segment_ids": config.type_vocab_size,
    "position_ids": config.max_position_embeddings,
  }.get(ours)
  if values and array.size and not (array.min() >= 0 and array.max() < values):
    wrong = array[(array < 0) | (array >= values)].flat[0]
    raise UserError(f"{name}: expected 0 to {values - 1}, as the config has it, found {wrong}")
  return tf.convert_to_tensor(array.astype(np.int32) if array.dtype.kind in "bui" else array)


def _check_shapes(found: dict[str, Any], given: dict[str, str]) -> None:
  """Checks what is known of shapes; under `tf.function` that may be little."""
  shape = tf.TensorShape(found["input_ids"].shape)
  name = given["input_ids"]
  if shape.rank not in (None, 2):
    raise UserError(
      f"{name}: expected the shape [batch, length], found {shape.as_list()}; a single text is"
      " [[...]]"
    )
  for ours in _PER_TOKEN:
    if ours not in found:
      continue
    other = tf.TensorShape(found[ours].shape)
    # The same positions may serve every row.
    one_row = ours == "position_ids" and other.rank == 2 and other[0] == 1
    if not shape.is_compatible_with(other) and not (one_row and shape[1:] == other[1:]):
      raise UserError(
        f"{given[ours]}: expected the shape of {name}, {shape.as_list()}, found {other.as_list()}"
      )


def _check_length(found: dict[str, Any], given: dict[str, str], config: BertConfig) -> None:
  shape, name = tf.TensorShape(found["input_ids"].shape), given["input_ids"]
  length = shape[1] if shape.rank else None
  if length and length > config.max_position_embeddings and "position_ids" not in found:
    raise UserError(
      f"{name}: expected at most {config.max_position_embeddings} tokens, the"
      f" max_position_embeddings of the config, found {length}; cut the texts"
    )
