"""Words to WordPiece ids in a graph, by one of two operations of tensorflow_text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf
import tensorflow_text as tf_text

from bert_tf.tokenization.basic import clean_code_point, is_chinese_char, is_punctuation
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.wordpiece import MAX_INPUT_CHARS_PER_WORD, SUFFIX_INDICATOR

# No word that is short enough in characters is longer than this in UTF-8.
MAX_BYTES_PER_WORD = 4 * MAX_INPUT_CHARS_PER_WORD
# What FastWordpieceTokenizer's builder takes, the suffix indicator not counted.
_MAX_BYTES_PER_FAST_TOKEN = 256


class PieceMatches(NamedTuple):
  """The pieces of words [W] in one row.

  Attributes:
    ids: int32 [P].
    splits: int64 [W + 1], where in `ids` each word begins.
    starts: int64 [P], byte in its word where each piece begins.
  """

  ids: tf.Tensor
  splits: tf.Tensor
  starts: tf.Tensor


class Pieces(Protocol):
  """Greedy longest match first of words with a vocabulary."""

  required_ops: tuple[str, ...]

  def match(self, words: tf.Tensor) -> PieceMatches:
    """Splits words, string [W], none longer than the longest allowed, into pieces."""
    ...


class FastPieces(tf.Module):
  """The linear-time algorithm of Song et al. (2021, arXiv:2012.15524)."""

  required_ops = ("FastWordpieceTokenizeWithOffsets",)

  def __init__(self, tokens: Sequence[str]):
    """Takes `matchable_tokens`."""
    super().__init__(name="fast_pieces")
    self._tokenizer = tf_text.FastWordpieceTokenizer(
      list(tokens),
      suffix_indicator=SUFFIX_INDICATOR,
      max_bytes_per_word=MAX_BYTES_PER_WORD,
      token_out_type=tf.int32,
      no_pretokenization=True,
    )

  def match(self, words: tf.Tensor) -> PieceMatches:
    """See Pieces."""
    ids, starts, _ = self._tokenizer.tokenize_with_offsets(words)
    return PieceMatches(ids.values, ids.row_splits, starts.values)


class CompatiblePieces(tf.Module):
  """The operation that TensorFlow Serving has had for longest."""

  required_ops = ("WordpieceTokenizeWithOffsets",)

  def __init__(self, tokens: Sequence[str]):
    super().__init__(name="compatible_pieces")
    ids = tf.range(len(tokens), dtype=tf.int64)
    self._table = tf.lookup.StaticHashTable(
      tf.lookup.KeyValueTensorInitializer(tf.constant(list(tokens)), ids), default_value=-1
    )
    self._tokenizer = tf_text.WordpieceTokenizer(
      self._table,
      suffix_indicator=SUFFIX_INDICATOR,
      max_bytes_per_word=MAX_BYTES_PER_WORD,
      token_out_type=tf.int64,
    )

  def match(self, words: tf.Tensor) -> PieceMatches:
    """See Pieces."""
    # The operation is slow, and text repeats its words.
    distinct, index = tf.unique(words)
    ids, starts, _ = self._tokenizer.tokenize_with_offsets(distinct)
    ids, starts = tf.gather(ids, index), tf.gather(starts, index)
    return PieceMatches(tf.cast(ids.values, tf.int32), ids.row_splits, starts.values)


def make_pieces(tokens: Sequence[str], text_ops: str, settings: TokenizerSettings) -> Pieces:
  """Returns the matcher of a vocabulary: the fast one where it is wanted and takes all tokens."""
  if text_ops == "fast" and fast_ops_take(tokens, settings):
    return FastPieces(matchable_tokens(tokens, settings))
  return CompatiblePieces(tokens)


def fast_ops_take(tokens: Sequence[str], settings: TokenizerSettings) -> bool:
  """True if no token that a word can hold is longer than the fast operations allow."""
  return all(
    len(token.removeprefix(SUFFIX_INDICATOR).encode()) <= _MAX_BYTES_PER_FAST_TOKEN
    for token in matchable_tokens(tokens, settings)
  )


def matchable_tokens(tokens: Sequence[str], settings: TokenizerSettings | None = None) -> list[str]:
  """Replaces tokens that no word can contain by others that none can, which the library takes.

  It refuses an empty token and a bare "##", which the released Chinese vocabulary has, and tokens
  of more than 256 bytes; with a space inside a token it goes astray.
  """
  parts_ideographs = settings is None or settings.tokenize_chinese_chars
  continues_word = _CONTINUES_WORD if parts_ideographs else _CONTINUES_LONG_WORD
  return [
    token if token == "[UNK]" or _is_matchable(token, continues_word) else f"\x01{index}"
    for index, token in enumerate(tokens)
  ]


def _is_matchable(token: str, continues_word: Memo) -> bool:
  """True if BasicTokenizer can give a word that holds this piece, but for upper and lower case."""
  if len(token) == 1:
    return _STAYS[token]
  characters = token.removeprefix(SUFFIX_INDICATOR)
  if not 0 < len(characters) <= MAX_INPUT_CHARS_PER_WORD:
    return False
  return all(map(continues_word.__getitem__, characters))


def _stays(char: str) -> bool:
  """True if a word may consist of `char`."""
  return not char.isspace() and clean_code_point(ord(char)) is not None


def _continues_word(char: str) -> bool:
  """True if a word may hold `char` beside others."""
  return _continues_long_word(char) and not is_chinese_char(ord(char))


def _continues_long_word(char: str) -> bool:
  """True if a word may hold `char` beside others where ideographs are not set apart."""
  return _stays(char) and not is_punctuation(char)


_STAYS, _CONTINUES_WORD = Memo(_stays), Memo(_continues_word)
_CONTINUES_LONG_WORD = Memo(_continues_long_word)
