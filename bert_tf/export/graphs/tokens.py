"""The graph of an exported token classifier: named entities with their places in the text.

B texts in a batch, S tokens of the longest one, L labels, E entities of the text with most.
Pieces, words and entities of all texts lie in flat rows in the order of the text; `row` says
which text each belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from bert_tf.export.graphs.text import TextModule
from bert_tf.export.graphs.text_inputs import head
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

  def __init__(self, model: keras.Model, text: TextOptions, labels: Sequence[str]):
    """Args: as TextModule; `labels`, such as O, B-PER, I-PER, in the order of the outputs."""
    super().__init__(model, text)
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
      [B, E] from left to right; `num_entities`, int32 [B]; and for every word `words`,
      `word_labels`, [B, W]; `num_words`, int32 [B]. What is over the longest sequence is not
      labelled.
    """
    text = tf.strings.unicode_transcode(
      text, "UTF-8", "UTF-8", errors="ignore", replace_control_characters=False
    )
    ids, starts, ends = self.tokenizer.tokenize_with_offsets(text)
    keep = tf.minimum(ids.row_lengths(), self.text.max_seq_length - 2)
    ids, starts, ends = (head(x, keep) for x in (ids, starts, ends))
    probabilities = self.answer_text(self.packer(ids, ids[:, :0]))["probabilities"]
    probabilities = tf.RaggedTensor.from_tensor(probabilities[:, 1:], lengths=keep).flat_values
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
    }

  def widths(self) -> dict[str, dict[str, str]]:
    """As TextModule, and those of entities and words."""
    entities = ("entities", "entity_labels", "starts", "ends", "scores")
    words = dict.fromkeys(("words", "word_labels"), "num_words")
    found = {**dict.fromkeys(entities, "num_entities"), **words}
    return {**super().widths(), "serving_default": found}

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
