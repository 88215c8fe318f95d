"""Vocabulary files: one token a line, its id the line's number from 0.

`load_vocab` is the one reader: whatever a program takes for the vocabulary went through it.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer, existing_file
from bert_tf.tokenization.numbering import SPECIAL_TOKENS, numbered


def load_vocab(
  vocab_file: str | os.PathLike[str] | Sequence[str],
) -> collections.OrderedDict[str, int]:
  """Reads a vocabulary file into token -> id, in file order (original: `load_vocab`).

  Lines end at line feeds alone and each token is stripped of white space: line 343 (from 0) of
  the released Chinese vocabulary holds only U+2028, which other readers take for a line end, and
  is the empty token here as in the original.

  No token is required here; see `require_special_tokens`.

  >>> from bert_tf.tokenization import load_vocab, write_vocabulary
  >>> write_vocabulary(["[UNK]", "un", "##able"], "vocab.txt")
  >>> load_vocab("vocab.txt")["##able"]
  2

  Args:
    vocab_file: a local path, or a URL that `tf.io.gfile` opens, such as gs://bucket/vocab.txt. A
      name that ends in .json is a tokenizer.json of Hugging Face's (`read_tokenizer_json`). Or the
      tokens themselves, in the order of their ids.

  Raises:
    UserError: no such file, an empty one, not UTF-8, a token twice.
  """
  if not isinstance(vocab_file, str | os.PathLike):
    return numbered(vocab_file, "of the model")
  path = os.fspath(vocab_file)
  if path.endswith(".json"):
    from bert_tf.tokenization.tokenizer_json import read_tokenizer_json

    return numbered(read_tokenizer_json(path)[0], path)
  return numbered(vocabulary_lines(path), path)


def vocabulary_lines(vocab_file: str | os.PathLike[str]) -> list[str]:
  """Returns the lines of a vocabulary as they are, for those who write most of them again.

  Raises:
    UserError: no such file, an empty one, not UTF-8.
  """
  path = os.fspath(vocab_file)
  lines = _decode(_read(path), path).split("\n")
  if lines[-1] == "":
    lines.pop()
  return lines


def require_special_tokens(
  vocab: Mapping[str, int],
  tokens: Iterable[str] = SPECIAL_TOKENS,
  path: str | os.PathLike[str] = "",
) -> None:
  """Refuses a vocabulary without some of `tokens`.

  Args:
    vocab: token -> id.
    tokens: those that the caller cannot do without.
    path: where the vocabulary was read, for the message.

  Raises:
    UserError: names what is missing.
  """
  tokens = tuple(tokens)
  missing = [token for token in tokens if token not in vocab]
  if missing:
    raise UserError(
      f"vocabulary {os.fspath(path)}: expected {', '.join(tokens)}, found no {', '.join(missing)}"
      f" in {len(vocab)} lines; is this a BERT vocab.txt with one token a line?"
    )


def write_vocabulary(tokens: Iterable[str], vocab_file: str | os.PathLike[str]) -> None:
  """Writes one token a line, in order; the file appears when it is complete.

  Raises:
    UserError: the directory cannot be written, or a token would not be read back as it is.
  """
  with atomic_writer(vocab_file) as file:
    for token in tokens:
      if token != token.strip() or "\n" in token:
        raise UserError(
          f"expected tokens without white space at their ends, found {token!r};"
          " strip it before writing the vocabulary"
        )
      file.write(f"{token}\n")


def convert_by_vocab(vocab: Mapping[Any, Any], items: Iterable[Any]) -> list[Any]:
  """Returns what `vocab` has for each of `items` (original: `convert_by_vocab`).

  Raises:
    UserError: it lacks one.
  """
  try:
    return list(map(vocab.__getitem__, items))
  except KeyError as error:
    raise UserError(
      f"expected items of the vocabulary ({len(vocab)} entries), found {error.args[0]!r}; use the"
      " vocabulary that made them"
    ) from None


def convert_tokens_to_ids(vocab: Mapping[str, int], tokens: Iterable[str]) -> list[int]:
  """Returns the id of each token; raises UserError for one that the vocabulary lacks."""
  try:
    return list(map(vocab.__getitem__, tokens))
  except KeyError as error:
    raise UserError(
      f"expected tokens of the vocabulary ({len(vocab)} entries), found {error.args[0]!r}; tokenize"
      " text with the same vocabulary, or write [UNK]"
    ) from None


def convert_ids_to_tokens(inv_vocab: Mapping[int, str], ids: Iterable[int]) -> list[str]:
  """Returns the token of each id; raises UserError for an id that the vocabulary lacks."""
  try:
    return list(map(inv_vocab.__getitem__, ids))
  except KeyError as error:
    raise UserError(
      f"expected ids from 0 to {len(inv_vocab) - 1}, found {error.args[0]!r}; use the vocabulary"
      " that made the ids"
    ) from None


def _read(path: str) -> bytes:
  if "://" not in path:
    with open(existing_file(path, "vocab_file"), "rb") as file:
      return file.read()
  import tensorflow as tf  # Only remote file systems need it.

  try:
    with tf.io.gfile.GFile(path, "rb") as file:
      content = file.read()
  except tf.errors.OpError as error:
    raise UserError(f"vocab_file: cannot read {path}: {error.message}; check the path") from error
  if not content:
    raise UserError(f"vocab_file: expected content, found the empty file {path!r}")
  return content


def _decode(content: bytes, path: str) -> str:
  if content.startswith((b"\xff\xfe", b"\xfe\xff")):
    found = "UTF-16"
  elif content.startswith(b"\xef\xbb\xbf"):
    found = "UTF-8 with a byte order mark, which would become part of the first token"
  else:
    try:
      return content.decode("utf-8")
    except UnicodeDecodeError as error:
      line = content.count(b"\n", 0, error.start) + 1
      found = f"bytes that are not UTF-8 on line {line}"
  raise UserError(f"vocabulary {path}: expected plain UTF-8, found {found}; save it as UTF-8")
