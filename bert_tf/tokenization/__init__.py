"""Text to WordPiece ids: a plain-Python reference and its equal as a TensorFlow graph.

Nothing here imports TensorFlow until `InGraphTokenizer` is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from bert_tf.tokenization.basic import BasicTokenizer, convert_to_unicode, printable_text
  from bert_tf.tokenization.in_graph import InGraphTokenizer
  from bert_tf.tokenization.learn import learn_vocabulary, learn_vocabulary_files
  from bert_tf.tokenization.tokenizer import FullTokenizer, validate_case_matches_checkpoint
  from bert_tf.tokenization.vocabulary import (
    SPECIAL_TOKENS,
    convert_ids_to_tokens,
    convert_tokens_to_ids,
    load_vocab,
    write_vocabulary,
  )
  from bert_tf.tokenization.wordpiece import WordpieceTokenizer

# Public name -> the submodule that holds it.
_EXPORTS = {
  "BasicTokenizer": "basic",
  "FullTokenizer": "tokenizer",
  "InGraphTokenizer": "in_graph",
  "SPECIAL_TOKENS": "vocabulary",
  "WordpieceTokenizer": "wordpiece",
  "convert_ids_to_tokens": "vocabulary",
  "convert_to_unicode": "basic",
  "convert_tokens_to_ids": "vocabulary",
  "learn_vocabulary": "learn",
  "learn_vocabulary_files": "learn",
  "load_vocab": "vocabulary",
  "printable_text": "basic",
  "validate_case_matches_checkpoint": "tokenizer",
  "write_vocabulary": "vocabulary",
}

__all__ = [
  "SPECIAL_TOKENS",
  "BasicTokenizer",
  "FullTokenizer",
  "InGraphTokenizer",
  "WordpieceTokenizer",
  "convert_ids_to_tokens",
  "convert_to_unicode",
  "convert_tokens_to_ids",
  "learn_vocabulary",
  "learn_vocabulary_files",
  "load_vocab",
  "printable_text",
  "validate_case_matches_checkpoint",
  "write_vocabulary",
]


def __getattr__(name: str) -> Any:
  if name not in _EXPORTS:
    raise AttributeError(f"module 'bert_tf.tokenization' has no attribute {name!r}")
  return getattr(importlib.import_module(f"bert_tf.tokenization.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_EXPORTS])
