"""BertConfig: the shape of a BERT, read from and written to JSON as the original spells it."""

from __future__ import annotations

import dataclasses
import difflib
import json
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file

ACTIVATIONS = ("gelu", "gelu_erf", "relu", "tanh", "linear")

# Keys that released configs carry and that no released code reads: the multilingual and the
# Chinese models of Google have them.
_IGNORED_KEYS = frozenset({
    "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type",
})  # fmt: skip

# How Hugging Face's names for activations map to ours: its `gelu` is the erf form, while the
# original's `gelu` is the tanh approximation.
_HUGGING_FACE_ACTIVATIONS = {
    "gelu": "gelu_erf", "gelu_python": "gelu_erf", "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu", "relu": "relu", "tanh": "tanh", "linear": "linear",
}  # fmt: skip

# How the fields of KerasHub's BertBackbone map to ours; it has one rate for both dropouts, and the
# activation and epsilon of the original.
_KERAS_HUB_KEYS = {
    "vocab_size": "vocabulary_size", "hidden_size": "hidden_dim", "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads", "intermediate_size": "intermediate_dim",
    "hidden_dropout_prob": "dropout", "attention_probs_dropout_prob": "dropout",
    "max_position_embeddings": "max_sequence_length", "type_vocab_size": "num_segments",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BertConfig:
  """Configuration of a `BertModel`; the fields are those of the original's `BertConfig`.

  Attributes:
    vocab_size: rows of the word embedding table.
    hidden_size: width of the encoder and the pooler (H).
    num_hidden_layers: number of Transformer blocks.
    num_attention_heads: attention heads per block (N); must divide `hidden_size`.
    intermediate_size: width of the feed-forward layer.
    hidden_act: one of `ACTIVATIONS`; "gelu" is the tanh approximation of the original,
      "gelu_erf" the exact form that Hugging Face calls "gelu".
    hidden_dropout_prob: dropout of embeddings and of both residual branches of a block.
    attention_probs_dropout_prob: dropout of the attention probabilities.
    max_position_embeddings: longest sequence.
    type_vocab_size: number of segment ids. The original's default is 16, used where a JSON
      file lacks the key.
    initializer_range: standard deviation of the truncated normal initialiser.
    layer_norm_eps: added to the variance (the original fixes 1e-12).

  Raises:
    UserError: a size is not positive, heads do not divide the hidden size, a probability is
      outside [0, 1), or the activation is unknown.
  """

  vocab_size: int
  hidden_size: int = 768
  num_hidden_layers: int = 12
  num_attention_heads: int = 12
  intermediate_size: int = 3072
  hidden_act: str = "gelu"
  hidden_dropout_prob: float = 0.1
  attention_probs_dropout_prob: float = 0.1
  max_position_embeddings: int = 512
  type_vocab_size: int = 16
  initializer_range: float = 0.02
  layer_norm_eps: float = 1e-12

  def __post_init__(self) -> None:
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.type == "int":
        _check_size(field.name, value)
      elif field.type == "float":
        _check_number(field.name, value)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
      if getattr(self, name) >= 1:
        raise UserError(f"config: expected {name} in [0, 1), found {getattr(self, name)}")
    if self.hidden_size % self.num_attention_heads:
      raise UserError(
        f"config: hidden_size ({self.hidden_size}) must be a multiple of num_attention_heads"
        f" ({self.num_attention_heads}); change one of them"
      )
    act = (self.hidden_act or "linear").lower() if self.hidden_act is not None else "linear"
    if act not in ACTIVATIONS:
      raise UserError(
        f"config: expected hidden_act to be one of {', '.join(ACTIVATIONS)}, found"
        f" {self.hidden_act!r}{_nearest(act, ACTIVATIONS)}"
      )
    object.__setattr__(self, "hidden_act", act)

  @classmethod
  def from_dict(cls, values: dict[str, Any], source: str = "config") -> BertConfig:
    """Builds a config from a dictionary with the original's keys, Hugging Face's or KerasHub's.

    Raises:
      UserError: a key is missing or misspelt (the nearest valid name is given), or the
        dictionary describes another architecture than BERT. `source` names it in the message.
    """
    if not isinstance(values, dict):
      raise UserError(f"{source}: expected a JSON object, found {type(values).__name__}")
    if "model_type" in values or "architectures" in values:
      values = _from_hugging_face(values, source)
    elif isinstance(values.get("config"), dict) and "class_name" in values:
      values = _from_keras_hub(values, source)
    names = [field.name for field in dataclasses.fields(cls)]
    known = {}
    for key, value in values.items():
      if key in names:
        known[key] = value
      elif key not in _IGNORED_KEYS:
        raise UserError(
          f"{source}: unknown key {key!r}{_nearest(key, names)}; valid keys are {', '.join(names)}"
        )
    if "vocab_size" not in known:
      raise UserError(
        f"{source}: the key vocab_size is missing; add the number of lines of the vocabulary"
      )
    return cls(**known)

  @classmethod
  def from_json_file(cls, path: str) -> BertConfig:
    """Reads Google's `bert_config.json`, or the `config.json` of Hugging Face or KerasHub.

    Raises:
      UserError: there is no such file, it is not JSON, or `from_dict` refuses its content.
    """
    existing_file(path, "config file")
    try:
      with open(path, encoding="utf-8-sig") as file:
        values = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
      raise UserError(f"{path}: expected JSON in UTF-8, found: {error}") from error
    return cls.from_dict(values, source=path)

  def to_dict(self) -> dict[str, Any]:
    """The original's keys; `layer_norm_eps` only where it is not the original's 1e-12."""
    values = dataclasses.asdict(self)
    if self.layer_norm_eps == 1e-12:
      del values["layer_norm_eps"]
    return values

  def to_json_string(self) -> str:
    """JSON text as the original writes it: indented by 2, keys sorted, a line feed at the end."""
    return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

  def check_sequence_length(self, max_seq_length: int) -> None:
    """Raises UserError where sequences are longer than the position embeddings reach."""
    if max_seq_length > self.max_position_embeddings:
      raise UserError(
        f"`max_seq_length={max_seq_length}` is more than the {self.max_position_embeddings}"
        " positions that the model was made for (max_position_embeddings of the config);"
        " lower it"
      )

  def check_vocabulary_size(self, num_tokens: int, vocab_file: str) -> None:
    """Raises UserError where the vocabulary is not as long as the word embedding table."""
    if num_tokens != self.vocab_size:
      raise UserError(
        f"{vocab_file}: expected the {self.vocab_size} tokens that the config's vocab_size says,"
        f" found {num_tokens}; take the vocabulary and the config of one and the same model"
      )


def _nearest(name: str, valid: list[str] | tuple[str, ...]) -> str:
  matches = difflib.get_close_matches(name, valid, n=1)
  return f"; did you mean {matches[0]!r}?" if matches else ""


def _check_size(name: str, value: Any) -> None:
  if not isinstance(value, int) or isinstance(value, bool) or value < 1:
    raise UserError(f"config: expected {name} to be a positive integer, found {value!r}")


def _check_number(name: str, value: Any) -> None:
  if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
    raise UserError(f"config: expected {name} to be a number of at least 0, found {value!r}")


def _from_hugging_face(values: dict[str, Any], source: str) -> dict[str, Any]:
  """Keeps what a Hugging Face config.json says of the architecture, in the original's terms."""
  model_type = values.get("model_type")
  if model_type is None:
    classes = ", ".join(values.get("architectures") or [])
    model_type = "bert" if classes.startswith("Bert") else classes or "unknown"
  if model_type != "bert":
    raise UserError(
      f"{source}: expected the architecture bert, found {model_type!r}; only BERT"
      " weights can be read"
    )
  position = values.get("position_embedding_type", "absolute")
  if position != "absolute":
    raise UserError(f"{source}: expected position_embedding_type absolute, found {position!r}")
  names = {field.name for field in dataclasses.fields(BertConfig)}
  # Hugging Face's own default is 2; the original's 16 would not fit those weights.
  kept = {"type_vocab_size": 2, **{k: v for k, v in values.items() if k in names}}
  act = kept.get("hidden_act", "gelu")
  if act not in _HUGGING_FACE_ACTIVATIONS:
    raise UserError(
      f"{source}: expected hidden_act to be one of"
      f" {', '.join(sorted(_HUGGING_FACE_ACTIVATIONS))}, found {act!r}"
    )
  kept["hidden_act"] = _HUGGING_FACE_ACTIVATIONS[act]
  return kept


def _from_keras_hub(values: dict[str, Any], source: str) -> dict[str, Any]:
  """Says what the config.json of a KerasHub preset says, in the original's terms."""
  if values["class_name"] != "BertBackbone":
    raise UserError(
      f"{source}: expected KerasHub's BertBackbone, found {values['class_name']!r}; only BERT"
      " weights can be read"
    )
  try:
    return {ours: values["config"][theirs] for ours, theirs in _KERAS_HUB_KEYS.items()}
  except KeyError as error:
    raise UserError(f"{source}: the key {error} of KerasHub's BertBackbone is missing") from error
