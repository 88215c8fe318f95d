"""TFRecord files of tf.Examples, written and read without TensorFlow.

One table of fields per task (`FeatureSpec`) serves the writers here and the readers in
`pipelines.py`.  The names, types and lengths are those of google-research/bert, so records
written by either are read by the other.

A TFRecord file is a run of records, each
    uint64 length | uint32 masked crc32c(length) | data | uint32 masked crc32c(data)
in little-endian order (tensorflow/core/lib/io/record_writer.h).  A name that ends in `.gz` stands
for the same bytes under gzip.

This module starts in 0.05 s where TensorFlow needs more than 5 s, so that creating and checking
records costs no more than the work itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import os
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Literal

import google_crc32c

from bert_tf.errors import UserError
from bert_tf.files import GZIP_MAGIC, atomic_writer

GZIP_SUFFIX = ".gz"
# The label of a piece that has none, as Hugging Face has it.
NO_LABEL = -100


@dataclasses.dataclass(frozen=True)
class Field:
  """One named list of numbers in every record.

  Attributes:
    kind: "int64" or "float", the list type in the tf.Example.
    length: how many numbers; None is one number that is read as a scalar.
    below: values are in [0, below); "vocab_size" and "type_vocab_size" stand for what the model
      has; None: anything goes.
    per_piece: one number for every piece, so that padding may be cut off. A list that happens to
      be as long as the sequence, such as one of several labels, is not that.
    varies: whether a record holds as many as it needs, up to `length`; a batch is padded to its
      longest.
  """

  kind: Literal["int64", "float"]
  length: int | None
  below: int | Literal["vocab_size", "type_vocab_size"] | None = None
  per_piece: bool = False
  varies: bool = False

  @property
  def size(self) -> int:
    """How many numbers a record holds."""
    return 1 if self.length is None else self.length


FeatureSpec = Mapping[str, Field]


def _sequence(max_seq_length: int, varies: bool = False) -> dict[str, Field]:
  """What every task feeds to the encoder."""
  return {
    "input_ids": Field("int64", max_seq_length, "vocab_size", True, varies),
    "input_mask": Field("int64", max_seq_length, 2, True, varies),
    "segment_ids": Field("int64", max_seq_length, "type_vocab_size", True, varies),
  }


def pretraining(max_seq_length: int, max_predictions_per_seq: int) -> FeatureSpec:
  """Records of create_pretraining_data.py; padded predictions have weight 0."""
  return {
    **_sequence(max_seq_length),
    "masked_lm_positions": Field("int64", max_predictions_per_seq, max_seq_length),
    "masked_lm_ids": Field("int64", max_predictions_per_seq, "vocab_size"),
    "masked_lm_weights": Field("float", max_predictions_per_seq),
    "next_sentence_labels": Field("int64", 1, 2),
  }


def unmasked_pretraining(max_seq_length: int, words: bool = False) -> FeatureSpec:
  """Whole sequences, to be masked anew in every epoch (`bert_tf.data.dynamic_masking`).

  With `words`, `word_continues` says which pieces go on with a word, in text without spaces.
  """
  spec = {**_sequence(max_seq_length), "next_sentence_labels": Field("int64", 1, 2)}
  if words:
    spec["word_continues"] = Field("int64", max_seq_length, 2)
  return spec


def classification(
  max_seq_length: int, *, regression: bool = False, varies: bool = False
) -> FeatureSpec:
  """Records of run_classifier.py; the label of a regression task is one float.

  Args: `varies`, whether records are documents of up to `max_seq_length` ids, without padding.
  """
  label = Field("float", None) if regression else Field("int64", None)
  return {
    **_sequence(max_seq_length, varies),
    "label_ids": label,
    "is_real_example": Field("int64", None, 2),
  }


def squad(max_seq_length: int, *, is_training: bool) -> FeatureSpec:
  """Records of run_squad.py; only training records know the answer."""
  spec = {"unique_ids": Field("int64", None), **_sequence(max_seq_length)}
  if is_training:
    spec["start_positions"] = Field("int64", None, max_seq_length)
    spec["end_positions"] = Field("int64", None, max_seq_length)
    spec["is_impossible"] = Field("int64", None, 2)
  return spec


def token_labelling(max_seq_length: int) -> FeatureSpec:
  """One label for every piece; pieces without one (continuations, padding) carry NO_LABEL."""
  return {
    **_sequence(max_seq_length),
    "label_ids": Field("int64", max_seq_length, per_piece=True),
    "is_real_example": Field("int64", None, 2),
  }


@functools.cache
def _example_class() -> Any:
  """The message class of tensorflow.Example, described here to do without TensorFlow.

  tensorflow/core/example/{example,feature}.proto, in a descriptor pool of its own so that the
  real one can be loaded beside it.
  """
  from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

  kinds = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(
    name="bert_tf/example.proto", package="tensorflow", syntax="proto3"
  )

  def message(parent: Any, name: str, *fields: tuple[str, int, Any]) -> Any:
    """Adds a message; a field is (name, label, scalar type or name of a message)."""
    result = parent.add(name=name)
    for number, (field_name, label, kind) in enumerate(fields, start=1):
      if isinstance(kind, str):
        result.field.add(
          name=field_name, number=number, label=label, type=kinds.TYPE_MESSAGE, type_name=kind
        )
      else:
        result.field.add(name=field_name, number=number, label=label, type=kind)
    return result

  one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
  message(file.message_type, "BytesList", ("value", many, kinds.TYPE_BYTES))
  message(file.message_type, "FloatList", ("value", many, kinds.TYPE_FLOAT))
  message(file.message_type, "Int64List", ("value", many, kinds.TYPE_INT64))
  feature = message(
    file.message_type,
    "Feature",
    ("bytes_list", one, ".tensorflow.BytesList"),
    ("float_list", one, ".tensorflow.FloatList"),
    ("int64_list", one, ".tensorflow.Int64List"),
  )
  feature.oneof_decl.add(name="kind")
  for field in feature.field:
    field.oneof_index = 0
  features = message(
    file.message_type, "Features", ("feature", many, ".tensorflow.Features.FeatureEntry")
  )
  entry = message(
    features.nested_type,
    "FeatureEntry",
    ("key", one, kinds.TYPE_STRING),
    ("value", one, ".tensorflow.Feature"),
  )
  entry.options.map_entry = True
  message(file.message_type, "Example", ("features", one, ".tensorflow.Features"))
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def encode_example(features: Mapping[str, Sequence[int] | Sequence[float]]) -> bytes:
  """Serializes one tf.Example; equal features give equal bytes (names are sorted).

  Args:
    features: lists of int (stored as int64) or of float (stored as float32); an empty list is
      stored as int64.
  """
  example = _example_class()()
  feature = example.features.feature
  for name, values in features.items():
    if len(values) and isinstance(values[0], float):
      feature[name].float_list.value.extend(values)
    else:
      feature[name].int64_list.value.extend(values)
  return example.SerializeToString(deterministic=True)


def decode_example(data: bytes) -> dict[str, list]:
  """Lists of int, float or bytes by name; raises ValueError if `data` is no tf.Example."""
  from google.protobuf.message import DecodeError

  example = _example_class()()
  try:
    example.ParseFromString(data)
  except DecodeError as error:
    raise ValueError(f"expected a serialized tf.Example, found {len(data)} other bytes") from error
  result = {}
  for name, feature in sorted(example.features.feature.items()):
    kind = feature.WhichOneof("kind")
    result[name] = list(getattr(feature, kind).value) if kind else []
  return result


def masked_crc32c(data: bytes) -> int:
  """The rotated and shifted checksum that guards every length and every record."""
  crc = google_crc32c.value(data)
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MOST_BYTES = (1 << 31) - 1
_PORTION = 1 << 24


@functools.lru_cache(maxsize=65536)
def _header(length: int) -> bytes:
  """Length and its checksum; records of one file have few different lengths."""
  data = _LENGTH.pack(length)
  return data + _CRC.pack(masked_crc32c(data))


def frame(data: bytes) -> bytes:
  """`data` as one record of a TFRecord file."""
  return b"".join((_header(len(data)), data, _CRC.pack(masked_crc32c(data))))


class RecordWriter:
  """Writes a TFRecord file that appears under its name only when the `with` block ends well.

  A name that ends in `.gz` is compressed; the bytes depend on the records alone.

  Raises:
    UserError: the file cannot be created, or the disk is full.
  """

  def __init__(self, path: str | os.PathLike[str]):
    self.path = os.fspath(path)
    self.num_written = 0
    self._atomic = atomic_writer(self.path, "wb")
    self._gzip: gzip.GzipFile | None = None
    self._raw: IO[bytes]
    self._file: IO[bytes] | gzip.GzipFile

  def __enter__(self) -> RecordWriter:
    self._file = self._raw = self._atomic.__enter__()
    if self.path.endswith(GZIP_SUFFIX):
      self._gzip = gzip.GzipFile(
        filename="", mode="wb", compresslevel=6, fileobj=self._raw, mtime=0
      )
      self._file = self._gzip
    return self

  def write(self, data: bytes) -> None:
    """Appends one record."""
    self._file.write(frame(data))
    self.num_written += 1

  def __exit__(self, *exception: Any) -> None:
    failure = exception
    try:
      if not exception[0]:
        self.complete()
      elif self._gzip:
        # Where it is not closed before its file is, it prints a traceback when it is forgotten.
        with contextlib.suppress(OSError):
          self._gzip.close()
    except OSError:
      failure = sys.exc_info()
    # Raises a UserError for a full disk.
    self._atomic.__exit__(*failure)
    if failure is not exception:
      raise failure[1]

  def complete(self) -> None:
    """Writes what is held back, for which there may be no room; no record may follow."""
    if self._gzip:
      self._gzip.close()
    self._raw.flush()


def read_records(path: str | os.PathLike[str]) -> Iterator[bytes]:
  """Yields the records of a TFRecord file (gzip if it ends in `.gz`), checking every checksum.

  Raises:
    UserError: names file and number (the first is 1) of a truncated or corrupt record.
  """
  path = os.fspath(path)
  number = 1
  try:
    with gzip.open(path, "rb") if path.endswith(GZIP_SUFFIX) else open(path, "rb") as file:
      while header := file.read(12):
        yield _read_record(file, header, f"{path}, record {number}")
        number += 1
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise UserError(
      f"{path}, record {number}: expected gzip data, found {error}; write or copy the file again"
    ) from error
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error


def _read_exactly(file: IO[bytes] | gzip.GzipFile, length: int) -> bytes:
  """Reads `length` bytes or what there is, and asks for no more memory than that takes."""
  data = file.read(min(length, _PORTION))
  if len(data) < min(length, _PORTION) or len(data) == length:
    return data
  portions = [data]
  while length := length - len(portions[-1]):
    if not (data := file.read(min(length, _PORTION))):
      break
    portions.append(data)
  return b"".join(portions)


def _read_record(file: IO[bytes] | gzip.GzipFile, header: bytes, where: str) -> bytes:
  """Reads what follows `header`.

  A length is believed only as far as there is data, whatever its checksum says: it is no secret how
  to make one.
  """
  if len(header) < 12:
    raise UserError(
      f"{where}: truncated after {len(header)} of 12 header bytes; write or copy the file again"
    )
  if _CRC.unpack_from(header, 8)[0] != masked_crc32c(header[:8]):
    if header.startswith(GZIP_MAGIC):
      raise UserError(
        f"{where}: expected a TFRecord file, found gzip data; give it a name that ends in .gz"
      )
    raise UserError(
      f"{where}: corrupt (checksum of the length differs), or the file is no TFRecord file; "
      "write or copy it again"
    )
  length = _LENGTH.unpack_from(header)[0]
  if length > _MOST_BYTES:
    raise UserError(
      f"{where}: expected at most {_MOST_BYTES} bytes (2 GiB, as of any protocol buffer), found a "
      f"length of {length}; write or copy the file again"
    )
  data = _read_exactly(file, length)
  crc = file.read(4)
  if len(data) < length or len(crc) < 4:
    raise UserError(
      f"{where}: truncated, expected {length + 4} more bytes, found {len(data) + len(crc)}; "
      "write or copy the file again"
    )
  if _CRC.unpack(crc)[0] != masked_crc32c(data):
    raise UserError(
      f"{where}: corrupt (checksum of the data differs); write or copy the file again"
    )
  return data
