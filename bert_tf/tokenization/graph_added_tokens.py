"""Added tokens in a graph: AddedTokenMatcher as TensorFlow operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from bert_tf.tokenization.added_tokens import AddedTokenMatcher, lower_characters, same_when_lower
from bert_tf.tokenization.graph_characters import PagedTable
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.unicode_tables import CODE_POINTS

# Never a byte of UTF-8, which text is brought to first.
_MARK = b"\xff"


class Parts(NamedTuple):
  """The parts of lines [N], every other one an added token.

  Attributes:
    text: string [P]; empty in place of a token.
    splits: int64 [N + 1], where in `text` each line begins.
    begins: int64 [P], how many characters of the line stand before each part.
    lengths: int64 [P], characters of each part.
    token_ids: int32 [T], ids of the parts that are tokens.
    token_splits: int64 [P + 1], where in `token_ids` each part's is.
  """

  text: tf.Tensor
  splits: tf.Tensor
  begins: tf.Tensor
  lengths: tf.Tensor
  token_ids: tf.Tensor
  token_splits: tf.Tensor


class AddedTokenSplitter(tf.Module):
  """Splits lines at added tokens."""

  def __init__(self, matcher: AddedTokenMatcher, vocab: Mapping[str, int]):
    super().__init__(name="added_tokens")
    self._pattern = f"({matcher.pattern(_literal)})"
    self._exact = _id_table(matcher.exact, vocab)
    self._folded = _id_table(matcher.folded, vocab)
    self._lower = PagedTable(_lower_table(matcher)) if matcher.folded else None

  @classmethod
  def of(cls, settings: TokenizerSettings, vocab: Mapping[str, int]) -> AddedTokenSplitter | None:
    """Returns the splitter of `settings`, None where they have no added tokens.

    Raises:
      UserError: an added token has no id.
    """
    matcher = AddedTokenMatcher.of(settings, vocab)
    return None if matcher is None else cls(matcher, vocab)

  def split(self, text: tf.Tensor) -> Parts:
    """Splits lines, string [N]; bytes that are not UTF-8 are left out."""
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="ignore")
    marked = tf.strings.regex_replace(text, self._pattern, _MARK + rb"\1" + _MARK)
    parts = tf.strings.split(marked, _MARK)
    flat, splits = parts.flat_values, parts.row_splits
    row_starts = tf.gather(splits, parts.value_rowids())
    is_token = (tf.range(tf.size(flat, tf.int64)) - row_starts) % 2 == 1
    lengths = tf.cast(tf.strings.length(flat, "UTF8_CHAR"), tf.int64)
    before = tf.concat([[0], tf.cumsum(lengths)], axis=0)
    return Parts(
      text=tf.where(is_token, "", flat),
      splits=splits,
      begins=before[:-1] - tf.gather(before, row_starts),
      lengths=lengths,
      token_ids=self._ids(tf.boolean_mask(flat, is_token)),
      token_splits=tf.concat([[0], tf.cumsum(tf.cast(is_token, tf.int64))], axis=0),
    )

  def _ids(self, tokens: tf.Tensor) -> tf.Tensor:
    ids = self._exact.lookup(tokens)
    if self._lower is None:
      return ids
    chars = tf.strings.unicode_decode(tokens, "UTF-8")
    lower = tf.strings.unicode_encode(chars.with_values(self._lower.lookup(chars.values)), "UTF-8")
    return tf.where(ids < 0, self._folded.lookup(lower), ids)


def _literal(char: str) -> str:
  """Spells a character for the library behind `tf.strings.regex_replace`."""
  return rf"\x{{{ord(char):x}}}"


def _id_table(tokens: Mapping[str, str], vocab: Mapping[str, int]) -> tf.lookup.StaticHashTable:
  # A table may not be empty: no text is the invalid byte.
  keys = [token.encode() for token in tokens] or [_MARK]
  values = [vocab[token] for token in tokens.values()] or [-1]
  initializer = tf.lookup.KeyValueTensorInitializer(
    tf.constant(keys, tf.string), tf.constant(values, tf.int32)
  )
  return tf.lookup.StaticHashTable(initializer, default_value=-1)


def _lower_table(matcher: AddedTokenMatcher) -> np.ndarray:
  """Lower-cases the characters of the tokens, and no others."""
  table = np.arange(CODE_POINTS, dtype=np.int32)
  for lower in set("".join(map(lower_characters, matcher.folded))):
    table[[ord(char) for char in same_when_lower(lower)]] = ord(lower)
  return table
