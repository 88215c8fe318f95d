"""Pretraining examples to serialized tf.Examples, faster than the general encoder.

Gives the bytes of `records.encode_example`; what does not vary between examples is prepared.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence


def varint(value: int) -> bytes:
  """A protocol buffer's variable-length form of a non-negative integer."""
  result = bytearray()
  while value >= 128:
    result.append(value & 127 | 128)
    value >>= 7
  result.append(value)
  return bytes(result)


_LENGTH_DELIMITED = 2
_FLOAT_LIST, _INT64_LIST = 2, 3  # field numbers in tensorflow.Feature


@functools.lru_cache(maxsize=1 << 14)
def _delimited(number: int, payload_length: int) -> bytes:
  """What stands before a payload of that length in field `number`."""
  return bytes([number << 3 | _LENGTH_DELIMITED]) + varint(payload_length)


@functools.lru_cache(maxsize=1 << 14)
def feature_prefix(name: str, kind: int, payload_length: int) -> bytes:
  """All that stands before the packed values of one feature in a serialized tf.Features.

  Args:
    name: of the feature.
    kind: 2 for floats, 3 for int64.
    payload_length: bytes of the packed values that follow.
  """
  values = _delimited(1, payload_length)
  feature = _delimited(kind, len(values) + payload_length) + values
  key = name.encode()
  key = _delimited(1, len(key)) + key
  entry = key + _delimited(2, len(feature) + payload_length) + feature
  return _delimited(1, len(entry) + payload_length) + entry


def _feature(name: str, kind: int, payload: bytes) -> bytes:
  """A whole feature, kind as for `feature_prefix`."""
  return feature_prefix(name, kind, len(payload)) + payload


def _int64(name: str, payload: bytes) -> bytes:
  return _feature(name, _INT64_LIST, payload)


class PretrainingEncoder:
  """Encodes examples of `records.pretraining(max_seq_length, max_predictions_per_seq)`.

  Features stand in the order of their names; those that depend on a length alone are kept.
  """

  def __init__(self, max_seq_length: int, max_predictions_per_seq: int, vocab_size: int):
    self._length = max_seq_length
    self._predictions = max_predictions_per_seq
    self._varints = [varint(i) for i in range(max(vocab_size, max_seq_length, 2))]
    self._masks = [
      _int64("input_mask", b"\1" * n + b"\0" * (max_seq_length - n))
      for n in range(max_seq_length + 1)
    ]
    one, zero = struct.pack("<f", 1.0), struct.pack("<f", 0.0)
    self._weights = [
      _feature("masked_lm_weights", _FLOAT_LIST, one * n + zero * (max_predictions_per_seq - n))
      for n in range(max_predictions_per_seq + 1)
    ]
    self._labels = [_int64("next_sentence_labels", bytes([label])) for label in (0, 1)]
    self._segment_prefix = feature_prefix("segment_ids", _INT64_LIST, max_seq_length)

  def encode(
    self,
    ids: Sequence[int],
    num_a: int,
    positions: Sequence[int],
    labels: Sequence[int],
    is_random_next: bool,
  ) -> bytes:
    """Serializes "[CLS] a [SEP] b [SEP]" with `num_a` pieces in `a`, padded with zeros.

    Args:
      ids: the masked sequence, at most `max_seq_length` of them.
      num_a: length of `a`.
      positions: of the predictions.
      labels: ids at the predictions.
      is_random_next: `b` does not follow `a`.
    """
    count = len(ids)
    lacking = self._predictions - len(positions)
    features = b"".join(
      (
        self._packed("input_ids", ids, self._length - count),
        self._masks[count],
        self._packed("masked_lm_ids", labels, lacking),
        self._packed("masked_lm_positions", positions, lacking),
        self._weights[len(positions)],
        self._labels[is_random_next],
        self._segment_prefix,
        self._segments(num_a, count),
      )
    )
    return _delimited(1, len(features)) + features

  def encode_unmasked(
    self,
    ids: Sequence[int],
    num_a: int,
    is_random_next: bool,
    continues: Sequence[int] | None = None,
  ) -> bytes:
    """Serializes a whole sequence (`records.unmasked_pretraining(max_seq_length, words)`).

    `continues`, 0 or 1 for every piece, says which go on with a word, where that is known.
    """
    count = len(ids)
    features = b"".join(
      (
        self._packed("input_ids", ids, self._length - count),
        self._masks[count],
        self._labels[is_random_next],
        self._segment_prefix,
        self._segments(num_a, count),
        self._packed("word_continues", continues, self._length - count) if continues else b"",
      )
    )
    return _delimited(1, len(features)) + features

  def _segments(self, num_a: int, count: int) -> bytes:
    num_first = num_a + 2
    return b"\0" * num_first + b"\1" * (count - num_first) + b"\0" * (self._length - count)

  def _packed(self, name: str, values: Sequence[int], num_zeros: int) -> bytes:
    payload = b"".join(map(self._varints.__getitem__, values)) + b"\0" * num_zeros
    return feature_prefix(name, _INT64_LIST, len(payload)) + payload
