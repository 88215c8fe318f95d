"""The graph of an exported token classifier: named entities with their places in the text.

B texts in a batch, S tokens of the longest one, L labels, E entities of the text with most.
Pieces, words and entities of all texts lie in flat rows in the order of the text; `row` says
which text each belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from bert_tf.export.graphs.text import Signatures, TextModule, concrete
from bert_tf.export.graphs.windows import cut_windows, in_chunks, window_counts
from bert_tf.export.options import TextOptions
from bert_tf.tokenization.basic import CHINESE_BLOCKS, is_punctuation

OUTSIDE = "O"
# Prefixes that begin an entity whatever stands before (IOB2, and the S and U of IOBES and BILOU).
_BEGINNINGS = ("B", "S", "U")
# And that end one whatever follows.
_ENDINGS = ("E", "L", "S", "U")


class TokenClassifierModule(TextModule):
  """Labels words and joins labelled words to entities.

  A word is what white space separates, without punctuation at its ends, which is a word of its
  own, as an ideograph is. Its label is that of its first piece, as in training.
  """

  takes_pairs = False

  def __init__(
    self,
    model: keras.Model,
    text: TextOptions,
    labels: Sequence[str],
    doc_stride: int | None = None,
  ):
    """Args: as TextModule; `labels`, such as O, B-PER, I-PER, in the order of the outputs;
    `doc_stride`, as of `SentenceEncoder`.
    """
    super().__init__(model, text)
    room = text.max_seq_length - 2
    self._doc_stride = max(1, room // 2) if doc_stride is None else doc_stride
    parts = [_parts(label) for label in labels]
    self._labels = tf.constant(list(labels))
    self._types = tf.constant([entity for _, entity in parts])
    self._begins = tf.constant([prefix in _BEGINNINGS for prefix, _ in parts])
    self._ends = tf.constant([prefix in _ENDINGS for prefix, _ in parts])
    tokens = list(self.tokenizer.vocab)
    self._continues = tf.constant([token.startswith("##") for token in tokens])
    self._is_punctuation = tf.constant([len(t) == 1 and is_punctuation(t) for t in tokens])

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`logits` and `probabilities`, float32 [B, S, L]."""
    logits = self.frozen(dict(features))["logits"]
    return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

  def answers_to_text(
    self, text: tf.Tensor, text_pair: tf.Tensor | None = None
  ) -> dict[str, tf.Tensor]:
    """The entities of strings [B].

    Returns:
      `entities` (their text), `entity_labels`, `starts`, `ends` (exclusive, in characters; -1
      for padding) and `scores` (mean probability of the labels of the entity's words), each
      [B, E] from left to right; `num_entities`, int32 [B]; for every word `words`,
      `word_labels`, [B, W]; `num_words`, int32 [B]; and `truncated`, bool [B]: never, as long texts
      are read in windows.
    """
    text = tf.strings.unicode_transcode(
      text, "UTF-8", "UTF-8", errors="ignore", replace_control_characters=False
    )
    ids, starts, ends = self.tokenizer.tokenize_with_offsets(text)
    probabilities = self._probabilities(ids)
    row = ids.value_rowids()
    ideograph = _starts_with_ideograph(text, row, starts.flat_values)
    first = self._first_pieces(
      ids.flat_values, starts.flat_values, ends.flat_values, row, ideograph
    )
    words = _Groups(first, row, starts.flat_values, ends.flat_values)
    best = tf.gather(probabilities, words.first)  # [words, L]
    label = tf.argmax(best, axis=-1, output_type=tf.int32)
    score = tf.reduce_max(best, axis=-1)
    entities = self._entities(text, words, label, score)
    return {
      **entities,
      "num_words": words.counts(text),
      "words": words.dense(words.texts(text), text, ""),
      "word_labels": words.dense(tf.gather(self._labels, label), text, ""),
      "truncated": tf.zeros_like(text, tf.bool),
    }

  def widths(self) -> dict[str, dict[str, str]]:
    """As TextModule, and those of entities and words."""
    entities = ("entities", "entity_labels", "starts", "ends", "scores")
    words = dict.fromkeys(("words", "word_labels"), "num_words")
    found = {**dict.fromkeys(entities, "num_entities"), **words}
    return {**super().widths(), "serving_default": found}

  def window_counts(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> tf.Tensor:
    """As TextModule; a second text is not read."""
    lengths = first.row_lengths()
    longest = self.text.max_seq_length
    return window_counts(lengths, tf.ones_like(lengths), longest, self._doc_stride)

  def _probabilities(self, ids: tf.RaggedTensor) -> tf.Tensor:
    """Those of all pieces' labels, float32 [P, L], each from the window with most context."""
    before = tf.ones_like(ids.row_lengths())  # [CLS]
    windows = cut_windows(ids.row_splits, before, self.text.max_seq_length, self._doc_stride)
    pieces = tf.ragged.range(windows.start, windows.start + windows.length)
    pieces = pieces.with_flat_values(tf.gather(ids.flat_values, pieces.flat_values))
    features = self.packer(pieces, pieces[:, :0])
    count = int(self._labels.shape[0])
    found = in_chunks(self.answer_text, features, {"probabilities": (count,)})["probabilities"]
    shown = tf.RaggedTensor.from_tensor(found[:, 1:], lengths=windows.length).flat_values
    # Window by window, and of each only what no other shows better: the order of the pieces.
    return tf.boolean_mask(shown, windows.max_context.flat_values)

  def answers_to_words(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
    """The labels of words as they are, whatever characters they are of: run_ner.py's answers.

    Args: `words`, string [B, W], "" where a text has none.

    Returns:
      `word_labels`, string [B, W], "" where there is no word; `scores`, float32 [B, W], their
      probabilities. A word without any piece is outside.
    """
    flat = tf.reshape(words, [-1])
    pieces = self.tokenize(flat)  # [B * W, (pieces)]
    width = tf.shape(words, tf.int64)[1]
    texts = tf.range(tf.shape(words, tf.int64)[0] + 1) * width
    splits = tf.gather(pieces.row_splits, texts)
    ids = tf.RaggedTensor.from_row_splits(pieces.flat_values, splits, validate=False)
    found = self._probabilities(ids)  # [P, L]
    # A row behind the last, for words without pieces.
    found = tf.concat([found, tf.zeros([1, tf.shape(found)[1]])], axis=0)
    read = pieces.row_lengths() > 0
    best = tf.gather(found, tf.where(read, pieces.row_starts(), tf.shape(found, tf.int64)[0] - 1))
    label = tf.gather(self._labels, tf.argmax(best, axis=-1))
    score = tf.reduce_max(best, axis=-1)
    is_word = flat != ""
    label = tf.where(read, label, tf.where(is_word, OUTSIDE, ""))
    score = tf.where(read, score, tf.cast(is_word, tf.float32))
    shape = tf.shape(words)
    return {"word_labels": tf.reshape(label, shape), "scores": tf.reshape(score, shape)}

  def signatures(self, pairs: bool = False) -> Signatures:
    """As TextModule, and `words`, see `answers_to_words`."""
    spec = {"words": tf.TensorSpec([None, None], tf.string, name="words")}
    of_words = concrete(lambda words: self.answers_to_words(words), spec)
    return {**super().signatures(pairs), "words": of_words}

  def _first_pieces(self, ids, starts, ends, row, ideograph) -> tf.Tensor:
    """Whether each piece is the first of a word, bool [pieces]."""
    attached = (starts == _before(ends, -1)) & (row == _before(row, -1))
    attached &= ~ideograph & ~_before(ideograph, False)
    attached |= tf.gather(self._continues, ids)
    chunk = tf.cumsum(tf.cast(~attached, tf.int32)) - 1
    place = tf.range(tf.size(ids))
    letters = ~tf.gather(self._is_punctuation, ids)
    nowhere = tf.size(ids)
    left = tf.math.segment_min(tf.where(letters, place, nowhere), chunk)
    right = tf.math.segment_max(tf.where(letters, place, -1), chunk)
    left, right = tf.gather(left, chunk), tf.gather(right, chunk)
    return (place <= left) | (place > right)

  def _entities(self, text, words: _Groups, label, score) -> dict[str, tf.Tensor]:
    kind = tf.gather(self._types, label)
    inside = kind != OUTSIDE
    begins = inside & (
      tf.gather(self._begins, label)
      | (kind != _before(kind, OUTSIDE))
      | (words.row != _before(words.row, -1))
      | _before(tf.gather(self._ends, label), False)
    )
    place = tf.where(inside)[:, 0]
    row, starts, ends = (tf.gather(x, place) for x in (words.row, words.starts, words.ends))
    entities = _Groups(tf.gather(begins, place), row, starts, ends)
    scores = tf.math.segment_mean(tf.gather(score, place), entities.group)
    labels = tf.gather(tf.gather(kind, place), entities.first)
    return {
      "entities": entities.dense(entities.texts(text), text, ""),
      "entity_labels": entities.dense(labels, text, ""),
      "starts": entities.dense(entities.starts, text, -1),
      "ends": entities.dense(entities.ends, text, -1),
      "scores": entities.dense(scores, text, 0.0),
      "num_entities": entities.counts(text),
    }


class _Groups:
  """Runs of neighbours in a flat row, each begun where `begins` says; the first one begins."""

  def __init__(self, begins: tf.Tensor, row: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor):
    self.first = tf.where(begins)[:, 0]
    self.group = tf.cumsum(tf.cast(begins, tf.int32)) - 1
    self.row = tf.gather(row, self.first)
    self.starts = tf.gather(starts, self.first)
    self.ends = tf.math.segment_max(ends, self.group)

  def texts(self, text: tf.Tensor) -> tf.Tensor:
    """The parts of `text`, string [B], that the groups cover."""
    sources = tf.gather(text, self.row)
    return tf.strings.substr(sources, self.starts, self.ends - self.starts, unit="UTF8_CHAR")

  def counts(self, text: tf.Tensor) -> tf.Tensor:
    """How many groups each text has, int32 [B]."""
    rows = tf.size(text)
    return tf.math.bincount(tf.cast(self.row, tf.int32), minlength=rows, maxlength=rows)

  def dense(self, values: tf.Tensor, text: tf.Tensor, padding) -> tf.Tensor:
    """Values of the groups by text, [B, most groups of a text]."""
    rows = tf.size(text, tf.int64)
    ragged = tf.RaggedTensor.from_value_rowids(values, self.row, nrows=rows, validate=False)
    return ragged.to_tensor(padding)


def _starts_with_ideograph(text: tf.Tensor, row: tf.Tensor, starts: tf.Tensor) -> tf.Tensor:
  """Whether the character at `starts[i]` of `text[row[i]]` is a word by itself, bool [pieces]."""
  decoded = tf.strings.unicode_decode(text, "UTF-8")
  places = tf.gather(decoded.row_splits, row) + tf.cast(starts, tf.int64)
  chars = tf.gather(decoded.flat_values, places)[:, tf.newaxis]
  first, last = (tf.constant(column) for column in zip(*CHINESE_BLOCKS, strict=True))
  return tf.reduce_any((first <= chars) & (chars <= last), axis=1)


def _before(values: tf.Tensor, first) -> tf.Tensor:
  """Every value's left neighbour."""
  return tf.concat([tf.constant([first], values.dtype), values[:-1]], axis=0)


def _parts(label: str) -> tuple[str, str]:
  """B-PER -> B, PER; a label without prefix is a type."""
  prefix, dash, entity = label.partition("-")
  return (prefix, entity) if dash and len(prefix) == 1 else ("", label)
