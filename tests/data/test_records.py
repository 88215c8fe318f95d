from __future__ import annotations

import gzip
import os
import resource
import struct
import tracemalloc

import pytest

from bert_tf.data import records
from bert_tf.errors import UserError

SPECS = {
  "pretraining": records.pretraining(16, 4),
  "unmasked_pretraining": records.unmasked_pretraining(16),
  "classification": records.classification(16),
  "regression": records.classification(16, regression=True),
  "squad_train": records.squad(16, is_training=True),
  "squad_predict": records.squad(16, is_training=False),
  "token_labelling": records.token_labelling(16),
}


def values(spec: records.FeatureSpec, start: int = 0) -> dict[str, list]:
  return {
    name: [(float if field.kind == "float" else int)(start + i) for i in range(field.size)]
    for name, field in spec.items()
  }


def write(path, examples) -> None:
  with records.RecordWriter(path) as writer:
    for example in examples:
      writer.write(records.encode_example(example))


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_written_records_are_read_by_tensorflow(tmp_path, name, suffix):
  import tensorflow as tf

  spec = SPECS[name]
  examples = [values(spec, start) for start in (0, 100, 30000)]
  path = str(tmp_path / f"data.tfrecord{suffix}")
  write(path, examples)
  features = {
    name: tf.io.FixedLenFeature(
      [] if field.length is None else [field.length],
      tf.int64 if field.kind == "int64" else tf.float32,
    )
    for name, field in spec.items()
  }
  dataset = tf.data.TFRecordDataset(path, compression_type="GZIP" if suffix else None)
  found = [tf.io.parse_single_example(data, features) for data in dataset]
  assert len(found) == len(examples)
  for parsed, example in zip(found, examples, strict=True):
    for key, expected in example.items():
      assert parsed[key].numpy().reshape(-1).tolist() == expected, key


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_records_of_tensorflow_are_read(tmp_path, suffix):
  import tensorflow as tf

  path = str(tmp_path / f"data.tfrecord{suffix}")
  example = tf.train.Example()
  example.features.feature["ids"].int64_list.value.extend([1, -1, 2**40])
  example.features.feature["weights"].float_list.value.extend([0.5, -2.0])
  example.features.feature["name"].bytes_list.value.extend([b"x"])
  example.features.feature["nothing"].SetInParent()
  options = tf.io.TFRecordOptions(compression_type="GZIP" if suffix else None)
  with tf.io.TFRecordWriter(path, options) as writer:
    for _ in range(3):
      writer.write(example.SerializeToString())
  decoded = [records.decode_example(data) for data in records.read_records(path)]
  assert (
    decoded == [{"ids": [1, -1, 2**40], "weights": [0.5, -2.0], "name": [b"x"], "nothing": []}] * 3
  )


def test_same_bytes_as_tensorflow_serializes_deterministically():
  import tensorflow as tf

  features = values(SPECS["pretraining"], 7)
  example = tf.train.Example()
  for name, numbers in features.items():
    kind = "float_list" if isinstance(numbers[0], float) else "int64_list"
    getattr(example.features.feature[name], kind).value.extend(numbers)
  assert records.encode_example(features) == example.SerializeToString(deterministic=True)
  backwards = dict(reversed(features.items()))
  assert records.encode_example(backwards) == records.encode_example(features)


def test_gzip_bytes_depend_on_records_only(tmp_path):
  for name in ("a.gz", "b.gz"):
    write(tmp_path / name, [{"x": [1, 2]}])
  assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_checksum_of_the_specification():
  # RFC 3720, B.4: crc32c of 32 zero bytes is 8a9136aa; the mask is record_writer.h's.
  crc = 0x8A9136AA
  expected = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
  assert records.masked_crc32c(bytes(32)) == expected


def test_nothing_is_left_when_writing_fails(tmp_path):
  path = tmp_path / "data.tfrecord.gz"
  with pytest.raises(RuntimeError), records.RecordWriter(path) as writer:
    writer.write(b"abc")
    raise RuntimeError
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 5, 11, 12, 13, -1, -5])
def test_truncated_file_is_named_with_its_record(tmp_path, cut):
  path = tmp_path / "data.tfrecord"
  write(path, [{"x": [1]}] * 3)
  whole = path.read_bytes()
  size = len(whole) // 3
  path.write_bytes(whole[: 2 * size + cut] if cut > 0 else whole[:cut])
  with pytest.raises(UserError, match=r"data\.tfrecord, record 3: truncated"):
    list(records.read_records(path))


@pytest.mark.parametrize("offset", [0, 9, 14, -2])
def test_corrupt_record_is_named(tmp_path, offset):
  path = tmp_path / "data.tfrecord"
  write(path, [{"x": [1]}] * 3)
  data = bytearray(path.read_bytes())
  size = len(data) // 3
  data[size + offset if offset >= 0 else 2 * size + offset] ^= 0x10
  path.write_bytes(data)
  with pytest.raises(UserError, match=r"data\.tfrecord, record 2: corrupt"):
    list(records.read_records(path))


def test_huge_length_is_not_believed(tmp_path):
  path = tmp_path / "data.tfrecord"
  path.write_bytes(struct.pack("<Q", 2**60) + bytes(4))
  with pytest.raises(UserError, match="record 1: corrupt"):
    list(records.read_records(path))


@pytest.mark.parametrize("length", [2**31, 2**60, 2**63, 2**64 - 1])
@pytest.mark.parametrize("name", ["data.tfrecord", "data.tfrecord.gz"])
def test_absurd_lengths_with_a_true_checksum_are_refused(tmp_path, name, length):
  path = tmp_path / name
  header = struct.pack("<Q", length)
  header += struct.pack("<I", records.masked_crc32c(header))
  data = records.frame(b"first") + header + bytes(1000)
  path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
  with pytest.raises(UserError, match=f"record 2: expected at most .* a length of {length};"):
    list(records.read_records(path))


@pytest.mark.parametrize("name", ["data.tfrecord", "data.tfrecord.gz"])
def test_a_length_beyond_the_data_takes_no_memory(tmp_path, name):
  path = tmp_path / name
  header = struct.pack("<Q", 2**31 - 1)
  header += struct.pack("<I", records.masked_crc32c(header))
  data = header + bytes(1000)
  path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
  tracemalloc.start()
  try:
    with pytest.raises(UserError, match=r"record 1: truncated, expected 2147483651 more bytes"):
      list(records.read_records(path))
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
  finally:
    tracemalloc.stop()


def test_long_records_are_read_whole(tmp_path):
  path = tmp_path / "data.tfrecord.gz"
  data = bytes(range(256)) * 200_000
  with records.RecordWriter(path) as writer:
    writer.write(data)
    writer.write(b"x")
  assert list(records.read_records(path)) == [data, b"x"]


def test_gzip_under_another_name_is_recognized(tmp_path):
  write(tmp_path / "data.gz", [{"x": [1]}] * 3)
  (tmp_path / "data.gz").rename(tmp_path / "data.tfrecord")
  with pytest.raises(UserError, match=r"found gzip data; give it a name that ends in \.gz"):
    list(records.read_records(tmp_path / "data.tfrecord"))


@pytest.mark.parametrize("name", ["data.tfrecord", "data.tfrecord.gz"])
@pytest.mark.parametrize("count", [1, 100])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, name, count):
  """The last bytes are written when the file is closed; those of gzip by its own close."""
  old = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
  try:
    with (
      pytest.raises(UserError, match=r"cannot write .*data\.tfrecord"),
      records.RecordWriter(tmp_path / name) as writer,
    ):
      for _ in range(count):
        writer.write(os.urandom(2000))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
  assert list(tmp_path.iterdir()) == []


def test_text_is_no_record_file(tmp_path):
  path = tmp_path / "corpus.txt"
  path.write_text("This is a sentence of an ordinary text.\n")
  with pytest.raises(UserError, match="no TFRecord file"):
    list(records.read_records(path))


def test_bad_gzip_is_named(tmp_path):
  path = tmp_path / "data.gz"
  write(path, [{"x": list(range(500))}] * 50)
  path.write_bytes(path.read_bytes()[:-30])
  with pytest.raises(UserError, match=r"data\.gz, record \d+"):
    list(records.read_records(path))
  path.write_bytes(b"plain text")
  with pytest.raises(UserError, match=r"data\.gz, record 1: expected gzip"):
    list(records.read_records(path))


def test_missing_file(tmp_path):
  with pytest.raises(UserError, match="cannot read"):
    list(records.read_records(tmp_path / "none"))


def test_no_example(tmp_path):
  with pytest.raises(ValueError, match="serialized tf"):
    records.decode_example(b"\xff\xff\xff")


def test_gzip_reads_back(tmp_path):
  path = tmp_path / "data.gz"
  write(path, [{"x": [3, 4]}])
  assert gzip.decompress(path.read_bytes())[:8] == struct.pack(
    "<Q", len(records.encode_example({"x": [3, 4]}))
  )
