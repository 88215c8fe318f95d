"""From ragged token ids to the encoder's inputs, inside the graph.

B texts of a batch, S length of the batch's longest sequence. The sequences are those that
run_classifier.py trained on: [CLS] A [SEP], or [CLS] A [SEP] B [SEP].
"""

from __future__ import annotations

import tensorflow as tf

from bert_tf.config import BertConfig
from bert_tf.tasks.long_text import HEAD_TAIL, LongText, first_part


def truncated_lengths(
  length_a: tf.Tensor, length_b: tf.Tensor, room: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
  """How many tokens of two texts are kept when together they must fit in `room`.

  Equals taking the last token off the longer text, off the second one if they are equally long,
  until both fit (the original's `_truncate_seq_pair`): each text is owed half of the room, the
  first one the odd token, and gets more where the other needs less.

  Args:
    length_a: int [B].
    length_b: int [B].
    room: int, scalar or [B].

  Returns:
    The two numbers, int [B].
  """
  half = room // 2
  keep_a = tf.minimum(length_a, tf.maximum(room - length_b, room - half))
  keep_b = tf.minimum(length_b, tf.maximum(room - length_a, half))
  return keep_a, keep_b


def head(rows: tf.RaggedTensor, keep: tf.Tensor) -> tf.RaggedTensor:
  """The first `keep[i]` values of every row i; keep: int64 [B], at most the row's length."""
  return _parts(rows, keep, keep)


def ends(rows: tf.RaggedTensor, keep: tf.Tensor) -> tf.RaggedTensor:
  """The first and the last values of every row, `keep[i]` in all (`long_text.ends`)."""
  return _parts(rows, keep, first_part(keep))


def _parts(rows: tf.RaggedTensor, keep: tf.Tensor, first: tf.Tensor) -> tf.RaggedTensor:
  """`keep[i]` values of every row i: `first[i]` at its beginning, the others at its end."""
  lengths = rows.row_lengths()
  positions = tf.ragged.range(lengths).flat_values
  rest = lengths - (keep - first)
  kept = (positions < tf.repeat(first, lengths)) | (positions >= tf.repeat(rest, lengths))
  return tf.RaggedTensor.from_row_lengths(
    tf.boolean_mask(rows.flat_values, kept), keep, validate=False
  )


class SequencePacker:
  """Joins one or two texts with the special tokens and pads the batch."""

  def __init__(
    self,
    cls_id: int,
    sep_id: int,
    max_seq_length: int,
    static_length: bool = False,
    long_text: LongText | None = None,
  ):
    long_text = long_text or LongText()
    self._cls_id = cls_id
    self._sep_id = sep_id
    self._most_ids = long_text.most_ids(max_seq_length)
    self._static_length = static_length
    self._cut = ends if long_text.long_text == HEAD_TAIL else head

  def __call__(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> dict[str, tf.Tensor]:
    """Packs a batch.

    Args:
      first: int32 [B, (tokens)].
      second: int32 [B, (tokens)]; a row without tokens means that there is no second text.

    Returns:
      `input_ids`, `input_mask` and `segment_ids`, int32 [B, S].
    """
    keep_a, keep_b = self._kept(first, second)
    has_b = tf.cast(second.row_lengths() > 0, tf.int64)
    rows = tf.ones_like(keep_a)
    sequence = tf.concat(
      [
        self._special(self._cls_id, rows),
        self._cut(first, keep_a),
        self._special(self._sep_id, rows),
        self._cut(second, keep_b),
        self._special(self._sep_id, has_b),
      ],
      axis=1,
    )
    return self._pad(sequence, first_segment=keep_a + 2)

  def truncated(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> tf.Tensor:
    """Whether a text loses tokens, bool [B]; Args as of a call."""
    keep_a, keep_b = self._kept(first, second)
    return keep_a + keep_b < first.row_lengths() + second.row_lengths()

  def _kept(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How many tokens of both are kept, int64 [B]."""
    length_a, length_b = first.row_lengths(), second.row_lengths()
    has_b = tf.cast(length_b > 0, tf.int64)
    return truncated_lengths(length_a, length_b, self._most_ids - 2 - has_b)

  def _special(self, token_id: int, counts: tf.Tensor) -> tf.RaggedTensor:
    ids = tf.fill([tf.reduce_sum(counts)], tf.constant(token_id, tf.int32))
    return tf.RaggedTensor.from_row_lengths(ids, counts, validate=False)

  def _pad(self, sequence: tf.RaggedTensor, first_segment: tf.Tensor) -> dict[str, tf.Tensor]:
    lengths = sequence.row_lengths()
    if self._static_length:
      width = tf.constant(self._most_ids, tf.int64)
    else:
      # An empty batch has no longest row; one column keeps the graph's later reshapes valid.
      width = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
    input_ids = sequence.to_tensor(shape=tf.stack([-1, width]))
    input_mask = tf.sequence_mask(lengths, width, tf.int32)
    segment_ids = input_mask - tf.sequence_mask(first_segment, width, tf.int32)
    features = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
    static = self._most_ids if self._static_length else None
    return {name: tf.ensure_shape(value, [None, static]) for name, value in features.items()}


def parse_examples(examples: tf.Tensor, length: int | None = None) -> dict[str, tf.Tensor]:
  """Reads serialized tf.Examples with the original's features.

  Args:
    examples: string [B]; each holds int64 lists `input_ids`, `input_mask` and `segment_ids`;
      other features, such as labels, are ignored.
    length: S, where the model takes one length only; default: that of the longest sequence.

  Returns:
    The three, int32 [B, S]: columns that are padding in every row are taken off, or put to it.
  """
  spec = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
  names = ("input_ids", "input_mask", "segment_ids")
  parsed = tf.io.parse_example(examples, dict.fromkeys(names, spec))
  mask = parsed["input_mask"]
  places = tf.where(mask > 0, tf.range(tf.shape(mask)[1]) + 1, 0)
  # An empty batch has no longest row; one column keeps the graph's later reshapes valid.
  used = tf.reduce_max(tf.concat([tf.reshape(places, [-1]), [1]], axis=0))
  checks = [
    tf.debugging.assert_less_equal(
      tf.where(tf.size(examples) > 0, used, 0), tf.shape(parsed[name])[1],
      f"{name} must have the shape of input_mask",
    )
    for name in names
  ]  # fmt: skip
  if length is not None:
    message = f"examples must have up to {length} ids"
    checks.append(tf.debugging.assert_less_equal(used, length, message))
  with tf.control_dependencies(checks):
    used = tf.identity(used if length is None else length)
  return {name: _of_width(tf.cast(parsed[name], tf.int32), used, length) for name in names}


def _of_width(rows: tf.Tensor, width: tf.Tensor, static: int | None) -> tf.Tensor:
  """Cuts columns off, or adds columns of zeros, up to `width`."""
  rows = rows[:, :width]
  rows = tf.pad(rows, [[0, 0], [0, width - tf.shape(rows)[1]]])
  return tf.ensure_shape(rows, [None, static])


def checked_features(
  features: dict[str, tf.Tensor], config: BertConfig, longest: int | None = None
) -> dict[str, tf.Tensor]:
  """Passes on ids from outside that the model can take; refuses others when the graph runs.

  Rows have up to `longest` ids, as many as the model has positions by default.

  Without this, what the lookups do with a wrong id depends on the device: an error on a CPU,
  zeros on a GPU.
  """
  ids, mask, segments = (features[n] for n in ("input_ids", "input_mask", "segment_ids"))
  shape = tf.shape(ids)
  limits = (
    (ids, "input_ids", config.vocab_size),
    (segments, "segment_ids", config.type_vocab_size),
  )
  checks = [
    tf.debugging.assert_equal(tf.shape(x), shape, f"{name} must have the shape of input_ids")
    for x, name in ((mask, "input_mask"), (segments, "segment_ids"))
  ]
  for values, name, limit in (*limits, (mask, "input_mask", 2)):
    message = f"{name} must be from 0 to {limit - 1}"
    checks.append(tf.debugging.assert_non_negative(values, message))
    checks.append(tf.debugging.assert_less(values, limit, message))
  longest = longest or config.max_position_embeddings
  checks.append(
    tf.debugging.assert_less_equal(shape[1], longest, f"sequences must have up to {longest} ids")
  )
  checks.append(tf.debugging.assert_positive(shape[1], "sequences must have at least one id"))
  with tf.control_dependencies(checks):
    return {"input_ids": tf.identity(ids), "input_mask": mask, "segment_ids": segments}
