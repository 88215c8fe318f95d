"""Files of named tensors, read one tensor at a time: safetensors, HDF5, and their shards."""

from __future__ import annotations

import json
import math
import os
from typing import Protocol

import numpy as np

from bert_tf.errors import UserError
from bert_tf.files import existing_file

Shape = tuple[int, ...]

_PART_VALUES = 1 << 22
# Compressed weights take about their own size. What is smaller than this may be all zeros; what
# is larger and takes this fraction of its size or less would be a file that unpacks to its harm.
_SMALL_BYTES = 1 << 24
_MAX_COMPRESSION = 64


class TensorFile(Protocol):
  """A file of named tensors."""

  path: str
  shapes: dict[str, Shape]

  def read(self, name: str) -> np.ndarray:
    """Returns one tensor, floating types as float32; raises UserError where it is damaged."""
    ...


def as_float32(array: np.ndarray) -> np.ndarray:
  """float16, bfloat16 and float64 -> float32; other types as they are."""
  # bfloat16 is no number for numpy: its kind is "V".
  if array.dtype != np.float32 and (array.dtype.kind == "f" or array.dtype.name == "bfloat16"):
    return array.astype(np.float32)
  return array


def damaged(path: str, what: str, reason: object) -> UserError:
  """The error for a file that is not what its name says, or not all of it."""
  return UserError(f"{path}: expected {what}, found a truncated or damaged file ({reason})")


def check_content(path: str, what: str) -> str:
  """Returns `path`; raises UserError if there is no such file or a git-LFS pointer instead."""
  existing_file(path, what)
  with open(path, "rb") as file:
    if file.read(40).startswith(b"version https://git-lfs.github.com/spec"):
      raise UserError(
        f"{path}: expected weights, found a git-LFS pointer to them; fetch the file itself with"
        " `git lfs pull`"
      )
  return path


class SafetensorsFile:
  """A `.safetensors` file; the library checks its header against its size."""

  def __init__(self, path: str):
    """Reads the header; raises UserError where it is damaged or lies about sizes."""
    self.path = check_content(path, "weights")
    with self._open() as file:
      names = list(file.keys())
      self.shapes: dict[str, Shape] = {n: tuple(file.get_slice(n).get_shape()) for n in names}

  def _open(self):
    import safetensors

    try:
      return safetensors.safe_open(self.path, "np")
    except (safetensors.SafetensorError, OSError) as error:
      raise damaged(self.path, "a complete safetensors file", error) from error

  def _read_part(self, name: str, start: int | None = None, end: int | None = None) -> np.ndarray:
    """Rows of a tensor, or all of it; raises UserError for types that numpy does not know."""
    import safetensors

    with self._open() as file:
      try:
        part = file.get_tensor(name) if start is None else file.get_slice(name)[start:end]
      except (
        safetensors.SafetensorError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
      ) as error:
        dtype = file.get_slice(name).get_dtype()
        raise UserError(
          f"{self.path}: expected {name} as float32, float64, float16 or bfloat16, found {dtype};"
          " take the model from before it was quantized"
        ) from error
    return as_float32(part)

  def read(self, name: str) -> np.ndarray:
    """Returns one tensor.

    The file is mapped anew for every few megabytes, so that mapped pages do not add up.
    """
    shape = self.shapes[name]
    rows = shape[0] if shape else 0
    count = max(1, _PART_VALUES * rows // max(1, math.prod(shape)))
    if rows <= count:
      return self._read_part(name)
    parts = np.empty(shape, self._read_part(name, 0, 0).dtype)
    for start in range(0, rows, count):
      part = self._read_part(name, start, min(start + count, rows))
      parts[start : start + count] = part
    return parts


class Hdf5File:
  """An HDF5 file; a tensor's name is the path of its dataset."""

  def __init__(self, path: str):
    """Lists the datasets; raises UserError where the file is damaged."""
    import h5py

    self.path = check_content(path, "weights")
    self.shapes: dict[str, Shape] = {}
    claims: dict[str, str] = {}

    def note(name: str, node) -> None:
      # A dataset may have its bytes in another file, whichever the author liked to name.
      if isinstance(node, h5py.Dataset) and not node.external and not node.is_virtual:
        self.shapes[name] = tuple(node.shape or ())
        stored, claimed = (
          node.id.get_storage_size(),
          math.prod(node.shape or ()) * node.dtype.itemsize,
        )
        if claimed > max(_SMALL_BYTES, stored * _MAX_COMPRESSION):
          claims[name] = f"{name} claims {claimed} bytes and has {stored}"

    try:
      self._file = h5py.File(path, "r")
      self._file.visititems(note)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
      raise damaged(path, "a complete HDF5 file", error) from error
    if claims:
      # HDF5 would make the missing values up, and fill the memory with them.
      raise damaged(path, "a complete HDF5 file", next(iter(claims.values())))

  def read(self, name: str) -> np.ndarray:
    """Returns one tensor."""
    import ml_dtypes

    try:
      dataset = self._file[name]
      array = np.asarray(dataset[()])
      # HDF5 has no bfloat16; Keras writes two opaque bytes and says so beside them.
      if array.dtype.kind == "V" and dataset.attrs.get("dtype") == "bfloat16":
        array = array.view(ml_dtypes.bfloat16)
      return as_float32(array)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
      raise damaged(self.path, "a complete HDF5 file", error) from error


class ShardedFiles:
  """Several files and an index of which tensor is where (`model.safetensors.index.json`)."""

  def __init__(self, index_path: str, opener):
    """Opens all shards with `opener(path)`; raises UserError where one is missing or damaged."""
    self.path = index_path
    check_content(index_path, "index of weight files")
    try:
      with open(index_path, encoding="utf-8") as file:
        weight_map = dict(json.load(file)["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
      raise damaged(index_path, 'JSON with a "weight_map"', error) from error
    directory = os.path.dirname(index_path)
    self._shard_of: dict[str, TensorFile] = {}
    shards: dict[str, TensorFile] = {}
    for name, shard in weight_map.items():
      if not isinstance(shard, str) or os.path.basename(shard) != shard:
        raise UserError(f"{index_path}: expected shards beside the index, found {shard!r}")
      if shard not in shards:
        shards[shard] = opener(os.path.join(directory, shard))
      if name not in shards[shard].shapes:
        raise UserError(f"{index_path}: expected {name} in {shard}, which does not hold it")
      self._shard_of[name] = shards[shard]
    self.shapes: dict[str, Shape] = {n: s.shapes[n] for n, s in self._shard_of.items()}

  def read(self, name: str) -> np.ndarray:
    """Returns one tensor."""
    return self._shard_of[name].read(name)
