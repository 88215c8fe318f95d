"""`add-tokens`: new words for a trained BERT."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import tempfile
from collections.abc import Sequence

import numpy as np

from bert_tf.checkpoints import conversion
from bert_tf.checkpoints.conversion import Conversion
from bert_tf.checkpoints.reader import Reader
from bert_tf.checkpoints.tools import common
from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.model_dir import Description
from bert_tf.tokenization import (
  TokenizerSettings,
  load_vocab,
  vocabulary_lines,
  why_unreachable,
)

_TABLE = "bert/embeddings/word_embeddings"
_BIAS = "cls/predictions/output_bias"
_SEED = 12345


def add_tokens(
  reader: Reader, output: str, to: str, about: Description, tokens: list[str]
) -> Conversion:
  """Writes a model whose vocabulary has more tokens; vocabulary, config and weights together.

  Tokens take the places of `[unused...]` entries first, whose untrained embeddings they inherit,
  as the original advises; further ones get new rows at the end, drawn like those of a fresh
  model, with the mean bias in the masked-LM head. Optimizer slots are left out.

  Args:
    reader: an open checkpoint.
    output: a directory that does not exist or is empty.
    to: one of `conversion.FORMATS`.
    about: config and vocabulary of the model as it is.
    tokens: new entries of the vocabulary: words, `##` pieces, or markers such as `[E1]`.

  Raises:
    UserError: there is no vocabulary, a token is in it already, or no text could ever give it;
      see also `conversion.convert`.
  """
  if not about.tokens:
    raise UserError(f"{reader.path}: expected a vocab.txt beside it, found none; use --vocab_file")
  config = about.config
  # As they stand in the file: the Chinese one has a line that reading would strip.
  pieces = vocabulary_lines(about.vocab_file) if about.vocab_file else list(about.tokens)
  _check(tokens, about.tokens, about.tokenizer)
  common.check_shape(reader, _TABLE, (config.vocab_size, config.hidden_size))
  pieces = _place(pieces, tokens)
  result = common.Derived(reader)
  # Vocabularies that are shorter than the table of embeddings have rows to spare.
  new_rows = max(0, len(pieces) - config.vocab_size)
  size = config.vocab_size + new_rows
  if new_rows:
    result.change(_TABLE, (size, config.hidden_size), lambda: _more_rows(reader, config, new_rows))
    if _BIAS in reader.shapes:
      result.change(_BIAS, (size,), lambda: _more_biases(reader, new_rows))
  about = dataclasses.replace(about, config=dataclasses.replace(config, vocab_size=size))
  with tempfile.TemporaryDirectory() as directory:
    vocabulary = os.path.join(directory, "vocab.txt")
    with open(vocabulary, "w", encoding="utf-8", newline="\n") as file:
      file.write("".join(piece + "\n" for piece in pieces))
    tokens_now = tuple(load_vocab(vocabulary))
    about = dataclasses.replace(about, tokens=tokens_now, vocab_file=vocabulary)
    return conversion.write(output, to, result, about)


def _check(tokens: list[str], vocabulary: Sequence[str], settings: TokenizerSettings) -> None:
  known = set(vocabulary)
  for token in tokens:
    if token in known:
      raise UserError(f"token {token!r}: expected a new one, found it in the vocabulary already")
    known.add(token)
    # A marker is not for text: programs put it where they want it.
    if re.fullmatch(r"\[\S+\]", token) and token.isprintable():
      continue
    if reason := why_unreachable(token, settings):
      raise UserError(
        f"token {token!r}: no text could ever give it, {reason}; add the parts, or a marker in"
        " [brackets]"
      )


def _place(pieces: list[str], tokens: list[str]) -> list[str]:
  """The vocabulary with `tokens` in it."""
  pieces = list(pieces)
  unused = [i for i, piece in enumerate(pieces) if re.fullmatch(r"\[unused\d+\]", piece.strip())]
  for index, token in zip(unused, tokens, strict=False):
    pieces[index] = token
  return pieces + tokens[len(unused) :]


def _more_rows(reader: Reader, config, count: int) -> np.ndarray:
  """The table with new rows: a normal distribution cut off at two deviations."""
  rng = np.random.default_rng(_SEED)
  rows = rng.standard_normal([count, config.hidden_size])
  while (outside := np.abs(rows) > 2).any():
    rows[outside] = rng.standard_normal(int(outside.sum()))
  return np.concatenate([reader.read(_TABLE), (rows * config.initializer_range).astype(np.float32)])


def _more_biases(reader: Reader, count: int) -> np.ndarray:
  bias = reader.read(_BIAS)
  return np.concatenate([bias, np.full([count], bias.mean(), np.float32)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  common.add_arguments(parser)
  parser.add_argument("tokens", nargs="*", help="the new tokens")
  parser.add_argument("--tokens_file", help="a file with further ones, one a line")


def run(args: argparse.Namespace) -> None:
  """Adds tokens to a checkpoint."""
  tokens = list(args.tokens)
  if args.tokens_file:
    existing_file(args.tokens_file, "--tokens_file")
    tokens += [token for line in vocabulary_lines(args.tokens_file) if (token := line.strip())]
  if not tokens:
    raise UserError("expected tokens to add, found none; name them, or a --tokens_file")
  reader, about, to = common.open_input(args, args.input)
  print(add_tokens(reader, args.output, to, about, tokens))
