"""Text to WordPiece ids inside a TensorFlow graph, equal to FullTokenizer on every string."""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable, Sequence

import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.tokenization.graph_added_tokens import AddedTokenSplitter
from bert_tf.tokenization.graph_characters import Characters, Words
from bert_tf.tokenization.ordinary_text import OrdinaryTextTokenizer
from bert_tf.tokenization.pieces import fast_ops_take, make_pieces
from bert_tf.tokenization.settings import TokenizerSettings, resolve_settings
from bert_tf.tokenization.vocabulary import load_vocab, require_special_tokens
from bert_tf.tokenization.wordpiece import MAX_INPUT_CHARS_PER_WORD

TEXT_OPS = ("fast", "compatible")


class InGraphTokenizer(tf.Module):
  """FullTokenizer as TensorFlow operations.

  Lines of ordinary text, for which tensorflow_text's FastBertTokenizer has been shown to be right
  (see `ordinary_text`), go through that; all others are decoded to code points, which are looked
  up in tables of what Python's `str` and `unicodedata` say, joined to words again, and matched by
  a WordPiece operation. The tables, the vocabulary and the rest are constants of the graph, so a
  SavedModel that holds one needs no file and no Python.

  >>> from bert_tf.tokenization import SPECIAL_TOKENS, InGraphTokenizer, write_vocabulary
  >>> write_vocabulary([*SPECIAL_TOKENS, "un", "##aff", "##able", "!"], "vocab.txt")
  >>> tokenizer = InGraphTokenizer("vocab.txt", do_lower_case=True)
  >>> tokenizer(["Unaffable!", "unable"]).to_list()
  [[5, 6, 7, 8], [5, 7]]
  >>> ids, starts, ends = tokenizer.tokenize_with_offsets(["Unaffable!"])
  >>> starts.to_list(), ends.to_list()
  ([[0, 2, 5, 9]], [[2, 5, 9, 10]])

  Attributes:
    vocab: token -> id.
    settings: how text becomes words.
    do_lower_case: as in `settings`.
    text_ops: "fast" or "compatible".
    required_ops: names of the operations outside of core TensorFlow that a server must have.
  """

  def __init__(
    self,
    vocab_file: str | os.PathLike[str] | Sequence[str],
    do_lower_case: bool = True,
    text_ops: str = "fast",
    *,
    settings: TokenizerSettings | None = None,
  ):
    """Builds tables and matcher; takes about two seconds.

    Args:
      vocab_file: see `load_vocab`.
      do_lower_case: as for FullTokenizer.
      text_ops: "fast", or "compatible" for servers that lack recent text operations: equally
        exact, with WordpieceTokenizeWithOffsets as the only operation outside of core TensorFlow.
      settings: all settings at once, in place of `do_lower_case`.

    Raises:
      UserError: a bad vocabulary, one without [UNK] or an added token of `settings`, or an unknown
        `text_ops`.
    """
    super().__init__(name="in_graph_tokenizer")
    if text_ops not in TEXT_OPS:
      raise UserError(f"text_ops: expected one of {', '.join(TEXT_OPS)}, found {text_ops!r}")
    vocab = load_vocab(vocab_file)
    named = vocab_file if isinstance(vocab_file, str | os.PathLike) else "of the model"
    require_special_tokens(vocab, ("[UNK]",), named)
    # A proxy, since tf.Module would track a dictionary's entries one by one.
    self.vocab = types.MappingProxyType(vocab)
    self.settings = resolve_settings(do_lower_case, settings)
    self.do_lower_case = self.settings.do_lower_case
    self.text_ops = text_ops
    tokens = list(vocab)
    self._unknown_id = vocab["[UNK]"]
    with tf.init_scope(), tf.device("CPU"):
      self._characters = Characters(self.settings)
      self._pieces = make_pieces(tokens, text_ops, self.settings)
      is_fast = text_ops == "fast" and fast_ops_take(tokens, self.settings)
      self._ordinary = OrdinaryTextTokenizer(tokens, self.settings) if is_fast else None
      self._added = AddedTokenSplitter.of(self.settings, vocab)
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
      if self._added is None:
        return self._tokenize_plain(text)
      parts = self._added.split(text)
      tokens = tf.RaggedTensor.from_row_splits(parts.token_ids, parts.token_splits, validate=False)
      # A part is a token or text, so that one of the two is empty.
      return _joined(tf.concat([self._tokenize_plain(parts.text), tokens], axis=1), parts.splits)

  def _tokenize_plain(self, text: tf.Tensor) -> tf.RaggedTensor:
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
      if self._added is None:
        return self._plain_with_offsets(text)
      parts = self._added.split(text)
      places = tf.where(parts.token_splits[1:] > parts.token_splits[:-1])[:, 0]
      lengths = tf.cast(tf.gather(parts.lengths, places), tf.int32)
      tokens = parts.token_ids, tf.zeros_like(lengths), lengths
      found = []
      for plain, token in zip(self._plain_with_offsets(parts.text), tokens, strict=True):
        token = tf.RaggedTensor.from_row_splits(token, parts.token_splits, validate=False)
        found.append(tf.concat([plain, token], axis=1))
      begins = tf.cast(tf.gather(parts.begins, found[0].value_rowids()), tf.int32)
      ids, starts, ends = (_joined(part, parts.splits) for part in found)
      return ids, starts.with_values(starts.values + begins), ends.with_values(ends.values + begins)

  def _plain_with_offsets(self, text: tf.Tensor) -> tuple[tf.RaggedTensor, ...]:
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


def _first_chars(words: Words, piece_bytes: tf.RaggedTensor, unknown: tf.Tensor) -> tf.Tensor:
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


def _matchable(words: Words) -> tf.Tensor:
  """The words, with [UNK] for those too long to be looked at."""
  too_long = words.splits[1:] - words.splits[:-1] > MAX_INPUT_CHARS_PER_WORD
  return tf.cond(
    tf.reduce_any(too_long),
    lambda: tf.where(too_long, "[UNK]", words.text),
    lambda: words.text,
  )


def _joined(parts: tf.RaggedTensor, splits: tf.Tensor) -> tf.RaggedTensor:
  """Joins rows to lines, of which each begins at one of the row numbers `splits`."""
  splits = tf.gather(parts.row_splits, splits)
  return tf.RaggedTensor.from_row_splits(parts.values, splits, validate=False)


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
