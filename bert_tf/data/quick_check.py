"""A fast look at the integers of every record: are there as many as there should be, all in range?

On GPUs an id beyond the vocabulary reads zeros and nothing complains, so all records are looked at
before training. Values are not decoded one by one: of a serialized tf.Example only the packed bytes
of each list are found, and those of many records are compared together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from bert_tf.data.instance_encoding import varint
from bert_tf.data.records import FeatureSpec, Field

# Lengths of Feature and Int64List, then the length of the packed values (tensorflow/core/example).
_VARINT = rb"[\x80-\xff]*[\0-\x7f]"
_packed_list = re.compile(rb"%b\x1a%b\n(%b)" % (_VARINT, _VARINT, _VARINT), re.DOTALL).match
# Bytes that other bytes of the same value follow.
_NOT_LAST = bytes(range(128, 256))
# Values below 2^28; nothing here counts further.
_MOST_VALUE_BYTES = 4


class QuickCheck:
  """Finds the records that must be looked at closely; all others are sound."""

  def __init__(self, spec: FeatureSpec, limits: Mapping[str, int], forbidden: str | None = None):
    """Args.

    spec: what a record must hold; lists of floats are not looked at.
    limits: what "vocab_size" and the like stand for, see `records.Field`.
    forbidden: the name of a feature that a record must not have.
    """
    self._fields = [
      _List(name, field, limits) for name, field in spec.items() if field.kind == "int64"
    ]
    self._forbidden = forbidden and _key(forbidden)

  def suspects(self, records: Sequence[bytes]) -> list[int]:
    """Indexes, in order, of the records that are not plainly sound."""
    found = {i for i, data in enumerate(records) if self._forbidden and self._forbidden in data}
    for field in self._fields:
      found.update(field.suspects(records))
    return sorted(found)


class _List:
  """One list of integers in every record."""

  def __init__(self, name: str, field: Field, limits: Mapping[str, int]):
    self._key = _key(name) + b"\x12"
    self._size = field.size
    below = limits.get(field.below) if isinstance(field.below, str) else field.below
    self._below = below
    # Values of one byte each can be compared as text.
    self._allowed = bytes(range(below)) if below is not None and below <= 128 else None

  def suspects(self, records: Sequence[bytes]) -> list[int]:
    """Indexes of records without this list, with another number of values, or one out of range."""
    found, places, payloads = [], [], []
    for index, data in enumerate(records):
      payload = self._payload(data)
      if payload is None:
        found.append(index)
      elif self._allowed is not None:
        if len(payload) != self._size or payload.translate(None, self._allowed):
          found.append(index)
      elif len(payload.translate(None, _NOT_LAST)) != self._size:
        found.append(index)
      else:
        places.append(index)
        payloads.append(payload)
    if payloads and self._below is not None:
      wrong = _at_least(b"".join(payloads), self._below)
      found += [places[number] for number in {index // self._size for index in wrong}]
    return found

  def _payload(self, data: bytes) -> bytes | None:
    """The packed values; None if they are not where they should be, or twice."""
    start = data.find(self._key)
    if start < 0 or data.find(self._key, start + 1) >= 0:
      return None
    match = _packed_list(data, start + len(self._key))
    if match is None:
      return None
    length = 0
    for byte in reversed(match[1]):
      length = length << 7 | byte & 127
    payload = data[match.end() : match.end() + length]
    complete = len(payload) == length and (not length or payload[-1] < 128)
    return payload if complete else None


def _key(name: str) -> bytes:
  """How a map's entry with this key begins."""
  return b"\n" + varint(len(name)) + name.encode()


def _at_least(packed: bytes, below: int) -> list[int]:
  """Which of the packed values are not in [0, below)."""
  data = np.frombuffer(packed, np.uint8)
  ends = np.flatnonzero(data < 128)
  sizes = np.diff(ends, prepend=-1)
  values = data[ends].astype(np.int32)
  for size in range(2, _MOST_VALUE_BYTES + 1):
    longer = np.flatnonzero(sizes >= size)
    if not len(longer):
      break
    values[longer] = values[longer] << 7 | (data[ends[longer] - (size - 1)] & 127)
  # Negative numbers take ten bytes.
  return np.flatnonzero((values >= below) | (sizes > _MOST_VALUE_BYTES)).tolist()
