"""Text to WordPiece ids inside a TensorFlow graph, equal to FullTokenizer on every string."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.tokenization import unicode_tables as tables
from bert_tf.tokenization.ordinary_text import OrdinaryTextTokenizer
from bert_tf.tokenization.pieces import CompatiblePieces, FastPieces, Pieces
from bert_tf.tokenization.vocabulary import load_vocab
from bert_tf.tokenization.wordpiece import MAX_INPUT_CHARS_PER_WORD

TEXT_OPS = ("fast", "compatible")
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


class _Words(NamedTuple):
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


class InGraphTokenizer(tf.Module):
  """FullTokenizer as TensorFlow operations.

  Lines of ordinary text, for which tensorflow_text's FastBertTokenizer has been shown to be right
  (see `ordinary_text`), go through that; all others are decoded to code points, which are looked
  up in tables of what Python's `str` and `unicodedata` say, joined to words again, and matched by
  a WordPiece operation. The tables, the vocabulary and the rest are constants of the graph, so a
  SavedModel that holds one needs no file and no Python.

  Attributes:
    vocab: token -> id.
    do_lower_case: whether text is lower-cased and stripped of accents first.
    text_ops: "fast" or "compatible".
    required_ops: names of the operations outside of core TensorFlow that a server must have.
  """

  def __init__(
    self,
    vocab_file: str | os.PathLike[str],
    do_lower_case: bool = True,
    text_ops: str = "fast",
  ):
    """Builds tables and matcher; takes about two seconds.

    Args:
      vocab_file: see `load_vocab`.
      do_lower_case: as for FullTokenizer.
      text_ops: "fast", or "compatible" for servers that lack recent text operations: equally
        exact, with WordpieceTokenizeWithOffsets as the only operation outside of core TensorFlow.

    Raises:
      UserError: a bad vocabulary, or an unknown `text_ops`.
    """
    super().__init__(name="in_graph_tokenizer")
    if text_ops not in TEXT_OPS:
      raise UserError(f"text_ops: expected one of {', '.join(TEXT_OPS)}, found {text_ops!r}")
    vocab = load_vocab(vocab_file)
    # A proxy, since tf.Module would track a dictionary's entries one by one.
    self.vocab = types.MappingProxyType(vocab)
    self.do_lower_case = do_lower_case
    self.text_ops = text_ops
    tokens = list(vocab)
    self._unknown_id = vocab["[UNK]"]
    with tf.init_scope(), tf.device("CPU"):
      self._characters = _Characters(do_lower_case)
      self._pieces: Pieces = (FastPieces if text_ops == "fast" else CompatiblePieces)(tokens)
      self._ordinary = OrdinaryTextTokenizer(tokens, do_lower_case) if text_ops == "fast" else None
    ordinary_ops = self._ordinary.required_ops if self._ordinary else ()
    self.required_ops = tuple(sorted({*self._pieces.required_ops, *ordinary_ops}))
    self._compiled = _compiled(self._tokenize)
    self._compiled_with_offsets = _compiled(self._tokenize_with_offsets)

  # Without autograph's rewriting of plain Python, which finds nothing to do and takes seconds.
  @tf.autograph.experimental.do_not_convert
  def __call__(self, text: tf.Tensor) -> tf.RaggedTensor:
    """Returns int32 ids [N, (pieces)] of the lines `text`, string [N], without special tokens.

    Bytes that are not UTF-8 are left out, as `convert_to_unicode` does.

    Raises:
      UserError: `text` is no string tensor of one dimension.
    """
    text = _checked(text)
    return self._compiled(text) if tf.executing_eagerly() else self._tokenize(text)

  @tf.autograph.experimental.do_not_convert
  def tokenize_with_offsets(
    self, text: tf.Tensor
  ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
    """Returns ids, and where in the line each piece begins and ends.

    See `FullTokenizer.tokenize_with_offsets` for what the offsets count. This is slower than
    `__call__`, since it cannot use FastBertTokenizer.

    Returns:
      int32 ids, starts and ends (exclusive), each [N, (pieces)].

    Raises:
      UserError: `text` is no string tensor of one dimension.
    """
    text = _checked(text)
    if tf.executing_eagerly():
      return self._compiled_with_offsets(text)
    return self._tokenize_with_offsets(text)

  @tf.autograph.experimental.do_not_convert
  def basic_tokens(self, text: tf.Tensor) -> tf.RaggedTensor:
    """Returns what BasicTokenizer makes of the lines `text`, string [N]: string [N, (words)]."""
    with tf.device("CPU"):
      words = self._characters.words(_checked(text))
      return tf.RaggedTensor.from_row_splits(words.text, words.line_splits, validate=False)

  def _tokenize(self, text: tf.Tensor) -> tf.RaggedTensor:
    with tf.device("CPU"):
      if self._ordinary is None:
        return self._tokenize_any(text)
      return self._tokenize_by_kind(text, self._ordinary)

  def _tokenize_by_kind(self, text: tf.Tensor, ordinary: OrdinaryTextTokenizer) -> tf.RaggedTensor:
    """Sends ordinary lines the short way and the others the long one."""
    is_ordinary = ordinary.recognises(text)

    def both() -> tuple[tf.Tensor, tf.Tensor]:
      places = tf.dynamic_partition(tf.range(tf.size(text)), tf.cast(is_ordinary, tf.int32), 2)
      lines = [tf.gather(text, place) for place in places]
      ids = tf.concat([self._tokenize_any(lines[0]), ordinary.tokenize(lines[1])], axis=0)
      order = tf.math.invert_permutation(tf.concat(places, axis=0))
      return _parts(tf.gather(ids, order))

    values, splits = tf.cond(
      tf.reduce_all(is_ordinary), lambda: _parts(ordinary.tokenize(text)), both
    )
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)

  def _tokenize_any(self, text: tf.Tensor) -> tf.RaggedTensor:
    words = self._characters.words(text)
    ids, piece_splits, _ = self._pieces.match(_matchable(words))
    splits = tf.gather(piece_splits, words.line_splits)
    return tf.RaggedTensor.from_row_splits(ids, splits, validate=False)

  def _tokenize_with_offsets(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, ...]:
    with tf.device("CPU"):
      words = self._characters.words(text)
      ids, piece_splits, piece_bytes = self._pieces.match(_matchable(words))
      splits = tf.gather(piece_splits, words.line_splits)
      ids = tf.RaggedTensor.from_row_splits(ids, splits, validate=False)
      word = tf.RaggedTensor.from_row_splits(piece_bytes, piece_splits, validate=False)
      first_chars = _first_chars(words, word, ids.values == self._unknown_id)
      line_begins = tf.gather(words.decoded_splits, ids.value_rowids())
      begins = tf.RaggedTensor.from_row_starts(words.begins, first_chars, validate=False)
      ends = tf.RaggedTensor.from_row_starts(words.ends, first_chars, validate=False)
      starts = tf.cast(tf.reduce_min(begins, axis=1) - line_begins, tf.int32)
      ends = tf.cast(tf.reduce_max(ends, axis=1) - line_begins, tf.int32)
      return ids, ids.with_values(starts), ids.with_values(ends)


class _Characters(tf.Module):
  """Lines to words: BasicTokenizer by table look-up."""

  def __init__(self, do_lower_case: bool):
    super().__init__(name="characters")
    self._do_lower_case = do_lower_case
    table = tables.character_table(do_lower_case)
    self._entries = _PagedTable(table.entries)
    self._expansions = tf.constant(table.expansions)
    if do_lower_case:
      self._context = _PagedTable(tables.case_context())
      self._combining_classes = _PagedTable(tables.combining_classes())

  def words(self, text: tf.Tensor) -> _Words:
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
    return _Words(
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
    if not self._do_lower_case:
      return stream
    stream = tf.cond(
      tf.reduce_any(_has(entries, tables.EXPANDS)),
      lambda: self._expanded(entries, stream),
      lambda: stream,
    )
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


class _PagedTable(tf.Module):
  """An integer for every code point."""

  def __init__(self, table: np.ndarray):
    super().__init__(name="paged_table")
    starts, pages = tables.paged(table)
    self._starts, self._pages = tf.constant(starts), tf.constant(pages)

  def lookup(self, code_points: tf.Tensor) -> tf.Tensor:
    start = tf.gather(self._starts, tf.bitwise.right_shift(code_points, 8))
    return tf.gather(self._pages, start + (code_points & 0xFF))


def _has(slots: tf.Tensor, flags: int) -> tf.Tensor:
  return (slots & flags) != 0


def _ends(entries: tf.Tensor) -> tf.Tensor:
  """Returns int64 [C]: for every character the place of the next that is no stripped accent."""
  kept = ~_has(entries, tables.STRIPPED)
  places = tf.concat([tf.where(kept)[:, 0], [tf.size(entries, tf.int64)]], axis=0)
  return tf.gather(places, tf.cumsum(tf.cast(kept, tf.int32)))


def _first_chars(words: _Words, piece_bytes: tf.RaggedTensor, unknown: tf.Tensor) -> tf.Tensor:
  """Returns int64 [P]: where in `words.chars` each piece begins.

  Args:
    words: all words.
    piece_bytes: int64 [W, (pieces)], byte in its word where each piece begins.
    unknown: bool [P], which pieces stand for a whole word.
  """
  widths = 1 + sum(tf.cast(words.chars >= first, tf.int64) for first in (0x80, 0x800, 0x10000))
  first_bytes = tf.cumsum(widths, exclusive=True)
  word_begins = tf.gather(words.splits, piece_bytes.value_rowids())
  found = tf.searchsorted(
    first_bytes, tf.gather(first_bytes, word_begins) + piece_bytes.values, out_type=tf.int64
  )
  return tf.where(unknown, word_begins, found)


def _matchable(words: _Words) -> tf.Tensor:
  """The words, with [UNK] for those too long to be looked at."""
  too_long = words.splits[1:] - words.splits[:-1] > MAX_INPUT_CHARS_PER_WORD
  return tf.cond(
    tf.reduce_any(too_long),
    lambda: tf.where(too_long, "[UNK]", words.text),
    lambda: words.text,
  )


def _parts(ragged: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
  return ragged.values, ragged.row_splits


def _checked(text: tf.Tensor) -> tf.Tensor:
  text = tf.convert_to_tensor(text)
  if text.dtype != tf.string or text.shape.rank not in (1, None):
    raise UserError(
      f"expected text as a string tensor of one dimension, found {text.dtype.name} of shape"
      f" {text.shape}; reshape it to [lines]"
    )
  return text


def _compiled(function: Callable) -> Callable:
  """A graph of `function` for calls outside of graphs, traced at the first one.

  Behind a plain function, since a SavedModel would keep the traces of one it can see.
  """

  @functools.cache
  def graph() -> Callable:
    signature = [tf.TensorSpec([None], tf.string)]
    return tf.function(function, signature, autograph=False).get_concrete_function()

  return lambda text: graph()(text)
