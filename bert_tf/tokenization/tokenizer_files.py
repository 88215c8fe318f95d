"""tokenizer_config.json and what else lies beside weights and says how text becomes pieces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict, cast

from bert_tf.errors import UserError
from bert_tf.tokenization.settings import AddedToken, TokenizerSettings
from bert_tf.tokenization.tokenizer_json import (
  added_tokens,
  read_object,
  read_tokenizer_json,
  tokens_in_order,
)
from bert_tf.tokenization.vocabulary import load_vocab

# Classes of transformers that split text as BertTokenizer does, each also with "Fast" at its end.
# The last two say nothing by themselves; they come with a tokenizer.json, which does.
_CLASSES = (
  "BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer",
  "ConvBertTokenizer", "SqueezeBertTokenizer", "RetriBertTokenizer", "LayoutLMTokenizer",
  "DPRContextEncoderTokenizer", "DPRQuestionEncoderTokenizer", "DPRReaderTokenizer",
  "LxmertTokenizer", "PreTrainedTokenizer", "TokenizersBackend",
)  # fmt: skip
_SPECIAL = {
  "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
  "mask_token": "[MASK]",
}  # fmt: skip
# Settings that change what text becomes, and the values that the tokenizers here stand for.
_HONOURED = {
  "do_basic_tokenize": (True,), "never_split": ([],), "word_tokenizer_type": ("basic",),
  "subword_tokenizer_type": ("wordpiece",), "do_word_tokenize": (True,),
  "do_subword_tokenize": (True,),
}  # fmt: skip
_SETTINGS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
_VOCABULARY_FILES = ("vocab.txt", os.path.join("assets", "tokenizer", "vocabulary.txt"))


class StatedSettings(TypedDict, total=False):
  """The fields of TokenizerSettings that a file states."""

  do_lower_case: bool
  strip_accents: bool | None
  tokenize_chinese_chars: bool
  added_tokens: tuple[AddedToken, ...]


class SavedTokenizer(NamedTuple):
  """A tokenizer as it lies beside weights.

  Attributes:
    tokens: the vocabulary in the order of ids, added tokens included.
    stated: the settings that the files state.
    vocab_file: a file that holds just these tokens, one a line, which can be copied; None: there
      is none, and `write_vocabulary` can make one.
  """

  tokens: list[str]
  stated: StatedSettings
  vocab_file: str | None


def read_tokenizer_config(path: str | os.PathLike[str]) -> StatedSettings:
  """Reads a tokenizer_config.json of Hugging Face's or ours.

  Returns:
    What it states: `TokenizerSettings(**stated)`.

  Raises:
    UserError: it is no JSON object, or says what the tokenizers here cannot honour.
  """
  path = os.fspath(path)
  values = read_object(path)
  _check_class(values.get("tokenizer_class"), path)
  for key, honoured in _HONOURED.items():
    if values.get(key) is not None and values[key] not in honoured:
      raise _refusal(path, f"{key} {honoured[0]!r}", values[key])
  for key, token in _SPECIAL.items():
    found = values.get(key)
    found = found.get("content") if isinstance(found, dict) else found
    if found not in (None, token):
      raise _refusal(path, f"{key} {token!r}", found)
  stated = _stated({key: values.get(key) for key in _SETTINGS}, path)
  decoder = values.get("added_tokens_decoder")
  if isinstance(decoder, dict):
    entries = [entry for entry in decoder.values() if isinstance(entry, dict)]
    if tokens := added_tokens(entries, path):
      stated["added_tokens"] = tokens
  return stated


def read_tokenizer_directory(directory: str | os.PathLike[str]) -> SavedTokenizer | None:
  """Reads the vocabulary that lies beside weights, and all that is said of it.

  That is vocab.txt, or KerasHub's vocabulary.txt, or where there is neither, tokenizer.json; with
  added_tokens.json, tokenizer_config.json, special_tokens_map.json. What tokenizer_config.json
  states goes before tokenizer.json, as in transformers.

  Args:
    directory: the one with the weights.

  Returns:
    None where there is no vocabulary.

  Raises:
    UserError: files contradict each other, or say what the tokenizers here cannot honour.
  """
  config = _beside(directory, "tokenizer_config.json")
  stated = read_tokenizer_config(config) if config else StatedSettings()
  vocab_file = next((f for name in _VOCABULARY_FILES if (f := _beside(directory, name))), None)
  tokens = list(load_vocab(vocab_file)) if vocab_file else None
  tokenizer_file = _beside(directory, "tokenizer.json")
  values = read_object(tokenizer_file) if tokenizer_file else {}
  if tokenizer_file and "model" in values:
    theirs, settings = read_tokenizer_json(tokenizer_file)
    if tokens is not None and theirs[: len(tokens)] != tokens:
      raise UserError(
        f"{tokenizer_file}: expected the tokens of {vocab_file}, found others; remove the file that"
        " is not the model's"
      )
    tokens = theirs
    stated = StatedSettings(**{**_fields(settings), **stated})
  elif tokenizer_file and isinstance(values.get("config"), dict):
    stated = StatedSettings(**{**_keras_hub(values["config"], tokenizer_file), **stated})
  if tokens is None:
    return None
  extra = _added_beside(directory, config)
  if extra:
    known = {token: index for index, token in enumerate(tokens)}
    tokens = tokens_in_order(known, {t: i for t, (i, _) in extra.items()}, os.fspath(directory))
    stated.setdefault("added_tokens", tuple(token for _, token in extra.values()))
  # Ours are complete; those of transformers lack the added tokens.
  is_whole = vocab_file is not None and len(load_vocab(vocab_file)) == len(tokens)
  return SavedTokenizer(tokens, stated, vocab_file if is_whole else None)


def tokenizer_config(
  settings: TokenizerSettings, vocab: Mapping[str, int] | None = None
) -> dict[str, Any]:
  """Returns the content of a tokenizer_config.json, which transformers reads too.

  Settings at the original's values are left out, but for the case.

  Args:
    settings: what to state.
    vocab: token -> id, for added tokens.

  Raises:
    UserError: an added token has no id.
  """
  values: dict[str, Any] = {"do_lower_case": settings.do_lower_case}
  if settings.strip_accents is not None:
    values["strip_accents"] = settings.strip_accents
  if not settings.tokenize_chinese_chars:
    values["tokenize_chinese_chars"] = False
  decoder = {}
  for token in settings.added_tokens:
    index = (vocab or {}).get(token.content)
    if index is None:
      raise UserError(
        f"expected a vocabulary with the added token {token.content!r}, found none; give the"
        " vocabulary that has it"
      )
    decoder[str(index)] = {
      "content": token.content, "lstrip": False, "normalized": token.normalized, "rstrip": False,
      "single_word": False, "special": token.special,
    }  # fmt: skip
  if decoder:
    values["added_tokens_decoder"] = decoder
  return values


def _check_class(name: Any, path: str) -> None:
  if name is not None and str(name).removesuffix("Fast") not in _CLASSES:
    raise UserError(
      f"{path}: expected tokenizer_class BertTokenizer, found {name!r}, which splits text in"
      " another way; use a model with BERT's tokenizer"
    )


def _stated(values: Mapping[str, Any], path: str) -> StatedSettings:
  """Leaves out what is null, and refuses what is neither true nor false."""
  for key, value in values.items():
    if value is not None and not isinstance(value, bool):
      raise UserError(f"{path}: expected true or false for {key}, found {value!r}; correct it")
  stated = {key: value for key, value in values.items() if value is not None}
  return cast(StatedSettings, stated)


def _refusal(path: str, expected: str, found: Any) -> UserError:
  return UserError(
    f"{path}: expected {expected}, found {found!r}, which the tokenizers here cannot honour; use a"
    " model without it, or correct the file"
  )


def _fields(settings: TokenizerSettings) -> StatedSettings:
  stated = StatedSettings(
    do_lower_case=settings.do_lower_case, tokenize_chinese_chars=settings.tokenize_chinese_chars
  )
  if settings.strip_accents is not None:
    stated["strip_accents"] = settings.strip_accents
  if settings.added_tokens:
    stated["added_tokens"] = settings.added_tokens
  return stated


def _keras_hub(config: Mapping[str, Any], path: str) -> StatedSettings:
  """What KerasHub's tokenizer.json states, under its own names."""
  if config.get("split", True) is not True:
    raise _refusal(path, "split True", config["split"])
  names = {
    "do_lower_case": "lowercase", "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "split_on_cjk",
  }  # fmt: skip
  return _stated({key: config.get(theirs) for key, theirs in names.items()}, path)


def _added_beside(
  directory: str | os.PathLike[str], config: str | None
) -> dict[str, tuple[int, AddedToken]]:
  """Returns tokens with ids and nature from added_tokens.json, and from tokenizer_config.json."""
  found = {}
  path = _beside(directory, "added_tokens.json")
  if path:
    special = _special_beside(directory)
    for content, index in read_object(path).items():
      entry = {"content": content, "special": content in special}
      for token in added_tokens([entry], path):
        found[content] = index, token
  decoder = read_object(config).get("added_tokens_decoder") if config else None
  for index, entry in decoder.items() if isinstance(decoder, dict) else ():
    for token in added_tokens([entry], config or ""):
      found[token.content] = int(index) if index.isdecimal() else index, token
  return found


def _special_beside(directory: str | os.PathLike[str]) -> set[str]:
  """The contents of additional_special_tokens."""
  special: set[str] = set()
  for name in ("tokenizer_config.json", "special_tokens_map.json"):
    path = _beside(directory, name)
    tokens = read_object(path).get("additional_special_tokens") if path else None
    for token in tokens if isinstance(tokens, list) else ():
      special.add(str(token.get("content") if isinstance(token, dict) else token))
  return special


def _beside(directory: str | os.PathLike[str], name: str) -> str | None:
  path = os.path.join(directory, name)
  return path if os.path.isfile(path) else None
