"""A context cut into words and pieces inside the graph, as run_squad.py cuts it.

B questions in a batch; words, characters and pieces of all of them lie in flat rows, and
`splits` say where each begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from bert_tf.export.graphs.windows import splits_of
from bert_tf.tokenization.writing_systems import UNSPACED_BLOCKS, UNSPACED_SHARE

# string [rows] -> ids, first character, and the one after the last, of their pieces: [rows, (n)].
TokenizeWithOffsets = Callable[
  [tf.Tensor], tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]
]
# string [rows] -> ragged [rows, (tokens)].
Tokenize = Callable[[tf.Tensor], tf.RaggedTensor]

# What separates words of a context: other white space does not (`read_squad_examples`).
_SPACES = (0x20, 0x09, 0x0D, 0x0A, 0x202F)
_SPACE_PATTERN = "[ \t\r\n\u202f]+"


class Context(NamedTuple):
  """Contexts, string [B], and what they are made of.

  Attributes:
    text: string [B], valid UTF-8.
    words: string [W].
    word_splits: int64 [B + 1], words of each context.
    char_places: int64 [C], where in its context each character of the words stands.
    char_splits: int64 [W + 1], characters of each word.
    basic: string [T], what BasicTokenizer makes of the words.
    basic_splits: int64 [W + 1], basic tokens of each word.
    ids: int32 [P], pieces.
    piece_words: int64 [P], the word of each piece.
    piece_starts: int64 [P], the character of its context at which each piece begins.
    piece_ends: int64 [P], the character after its last one.
    piece_splits: int64 [B + 1], pieces of each context.
    unspaced: bool [B], whether it is written without spaces between words (`is_unspaced`).
  """

  text: tf.Tensor
  words: tf.Tensor
  word_splits: tf.Tensor
  char_places: tf.Tensor
  char_splits: tf.Tensor
  basic: tf.Tensor
  basic_splits: tf.Tensor
  ids: tf.Tensor
  piece_words: tf.Tensor
  piece_starts: tf.Tensor
  piece_ends: tf.Tensor
  piece_splits: tf.Tensor
  unspaced: tf.Tensor


def read_context(text: tf.Tensor, tokenize: TokenizeWithOffsets, basic_tokens: Tokenize) -> Context:
  """Cuts contexts into words and pieces.

  Args:
    text: string [B].
    tokenize: strings to their pieces.
    basic_tokens: strings to their basic tokens.
  """
  text = tf.strings.unicode_transcode(
    text, "UTF-8", "UTF-8", errors="ignore", replace_control_characters=False
  )
  decoded = tf.strings.unicode_decode(text, "UTF-8")
  chars = decoded.flat_values
  places = tf.ragged.range(decoded.row_lengths()).flat_values
  is_space = tf.reduce_any(chars[:, tf.newaxis] == tf.constant(_SPACES), axis=1)
  after_space = tf.concat([[True], is_space[:-1]], axis=0) | (places == 0)
  begins = ~is_space & after_space
  word_counts = tf.reduce_sum(decoded.with_flat_values(tf.cast(begins, tf.int64)), axis=1)
  word_splits = splits_of(word_counts)
  word_of_char = tf.boolean_mask(tf.cumsum(tf.cast(begins, tf.int64)) - 1, ~is_space)
  by_word = tf.RaggedTensor.from_value_rowids(
    tf.boolean_mask(chars, ~is_space), word_of_char, nrows=word_splits[-1], validate=False
  )
  words = tf.strings.unicode_encode(by_word, "UTF-8")
  basic = basic_tokens(words)
  pieces, starts, ends = tokenize(words)
  char_places = tf.boolean_mask(places, ~is_space)
  piece_words = pieces.value_rowids()
  # No word lacks a character, but there may be no word.
  word_starts = tf.gather(char_places, tf.gather(by_word.row_splits, piece_words))
  return Context(
    text=text,
    words=words,
    word_splits=word_splits,
    char_places=char_places,
    char_splits=by_word.row_splits,
    basic=basic.flat_values,
    basic_splits=basic.row_splits,
    ids=pieces.flat_values,
    piece_words=piece_words,
    piece_starts=word_starts + tf.cast(starts.values, tf.int64),
    piece_ends=word_starts + tf.cast(ends.values, tf.int64),
    piece_splits=tf.gather(pieces.row_splits, word_splits),
    unspaced=_unspaced(decoded, ~is_space),
  )


def _unspaced(decoded: tf.RaggedTensor, counted: tf.Tensor) -> tf.Tensor:
  """Which texts, ragged int32 [B, (chars)], are written without spaces between words, bool [B].

  Only characters that are `counted`, bool [chars], count.
  """
  firsts, lasts = zip(*UNSPACED_BLOCKS, strict=True)
  chars = decoded.flat_values
  # The blocks ascend and do not meet, so the one that begins last before a character decides.
  block = tf.searchsorted(tf.constant(firsts), chars, side="right") - 1
  inside = (block >= 0) & (chars <= tf.gather(tf.constant(lasts), tf.maximum(block, 0)))

  def count(flags: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(decoded.with_flat_values(tf.cast(flags, tf.float64)), axis=1)

  size = count(counted)
  return (size > 0) & (count(inside & counted) >= UNSPACED_SHARE * size)


def single_spaced(text: tf.Tensor) -> tf.Tensor:
  """Words joined by one space each, as answers are written."""
  return tf.strings.regex_replace(text, _SPACE_PATTERN, " ")
