"""Hugging Face's tokenizer.json: vocabulary and settings of a tokenizer in one file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.tokenization.numbering import SPECIAL_TOKENS, numbered
from bert_tf.tokenization.settings import AddedToken, TokenizerSettings
from bert_tf.tokenization.wordpiece import MAX_INPUT_CHARS_PER_WORD, SUFFIX_INDICATOR

# transformers' limit. Ours is the original's, 200, in its place: the two differ about words of 101
# to 200 characters alone, and tokenizer.json has 100 whatever the model was trained with.
_THEIR_MAX_CHARS_PER_WORD = 100


def read_tokenizer_json(path: str | os.PathLike[str]) -> tuple[list[str], TokenizerSettings]:
  """Reads a tokenizer.json.

  Returns:
    The tokens in the order of their ids, added ones included and stripped as by `load_vocab`; and
    how text becomes words.

  Raises:
    UserError: no such file, or what it describes is not BERT's tokenizer.
  """
  path = os.fspath(path)
  values = read_object(path)
  model = _model(values.get("model"), path)
  added = [entry for entry in values.get("added_tokens") or () if isinstance(entry, dict)]
  ids = {entry.get("content"): entry.get("id") for entry in added}
  tokens = tokens_in_order(model["vocab"], ids, path)
  lower, strip_accents, chinese = _normalizer(values.get("normalizer"), path)
  _check_part(values, "pre_tokenizer", ("BertPreTokenizer",), path)
  _check_part(values, "post_processor", (None, "BertProcessing", "TemplateProcessing"), path)
  return tokens, TokenizerSettings(lower, strip_accents, chinese, added_tokens(added, path))


def tokens_in_order(vocab: Mapping[str, Any], added: Mapping[Any, Any], path: str) -> list[str]:
  """Returns the tokens of a vocabulary and of those added to it, in the order of their ids.

  Args:
    vocab: token -> id.
    added: token -> id, of `vocab` or beyond.
    path: the file, for messages.

  Raises:
    UserError: an id is no number, is missing or has two tokens; a token has two ids.
  """
  ids = {**vocab, **added}
  for token, index in vocab.items():
    if ids[token] != index:
      raise _refusal(path, "one id for each token", f"{index} and {ids[token]} for {token!r}")
  wrong = [t for t, i in ids.items() if type(i) is not int or not isinstance(t, str) or "\n" in t]
  if wrong:
    raise _refusal(path, "tokens of one line with whole numbers as ids", f"{wrong[0]!r}")
  order = sorted(ids, key=ids.__getitem__)
  for index, token in enumerate(order):
    if ids[token] != index:
      raise _refusal(
        path, f"ids from 0 to {len(ids) - 1}, each once", f"{ids[token]} in place of {index}"
      )
  return list(numbered(order, path))


def added_tokens(entries: Iterable[Mapping[str, Any]], path: str) -> tuple[AddedToken, ...]:
  """Returns the tokens that text matches as a whole, as far as they are not BERT's special ones.

  Args:
    entries: transformers' descriptions: content, normalized, special, single_word, ... That white
      space beside a token is taken off (lstrip, rstrip) means nothing here: it goes in any case.
    path: the file, for messages.

  Raises:
    UserError: a token is to match whole words only.
  """
  tokens = []
  for entry in entries:
    content = entry.get("content")
    if content in SPECIAL_TOKENS:
      continue
    if entry.get("single_word"):
      raise _refusal(
        path, "added tokens that match anywhere", f"single_word of {content!r}", "set it to false"
      )
    special = entry.get("special") is True
    tokens.append(AddedToken(str(content), entry.get("normalized", not special) is True, special))
  return tuple(tokens)


def read_object(path: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns the JSON object in a file; raises UserError where there is none."""
  path = os.fspath(path)
  try:
    with open(existing_file(path, os.path.basename(path)), encoding="utf-8-sig") as file:
      values = json.load(file)
  except ValueError as error:
    raise _refusal(path, "a JSON object in UTF-8", str(error), "fetch the file again") from error
  if not isinstance(values, dict):
    raise _refusal(path, "a JSON object", type(values).__name__, "fetch the file again")
  return values


def _model(model: Any, path: str) -> dict[str, Any]:
  """Checks that the model is WordPiece as the original's, and returns it."""
  if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
    kind = model.get("type") if isinstance(model, dict) else None
    raise _refusal(path, "a WordPiece model with a vocabulary", repr(kind or "none"))
  # Older files leave the type out: then only WordPiece has a prefix, and only BPE merges.
  guess = "BPE" if "merges" in model else "WordPiece"
  expected = {
    "type": ("WordPiece", guess),
    "unk_token": ("[UNK]", "[UNK]"),
    "continuing_subword_prefix": (SUFFIX_INDICATOR, SUFFIX_INDICATOR),
  }
  for key, (wanted, default) in expected.items():
    if (found := model.get(key, default)) != wanted:
      raise _refusal(path, f"{key} {wanted!r} in model", repr(found))
  longest = model.get("max_input_chars_per_word", _THEIR_MAX_CHARS_PER_WORD)
  if longest not in (_THEIR_MAX_CHARS_PER_WORD, MAX_INPUT_CHARS_PER_WORD):
    raise _refusal(path, "max_input_chars_per_word 100 or 200 in model", repr(longest))
  return model


def _normalizer(normalizer: Any, path: str) -> tuple[bool, bool | None, bool]:
  """Returns lower case, accents and ideographs of a BertNormalizer."""
  if not isinstance(normalizer, dict) or normalizer.get("type") != "BertNormalizer":
    kind = normalizer.get("type") if isinstance(normalizer, dict) else normalizer
    raise _refusal(path, "normalizer 'BertNormalizer'", repr(kind))
  if normalizer.get("clean_text", True) is not True:
    raise _refusal(path, "clean_text true in normalizer", repr(normalizer["clean_text"]))
  strip_accents = normalizer.get("strip_accents")
  stated = [normalizer.get("lowercase", True), normalizer.get("handle_chinese_chars", True)]
  if not all(isinstance(value, bool) for value in stated) or strip_accents not in (
    None,
    True,
    False,
  ):
    raise _refusal(path, "true or false for the settings of normalizer", repr(normalizer))
  return stated[0], strip_accents, stated[1]


def _check_part(
  values: Mapping[str, Any], name: str, kinds: tuple[str | None, ...], path: str
) -> None:
  part = values.get(name)
  kind = part.get("type") if isinstance(part, dict) else part
  if kind not in kinds:
    raise _refusal(path, f"{name} {' or '.join(k for k in kinds if k)}", repr(kind))


def _refusal(
  path: str, expected: str, found: str, remedy: str = "only BERT's own tokenizer can be read"
) -> UserError:
  return UserError(f"{path}: expected {expected}, found {found}; {remedy}")
