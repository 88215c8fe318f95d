"""Lines to words in a graph: BasicTokenizer by table look-up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from bert_tf.tokenization import unicode_tables as tables
from bert_tf.tokenization.settings import TokenizerSettings

_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2


class _Stream(NamedTuple):
  """The characters of all lines in one row, each line with a line feed at its end.

  Attributes:
    slots: int32 [C], code points and flags of `unicode_tables`.
    source: int32 [C], place in `entries` that each slot came from.
    line_splits: int64 [N + 1], where in `slots` each line begins.
  """

  slots: tf.Tensor
  source: tf.Tensor
  line_splits: tf.Tensor


class Words(NamedTuple):
  """The words of all lines in one row.

  Attributes:
    text: string [W].
    splits: int64 [W + 1], where in `chars` each word begins.
    chars: int32 [M], code points of all words.
    begins: int64 [M], place in the decoded text where what became each character begins.
    ends: int64 [M], place behind it and the stripped accents that follow.
    line_splits: int64 [N + 1], where in `text` each line begins.
    decoded_splits: int64 [N + 1], where in the decoded text each line begins.
  """

  text: tf.Tensor
  splits: tf.Tensor
  chars: tf.Tensor
  begins: tf.Tensor
  ends: tf.Tensor
  line_splits: tf.Tensor
  decoded_splits: tf.Tensor


class Characters(tf.Module):
  """Lines to words: BasicTokenizer by table look-up."""

  def __init__(self, settings: TokenizerSettings):
    super().__init__(name="characters")
    self._do_lower_case = settings.do_lower_case
    self._strips_accents = settings.strips_accents
    table = tables.character_table(settings)
    self._entries = PagedTable(table.entries)
    self._expansions = tf.constant(table.expansions)
    if self._do_lower_case:
      self._context = PagedTable(tables.case_context())
    if self._strips_accents:
      self._combining_classes = PagedTable(tables.combining_classes())

  def words(self, text: tf.Tensor) -> Words:
    """Splits lines, string [N], into words."""
    # The line feed keeps the lines apart in everything that looks at neighbours.
    decoded = tf.strings.unicode_decode(tf.strings.join([text, "\n"]), "UTF-8", errors="ignore")
    code_points = decoded.flat_values
    if self._do_lower_case:
      code_points = self._with_final_sigmas(code_points)
    entries = self._entries.lookup(code_points)
    slots, source, splits = self._stream(code_points, entries, decoded.row_splits)
    isolated = _has(slots, tables.ISOLATED)
    after_isolated = tf.concat([[False], isolated], axis=0)[:-1]
    boundary = _has(slots, tables.SPACE) | isolated | after_isolated
    group = tf.cumsum(tf.cast(boundary, tf.int32))
    silent = tables.SPACE | tables.DELETED | tables.STRIPPED
    places = tf.where(~_has(slots, silent))[:, 0]
    chars = tf.gather(slots, places) & tables.CODE_POINT_MASK
    group = tf.gather(group, places)
    begins = tf.where(group != tf.concat([[-1], group], axis=0)[:-1])[:, 0]
    word_splits = tf.concat([begins, [tf.size(chars, tf.int64)]], axis=0)
    text = tf.strings.unicode_encode(
      tf.RaggedTensor.from_row_splits(chars, word_splits, validate=False), "UTF-8"
    )
    source = tf.gather(source, places)
    return Words(
      text=text,
      splits=word_splits,
      chars=chars,
      begins=tf.cast(source, tf.int64),
      ends=tf.gather(_ends(entries), source),
      line_splits=tf.searchsorted(tf.gather(places, begins), splits),
      decoded_splits=decoded.row_splits,
    )

  def _stream(self, code_points: tf.Tensor, entries: tf.Tensor, line_splits: tf.Tensor) -> _Stream:
    """Decomposes, and puts marks in canonical order."""
    slots = (entries & ~tables.CODE_POINT_MASK) | ((entries + code_points) & tables.CODE_POINT_MASK)
    stream = _Stream(slots, tf.range(tf.size(slots)), line_splits)
    if not (self._do_lower_case or self._strips_accents):
      return stream
    stream = tf.cond(
      tf.reduce_any(_has(entries, tables.EXPANDS)),
      lambda: self._expanded(entries, stream),
      lambda: stream,
    )
    if not self._strips_accents:
      return stream
    return tf.cond(
      tf.reduce_any(_has(stream.slots, tables.MARK)),
      lambda: self._reordered(stream),
      lambda: stream,
    )

  def _with_final_sigmas(self, code_points: tf.Tensor) -> tf.Tensor:
    """Replaces capital sigmas at the ends of words, as `str.lower` does (Unicode 3.13)."""

    def replaced() -> tf.Tensor:
      context = self._context.lookup(code_points)
      # What is looked through is taken out: then the deciding characters are the neighbours.
      places = tf.where(context >= tables.CONTEXT_CASED)
      cased = tf.gather_nd(context, places) == tables.CONTEXT_CASED
      after_cased = tf.concat([[False], cased], axis=0)[:-1]
      before_cased = tf.concat([cased, [False]], axis=0)[1:]
      is_sigma = tf.gather_nd(code_points, places) == _SIGMA
      final = tf.boolean_mask(places, is_sigma & after_cased & ~before_cased)
      return tf.tensor_scatter_nd_update(
        code_points, final, tf.fill([tf.shape(final)[0]], _FINAL_SIGMA)
      )

    return tf.cond(tf.reduce_any(code_points == _SIGMA), replaced, lambda: code_points)

  def _expanded(self, entries: tf.Tensor, stream: _Stream) -> _Stream:
    """Puts in the parts of characters that become several."""
    expands = _has(entries, tables.EXPANDS)
    counts = tf.where(expands, tables.expansion_count(entries), 1)
    ends = tf.cumsum(counts)
    source = tf.repeat(stream.source, counts)
    part = tf.range(tf.size(source)) - tf.gather(ends - counts, source)
    place = tf.where(tf.gather(expands, source), tf.gather(entries, source) & tables.START_MASK, 0)
    slots = tf.where(
      tf.gather(expands, source),
      tf.gather(self._expansions, place + part),
      tf.gather(stream.slots, source),
    )
    splits = tf.gather(tf.concat([[0], ends], axis=0), stream.line_splits)
    return _Stream(slots, source, tf.cast(splits, tf.int64))

  def _reordered(self, stream: _Stream) -> _Stream:
    """Sorts marks by combining class between starters (canonical ordering, Unicode 3.11)."""
    run = tf.cumsum(tf.cast(_has(stream.slots, tables.STARTER), tf.int64))
    is_mark = _has(stream.slots, tables.MARK)
    classes = self._combining_classes.lookup(stream.slots & tables.CODE_POINT_MASK)
    key = run * 256 + tf.cast(tf.where(is_mark, classes, 0), tf.int64)
    # The place as the last digit makes keys differ, so that the order of equals is kept.
    count = tf.size(key, tf.int64)
    order = tf.sort(key * count + tf.range(count)) % count
    return _Stream(
      tf.gather(stream.slots, order), tf.gather(stream.source, order), stream.line_splits
    )


class PagedTable(tf.Module):
  """An integer for every code point."""

  def __init__(self, table: np.ndarray):
    super().__init__(name="paged_table")
    starts, pages = tables.paged(table)
    self._starts, self._pages = tf.constant(starts), tf.constant(pages)

  def lookup(self, code_points: tf.Tensor) -> tf.Tensor:
    """Returns the integers of int32 `code_points`, of the same shape."""
    start = tf.gather(self._starts, tf.bitwise.right_shift(code_points, 8))
    return tf.gather(self._pages, start + (code_points & 0xFF))


def _has(slots: tf.Tensor, flags: int) -> tf.Tensor:
  return (slots & flags) != 0


def _ends(entries: tf.Tensor) -> tf.Tensor:
  """Returns int64 [C]: for every character the place of the next that is no stripped accent."""
  kept = ~_has(entries, tables.STRIPPED)
  places = tf.concat([tf.where(kept)[:, 0], [tf.size(entries, tf.int64)]], axis=0)
  return tf.gather(places, tf.cumsum(tf.cast(kept, tf.int32)))
