"""Text to WordPiece ids: a plain-Python reference and its equal as a TensorFlow graph.

Nothing here imports TensorFlow until `InGraphTokenizer` is first used.

>>> import bert_tf
>>> tokenizer = bert_tf.tokenization.FullTokenizer("tiny_bert/vocab.txt", do_lower_case=True)
>>> tokens = tokenizer.tokenize("The film.")
>>> tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(tokens)) == tokens
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from bert_tf.tokenization.basic import (
    BasicTokenizer,
    convert_to_unicode,
    printable_text,
    whitespace_tokenize,
  )
  from bert_tf.tokenization.case import case_of_vocabulary, validate_case_matches_checkpoint
  from bert_tf.tokenization.in_graph import InGraphTokenizer
  from bert_tf.tokenization.learn import learn_vocabulary, learn_vocabulary_files
  from bert_tf.tokenization.numbering import SPECIAL_TOKENS
  from bert_tf.tokenization.reachable import why_unreachable
  from bert_tf.tokenization.settings import AddedToken, TokenizerSettings
  from bert_tf.tokenization.tokenizer import FullTokenizer
  from bert_tf.tokenization.tokenizer_files import (
    SavedTokenizer,
    StatedSettings,
    read_tokenizer_config,
    read_tokenizer_directory,
    tokenizer_config,
  )
  from bert_tf.tokenization.tokenizer_json import read_tokenizer_json
  from bert_tf.tokenization.vocabulary import (
    convert_by_vocab,
    convert_ids_to_tokens,
    convert_tokens_to_ids,
    load_vocab,
    require_special_tokens,
    vocabulary_lines,
    write_vocabulary,
  )
  from bert_tf.tokenization.wordpiece import WordpieceTokenizer

# Public name -> the submodule that holds it. The private ones are used by the original's own test.
_EXPORTS = {
  "AddedToken": "settings",
  "BasicTokenizer": "basic",
  "FullTokenizer": "tokenizer",
  "InGraphTokenizer": "in_graph",
  "SPECIAL_TOKENS": "numbering",
  "SavedTokenizer": "tokenizer_files",
  "StatedSettings": "tokenizer_files",
  "TokenizerSettings": "settings",
  "WordpieceTokenizer": "wordpiece",
  "_is_control": "basic",
  "_is_punctuation": "basic",
  "_is_whitespace": "basic",
  "case_of_vocabulary": "case",
  "convert_by_vocab": "vocabulary",
  "convert_ids_to_tokens": "vocabulary",
  "convert_to_unicode": "basic",
  "convert_tokens_to_ids": "vocabulary",
  "learn_vocabulary": "learn",
  "learn_vocabulary_files": "learn",
  "load_vocab": "vocabulary",
  "printable_text": "basic",
  "read_tokenizer_config": "tokenizer_files",
  "read_tokenizer_directory": "tokenizer_files",
  "read_tokenizer_json": "tokenizer_json",
  "require_special_tokens": "vocabulary",
  "tokenizer_config": "tokenizer_files",
  "validate_case_matches_checkpoint": "case",
  "vocabulary_lines": "vocabulary",
  "whitespace_tokenize": "basic",
  "why_unreachable": "reachable",
  "write_vocabulary": "vocabulary",
}

__all__ = [
  "SPECIAL_TOKENS",
  "AddedToken",
  "BasicTokenizer",
  "FullTokenizer",
  "InGraphTokenizer",
  "SavedTokenizer",
  "StatedSettings",
  "TokenizerSettings",
  "WordpieceTokenizer",
  "case_of_vocabulary",
  "convert_by_vocab",
  "convert_ids_to_tokens",
  "convert_to_unicode",
  "convert_tokens_to_ids",
  "learn_vocabulary",
  "learn_vocabulary_files",
  "load_vocab",
  "printable_text",
  "read_tokenizer_config",
  "read_tokenizer_directory",
  "read_tokenizer_json",
  "require_special_tokens",
  "tokenizer_config",
  "validate_case_matches_checkpoint",
  "vocabulary_lines",
  "whitespace_tokenize",
  "why_unreachable",
  "write_vocabulary",
]


def __getattr__(name: str) -> Any:
  if name not in _EXPORTS:
    raise AttributeError(f"module 'bert_tf.tokenization' has no attribute {name!r}")
  return getattr(importlib.import_module(f"bert_tf.tokenization.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_EXPORTS])
