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


def _delimited(number: int, payload_length: int) -> bytes:
  """What stands before a payload of that length in field `number`."""
  return bytes([number << 3 | _LENGTH_DELIMITED]) + varint(payload_length)


@functools.lru_cache(maxsize=4096)
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


def _serialize(payloads: Sequence[tuple[str, int, bytes]]) -> bytes:
  """A tf.Example from (name, kind, packed values), in the order of the names."""
  parts: list[bytes] = []
  for name, kind, payload in payloads:
    parts += feature_prefix(name, kind, len(payload)), payload
  features = b"".join(parts)
  return _delimited(1, len(features)) + features


class PretrainingEncoder:
  """Encodes examples of `records.pretraining(max_seq_length, max_predictions_per_seq)`."""

  def __init__(self, max_seq_length: int, max_predictions_per_seq: int, vocab_size: int):
    self._length = max_seq_length
    self._predictions = max_predictions_per_seq
    self._varints = [varint(i) for i in range(max(vocab_size, max_seq_length, 2))]
    self._one, self._zero = struct.pack("<f", 1.0), struct.pack("<f", 0.0)

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
    pad = self._length - len(ids)
    lacking = self._predictions - len(positions)
    num_first = num_a + 2
    weights = self._one * len(positions) + self._zero * lacking
    payloads = [  # In the order of their names.
      ("input_ids", _INT64_LIST, self._pack(ids, pad)),
      ("input_mask", _INT64_LIST, b"\1" * len(ids) + b"\0" * pad),
      ("masked_lm_ids", _INT64_LIST, self._pack(labels, lacking)),
      ("masked_lm_positions", _INT64_LIST, self._pack(positions, lacking)),
      ("masked_lm_weights", _FLOAT_LIST, weights),
      ("next_sentence_labels", _INT64_LIST, b"\1" if is_random_next else b"\0"),
      (
        "segment_ids",
        _INT64_LIST,
        b"\0" * num_first + b"\1" * (len(ids) - num_first) + b"\0" * pad,
      ),
    ]
    return _serialize(payloads)

  def encode_unmasked(self, ids: Sequence[int], num_a: int, is_random_next: bool) -> bytes:
    """Serializes a whole sequence (`records.unmasked_pretraining(max_seq_length)`)."""
    pad = self._length - len(ids)
    num_first = num_a + 2
    segments = b"\0" * num_first + b"\1" * (len(ids) - num_first) + b"\0" * pad
    payloads = [
      ("input_ids", _INT64_LIST, self._pack(ids, pad)),
      ("input_mask", _INT64_LIST, b"\1" * len(ids) + b"\0" * pad),
      ("next_sentence_labels", _INT64_LIST, b"\1" if is_random_next else b"\0"),
      ("segment_ids", _INT64_LIST, segments),
    ]
    return _serialize(payloads)

  def _pack(self, values: Sequence[int], num_zeros: int) -> bytes:
    return b"".join(map(self._varints.__getitem__, values)) + b"\0" * num_zeros
