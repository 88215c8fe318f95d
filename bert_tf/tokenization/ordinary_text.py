"""Lines of which tensorflow_text's FastBertTokenizer is known to be right, and that tokenizer."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from bert_tf.tokenization import unicode_tables as tables
from bert_tf.tokenization.pieces import MAX_BYTES_PER_WORD, matchable_tokens
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.wordpiece import MAX_INPUT_CHARS_PER_WORD, SUFFIX_INDICATOR

_CAPITAL_SIGMA = 0x3A3
# Private use and the planes above, rare in text, are not asked about: that would double the time.
_PRIVATE_USE = slice(0xE000, 0xF900)
_HIGHEST = 0x2FFFF
# Some that certainly end a word; a longer list would make the pattern of long words slow.
_WORD_BREAKS = r"\t\n\r -/:-@\[-`{-~\x{3001}\x{3002}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{ff0c}"


class OrdinaryTextTokenizer(tf.Module):
  """FastBertTokenizer, and the means to tell for which lines it equals FullTokenizer.

  It treats every code point by itself, whatever its neighbours are. So when it and our table
  agree about every code point of a line, they agree about the line, provided that the table too
  has no need of neighbours (final sigma, marks that swap places: such code points are left out)
  and that no word may be over the limit of length, which the two count differently.
  """

  required_ops = ("FastBertNormalize", "FastWordpieceTokenizeWithOffsets")

  def __init__(self, tokens: Sequence[str], settings: TokenizerSettings):
    super().__init__(name="ordinary_text")
    # It sets ideographs apart whatever the settings are; lines with some are not its business then.
    self._tokenizer = tf_text.FastBertTokenizer(
      matchable_tokens(tokens),
      suffix_indicator=SUFFIX_INDICATOR,
      max_bytes_per_word=MAX_BYTES_PER_WORD,
      token_out_type=tf.int32,
      lower_case_nfd_strip_accents=settings.do_lower_case,
    )
    # A line that is not UTF-8 has bytes that no class of characters matches.
    self._pattern = f"[{character_class(agreed_code_points(settings))}]*"

  def recognises(self, text: tf.Tensor) -> tf.Tensor:
    """Returns bool [N]: which lines, string [N], `tokenize` is right about."""
    agreed = tf.strings.regex_full_match(text, self._pattern)
    # Most lines are too short to hold a word that is too long.
    places = tf.where(tf.strings.length(text) > MAX_INPUT_CHARS_PER_WORD)
    long_word = rf"\C*[^{_WORD_BREAKS}]{{{MAX_INPUT_CHARS_PER_WORD + 1}}}\C*"
    found = tf.strings.regex_full_match(tf.gather_nd(text, places), long_word)
    return agreed & ~tf.scatter_nd(places, found, tf.shape(text, tf.int64))

  def tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
    """Returns int32 ids [N, (pieces)] of lines that `recognises` accepts."""
    return self._tokenizer.tokenize(text)


@functools.lru_cache(maxsize=4)
def agreed_code_points(settings: TokenizerSettings) -> np.ndarray:
  """The code points, ascending, about which FastBertTokenizer and our table say the same.

  Asks the library itself, so that the answer holds for the version that is installed.
  """
  entries = tables.character_table(settings).entries
  candidates = _candidates(entries, settings.do_lower_case)
  ours = ((entries + np.arange(entries.size)) & tables.CODE_POINT_MASK)[candidates]
  flags = entries[candidates]
  silent = (flags & (tables.DELETED | tables.STRIPPED)) != 0
  space = (flags & tables.SPACE) != 0
  isolated = (flags & tables.ISOLATED) != 0

  normalizer = tf_text.FastBertNormalizer(lower_case_nfd_strip_accents=settings.do_lower_case)
  theirs = normalizer.normalize(_encoded(candidates))
  words = _words_around(tf.strings.join(["a", theirs, "b"]))
  same_character = (theirs == _encoded(ours)).numpy()
  agreed = np.select(
    [silent, space, isolated],
    [(theirs == "").numpy(), words == 2, same_character & (words == 3)],
    same_character & (words == 1),
  )
  return candidates[agreed]


def character_class(code_points: np.ndarray) -> str:
  """The inside of a regular expression's brackets that matches ascending `code_points`."""
  breaks = np.flatnonzero(np.diff(code_points) > 1)
  firsts = code_points[np.concatenate([[0], breaks + 1])]
  lasts = code_points[np.concatenate([breaks, [len(code_points) - 1]])]
  pairs: Iterable[tuple[int, int]] = zip(firsts, lasts, strict=True)
  return "".join(rf"\x{{{first:x}}}-\x{{{last:x}}}" for first, last in pairs)


def _candidates(entries: np.ndarray, do_lower_case: bool) -> np.ndarray:
  """Code points with one replacement that does not depend on the neighbours."""
  candidates = (entries & (tables.EXPANDS | tables.MARK)) == 0
  candidates[0xD800:0xE000] = False
  candidates[_PRIVATE_USE] = False
  candidates[_HIGHEST + 1 :] = False
  if do_lower_case:
    candidates[_CAPITAL_SIGMA] = False
  return np.flatnonzero(candidates)


def _encoded(code_points: np.ndarray) -> tf.Tensor:
  return tf.strings.unicode_encode(code_points[:, None].astype(np.int32), "UTF-8")


def _words_around(text: tf.Tensor) -> np.ndarray:
  """How many words the library sees in each string: with this vocabulary each is one piece."""
  splitter = tf_text.FastWordpieceTokenizer(["[UNK]", "a"], token_out_type=tf.int32)
  return splitter.tokenize(text).row_lengths().numpy()
