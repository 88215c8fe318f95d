"""Files of tensors that are truncated, lie, or are something else."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from bert_tf.checkpoints.tensor_files import Hdf5File, SafetensorsFile, ShardedFiles
from bert_tf.errors import UserError
from bert_tf.model_dir import weight_files


@pytest.fixture
def content(golden):
  path = golden / "formats" / "huggingface" / "BertModel" / "model.safetensors"
  return path.read_bytes()


def safetensors_file(header, data=b""):
  header = json.dumps(header).encode()
  return struct.pack("<Q", len(header)) + header + data


def test_every_truncation_is_noticed(content, tmp_path):
  path = tmp_path / "model.safetensors"
  for length in [*range(1, len(content), 499), len(content) - 1]:
    path.write_bytes(content[:length])
    with pytest.raises(UserError, match="expected a complete safetensors file"):
      SafetensorsFile(str(path))


@pytest.mark.parametrize(
  "file",
  [
    struct.pack("<Q", 1 << 60) + b"{}",
    struct.pack("<Q", 200_000_000) + b"{}",
    safetensors_file({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(12)),
    safetensors_file({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 8]}}, bytes(8)),
    safetensors_file({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)),
    safetensors_file({"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}, bytes(8)),
    safetensors_file(
      {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
      },
      bytes(8),
    ),
    safetensors_file({"a": {"dtype": "F7", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    struct.pack("<Q", 2) + b"[]",
    b"not a file of tensors at all, but text",
  ],
)
def test_headers_that_lie(tmp_path, file):
  path = tmp_path / "model.safetensors"
  path.write_bytes(file)
  with pytest.raises(UserError, match="expected a complete safetensors file"):
    SafetensorsFile(str(path))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5"])
def test_git_lfs_pointers(tmp_path, name):
  from bert_tf.checkpoints import huggingface

  (tmp_path / name).write_text(
    "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 440449768\n"
  )
  with pytest.raises(UserError, match=r"found a git-LFS pointer .* `git lfs pull`"):
    huggingface.Reader(weight_files.find_hugging_face(str(tmp_path)))


def test_empty_file(tmp_path):
  (tmp_path / "model.safetensors").touch()
  with pytest.raises(UserError, match="found the empty file"):
    SafetensorsFile(str(tmp_path / "model.safetensors"))


def test_hdf5(tmp_path):
  import h5py

  path = str(tmp_path / "tf_model.h5")
  with h5py.File(path, "w") as file:
    file["a/b"] = np.arange(6, dtype=np.float64).reshape(2, 3)
  file = Hdf5File(path)
  assert file.shapes == {"a/b": (2, 3)}
  assert file.read("a/b").dtype == np.float32
  size = (tmp_path / "tf_model.h5").stat().st_size
  for length in (10, 600, size - 1):
    (tmp_path / "short.h5").write_bytes((tmp_path / "tf_model.h5").read_bytes()[:length])
    with pytest.raises(UserError, match="expected a complete HDF5 file"):
      Hdf5File(str(tmp_path / "short.h5"))


def test_hdf5_links_do_not_leave_the_file(tmp_path):
  import h5py

  secret = tmp_path / "secret.h5"
  with h5py.File(secret, "w") as file:
    file["x"] = np.ones(3)
  with h5py.File(tmp_path / "tf_model.h5", "w") as file:
    file["inside"] = np.zeros(2)
    file["outside"] = h5py.ExternalLink(str(secret), "/x")
    raw = [(str(secret), 0, 12)]
    file.create_dataset("raw", shape=(3,), dtype="f4", external=raw)
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", shape=(3,))
    file.create_virtual_dataset("virtual", layout)
  assert list(Hdf5File(str(tmp_path / "tf_model.h5")).shapes) == ["inside"]


@pytest.mark.parametrize(
  ("index", "message"),
  [
    ("{", 'expected JSON with a "weight_map"'),
    ("{}", 'expected JSON with a "weight_map"'),
    ('{"weight_map": [1]}', 'expected JSON with a "weight_map"'),
    ('{"weight_map": {"a": "../../etc/passwd"}}', "expected shards beside the index"),
    ('{"weight_map": {"a": 3}}', "expected shards beside the index"),
    ('{"weight_map": {"a": "missing.safetensors"}}', "found nothing at"),
    ('{"weight_map": {"nothing": "one.safetensors"}}', "expected nothing in one.safetensors"),
  ],
)
def test_indexes_of_shards(tmp_path, content, index, message):
  (tmp_path / "one.safetensors").write_bytes(content)
  path = tmp_path / "model.safetensors.index.json"
  path.write_text(index)
  with pytest.raises(UserError, match=message):
    ShardedFiles(str(path), SafetensorsFile)


def test_large_tensors_are_read_in_parts(tmp_path, monkeypatch):
  from safetensors.numpy import save_file

  monkeypatch.setattr("bert_tf.checkpoints.tensor_files._PART_VALUES", 10)
  rng = np.random.RandomState(0)
  arrays = {
    "matrix": rng.rand(7, 3).astype("f4"), "vector": rng.rand(25).astype("f2"),
    "wide": rng.rand(2, 50).astype("f4"), "scalar": np.float32(3), "none": np.ones([0, 4], "f4"),
  }  # fmt: skip
  save_file({n: np.asarray(a) for n, a in arrays.items()}, tmp_path / "m.safetensors")
  file = SafetensorsFile(str(tmp_path / "m.safetensors"))
  for name, array in arrays.items():
    read = file.read(name)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, array)


def test_hdf5_types(tmp_path):
  import h5py
  import ml_dtypes

  values = np.arange(-4, 4, dtype=np.float32)
  with h5py.File(tmp_path / "tf_model.h5", "w") as file:
    for dtype in ("f2", "f4", "f8", "i4"):
      file[dtype] = values.astype(dtype)
    # As Keras writes it.
    file["bfloat16"] = values.astype(ml_dtypes.bfloat16)
    file["bfloat16"].attrs["dtype"] = "bfloat16"
    file["opaque"] = values.astype(ml_dtypes.bfloat16)
    file["text"] = "words"
  file = Hdf5File(str(tmp_path / "tf_model.h5"))
  for name in ("f2", "f4", "f8", "bfloat16"):
    assert file.read(name).dtype == np.float32
    np.testing.assert_array_equal(file.read(name), values)
  for name in ("i4", "opaque", "text"):
    assert file.read(name).dtype != np.float32


@pytest.mark.parametrize(
  "options",
  [{}, {"chunks": (1 << 20,)}, {"chunks": (1 << 20,), "compression": "gzip"}],
)
def test_hdf5_that_claims_more_than_it_has(tmp_path, options):
  import h5py

  path = tmp_path / "tf_model.h5"
  with h5py.File(path, "w") as file:
    file["good"] = np.ones(3)
    file.create_dataset("huge", shape=(1 << 30,), dtype="f4", **options)
  assert path.stat().st_size < 1 << 14
  with pytest.raises(UserError, match="huge claims 4294967296 bytes and has 0"):
    Hdf5File(str(path))


def test_hdf5_that_unpacks_to_its_harm(tmp_path):
  import h5py

  with h5py.File(tmp_path / "tf_model.h5", "w") as file:
    file.create_dataset("bomb", data=np.zeros(1 << 23, "f4"), chunks=(1 << 20,), compression="gzip")
    file.create_dataset("fair", data=np.zeros(1 << 10, "f4"), compression="gzip")
  with pytest.raises(UserError, match="bomb claims 33554432 bytes and has"):
    Hdf5File(str(tmp_path / "tf_model.h5"))


def test_safetensors_of_integers_and_of_types_unknown_to_numpy(tmp_path):
  header = {"a": {"dtype": "I8", "shape": [2], "data_offsets": [0, 2]}}
  header["b"] = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [2, 4]}
  path = tmp_path / "model.safetensors"
  path.write_bytes(safetensors_file(header, bytes(4)))
  file = SafetensorsFile(str(path))
  assert file.read("a").dtype == np.int8
  try:
    assert file.read("b").dtype != np.float32
  except UserError as error:
    assert "found F8_E4M3; take the model from before" in str(error)
