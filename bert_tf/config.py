"""BertConfig: the shape of a BERT, read from and written to JSON as the original spells it."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.files import existing_file

ACTIVATIONS = ("gelu", "gelu_erf", "relu", "tanh", "linear")

# Keys that released configs carry and that no released code reads: the multilingual and the
# Chinese models of Google have them.
_IGNORED_KEYS = frozenset({
    "directionality", "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers",
    "pooler_size_per_head", "pooler_type",
})  # fmt: skip

# What transformers writes beside the shape of a BERT: attributes of its PretrainedConfig and its
# BertConfig, of pytorch-transformers 1.0 (2019) to transformers 5, that change no output. A config
# of its years before 2020 has no `model_type`; these keys are how one is known.
_HUGGING_FACE_KEYS = frozenset("""
  _attn_implementation _attn_implementation_autoset _commit_hash _flax_internal_dtype
  _name_or_path _num_labels adapters add_cross_attention architectures attn_implementation
  bad_words_ids begin_suppress_tokens bos_token_id chunk_size_feed_forward classifier_dropout
  cross_attention_hidden_size decoder_start_token_id diversity_penalty do_sample dtype
  early_stopping encoder_no_repeat_ngram_size eos_token_id eos_token_ids
  exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id
  gradient_checkpointing id2label is_decoder is_encoder_decoder keys_to_ignore_at_inference
  label2id language length_penalty max_length min_length model_type name_or_path
  no_repeat_ngram_size num_beam_groups num_beams num_labels num_return_sequences
  output_attentions output_hidden_states output_past output_scores pad_token_id
  position_embedding_type prefix problem_type pruned_heads quantization_config remove_invalid_values
  repetition_penalty return_dict return_dict_in_generate sep_token_id suppress_tokens
  task_specific_params temperature tf_legacy_loss tie_encoder_decoder tie_word_embeddings
  tokenizer_class top_k top_p torch_dtype torchscript transformers_version typical_p use_bfloat16
  use_cache use_return_dict xla_device
""".split())  # fmt: skip  # noqa: SIM905

# Of those, the ones that do change outputs, unless they have a value that says "as BERT".
_OTHER_MODELS = {
  "pruned_heads": "attention heads were taken out of its layers",
  "is_encoder_decoder": "it is half of an encoder and decoder",
  "add_cross_attention": "its layers also attend to another text",
  "quantization_config": "its weights are stored as integers",
}

# How Hugging Face's names for activations map to ours: its `gelu` is the erf form, while the
# original's `gelu` is the tanh approximation.
_HUGGING_FACE_ACTIVATIONS = {
    "gelu": "gelu_erf", "gelu_python": "gelu_erf", "gelu_new": "gelu",
    "gelu_pytorch_tanh": "gelu", "relu": "relu", "tanh": "tanh", "linear": "linear",
}  # fmt: skip

_HUGGING_FACE_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".index.json")

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

  >>> import bert_tf
  >>> config = bert_tf.BertConfig(vocab_size=30522, hidden_size=128, num_hidden_layers=2,
  ...                             num_attention_heads=2, intermediate_size=512)
  >>> config.hidden_act, config.max_position_embeddings
  ('gelu', 512)
  >>> bert_tf.BertConfig.from_json_file("tiny_bert/bert_config.json").vocab_size
  1200

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
    act = str(self.hidden_act or "linear").lower()
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
    if not _HUGGING_FACE_KEYS.isdisjoint(values):
      values = _from_hugging_face(values, source)
    elif isinstance(values.get("config"), dict) and "class_name" in values:
      values = _from_keras_hub(values, source)
    elif values.get("hidden_act") in ("gelu_new", "gelu_pytorch_tanh"):
      values = {**values, "hidden_act": "gelu"}
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
  def from_json_file(cls, path: str, weights: str | None = None) -> BertConfig:
    """Reads Google's `bert_config.json`, or the `config.json` of Hugging Face or KerasHub.

    In the year 2018, PyTorch weights came with Google's file and were run with the erf form of
    gelu all the same (`gelu` of pytorch-pretrained-bert). A log line says so where that applies.

    Args:
      path: the file.
      weights: the checkpoint that it describes; default: whatever lies beside it.

    Raises:
      UserError: there is no such file, it is not JSON, or `from_dict` refuses its content.
    """
    existing_file(path, "config file")
    try:
      with open(path, encoding="utf-8-sig") as file:
        values = json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
      raise UserError(f"{path}: expected JSON in UTF-8, found: {error}") from error
    config = cls.from_dict(values, source=path)
    says_gelu = str(values.get("hidden_act", "gelu")).lower() == "gelu"
    if not (config.hidden_act == "gelu" and says_gelu and "class_name" not in values):
      return config
    if not _is_pytorch(weights, path):
      return config
    logging.info(
      "%s: gelu is taken in its erf form (gelu_erf), since the weights beside it are in PyTorch's"
      " form, where Google's name stood for that; if they were made for the tanh form of"
      " TensorFlow, write hidden_act: gelu_new",
      path,
    )
    return dataclasses.replace(config, hidden_act="gelu_erf")

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
    """Compares a vocabulary with the word embedding table.

    A longer table is said and used, as in the original: NVIDIA's models have 30,528 rows for
    30,522 words, since multiples of 8 are faster.

    Raises:
      UserError: the vocabulary has more tokens than the table has rows.
    """
    if num_tokens > self.vocab_size:
      raise UserError(
        f"{vocab_file}: expected at most the {self.vocab_size} tokens that the config's vocab_size"
        f" says, found {num_tokens}; take the vocabulary and the config of one and the same model,"
        " or, to give the model new words, use `python -m bert_tf add-tokens`"
      )
    if num_tokens < self.vocab_size:
      logging.info(
        "%s: %d tokens for the %d rows of the word embeddings; the last %d rows belong to no token",
        vocab_file, num_tokens, self.vocab_size, self.vocab_size - num_tokens,
      )  # fmt: skip


def _nearest(name: str, valid: list[str] | tuple[str, ...]) -> str:
  matches = difflib.get_close_matches(name, valid, n=1)
  return f"; did you mean {matches[0]!r}?" if matches else ""


def _check_size(name: str, value: Any) -> None:
  if not isinstance(value, int) or isinstance(value, bool) or value < 1:
    raise UserError(f"config: expected {name} to be a positive integer, found {value!r}")


def _check_number(name: str, value: Any) -> None:
  if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
    raise UserError(f"config: expected {name} to be a number of at least 0, found {value!r}")


def _is_pytorch(weights: str | None, config_file: str) -> bool:
  """Whether a config describes weights in Hugging Face's form rather than in TensorFlow's."""
  directory = os.path.dirname(config_file)
  if weights and not os.path.isdir(weights):
    return weights.endswith(_HUGGING_FACE_WEIGHTS)
  beside = os.listdir(weights or directory or ".")
  if not weights and any(name.endswith(".index") for name in beside):
    return False
  return any(
    name.startswith(("pytorch_model", "model.safetensors", "tf_model.h5")) for name in beside
  )


def _from_hugging_face(values: dict[str, Any], source: str) -> dict[str, Any]:
  """Keeps what a Hugging Face config.json says of the architecture, in the original's terms."""
  _check_architecture(values, source)
  names = [field.name for field in dataclasses.fields(BertConfig)]
  for key in values:
    _check_foreign_key(key, values, names, source)
  # Hugging Face's own default is 2; the original's 16 would not fit those weights.
  kept = {"type_vocab_size": 2, **{k: v for k, v in values.items() if k in names}}
  act = kept.get("hidden_act", "gelu")
  if not isinstance(act, str) or act not in _HUGGING_FACE_ACTIVATIONS:
    raise UserError(
      f"{source}: expected hidden_act to be one of"
      f" {', '.join(sorted(_HUGGING_FACE_ACTIVATIONS))}, found {act!r}"
    )
  kept["hidden_act"] = _HUGGING_FACE_ACTIVATIONS[act]
  return kept


def _check_architecture(values: dict[str, Any], source: str) -> None:
  """Raises UserError where a config.json describes another architecture than BERT."""
  model_type = values.get("model_type")
  if model_type is None:
    classes = ", ".join(map(str, values.get("architectures") or []))
    # Of the years before both keys, a config is what its own keys say.
    model_type = "bert" if not classes or classes.startswith("Bert") else classes
  if model_type != "bert":
    raise UserError(
      f"{source}: expected the architecture bert, found {model_type!r}; only BERT"
      " weights can be read"
    )
  position = values.get("position_embedding_type") or "absolute"
  if position != "absolute":
    raise UserError(f"{source}: expected position_embedding_type absolute, found {position!r}")
  for key, reason in _OTHER_MODELS.items():
    if values.get(key):
      raise UserError(
        f"{source}: expected a plain BERT, found {key}: {str(values[key])[:80]} ({reason}); its"
        " weights would give other outputs here"
      )


def _check_foreign_key(key: str, values: dict[str, Any], names: list[str], source: str) -> None:
  """Raises UserError for a key that is likely a misspelling of one that is not there.

  Configs that say `model_type` carry keys of whatever wrote them; those of 2019 do not.
  """
  if key in names or key in _IGNORED_KEYS or key in _HUGGING_FACE_KEYS:
    return
  meant = difflib.get_close_matches(key, names, n=1, cutoff=0.85)
  if not (meant and meant[0] not in values) and {"model_type", "architectures"} & values.keys():
    return
  raise UserError(
    f"{source}: unknown key {key!r}{_nearest(key, names)}; valid keys are {', '.join(names)}, and"
    " those of transformers' PretrainedConfig"
  )


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
