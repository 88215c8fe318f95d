"""Reads tensors from files of `torch.save` without torch and without running what is in them.

A pickle is a program. This reader runs it with an interpreter that knows no functions but those
that describe tensors, written here, and so yields where every tensor's bytes are; the bytes
themselves are no pickle. Everything else in the file, such as a call of `os.system`, is refused.
"""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import zipfile
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from absl import logging

from bert_tf.checkpoints.tensor_files import Shape, as_float32, check_content, damaged
from bert_tf.errors import UserError

_WHAT = "a complete file of torch.save"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
# The pickle of a BERT describes some hundred tensors in some ten kilobytes.
_MAX_PICKLE_BYTES = 1 << 26

_DTYPES = {
  "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
  "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
  "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip


# Where trainers keep the weights of the model among what else they save, the likeliest first.
_WRAPPERS = ("model_state_dict", "state_dict", "model", "module", "model_state", "net", "weights")


class _StorageType(NamedTuple):
  dtype: np.dtype


class _Storage(NamedTuple):
  dtype: np.dtype
  key: str
  size: int  # in elements


class _Tensor(NamedTuple):
  storage: _Storage
  offset: int
  shape: Shape
  strides: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *unused: Any) -> _Tensor:
  """Stands for torch's functions of similar names; checks that the tensor fits its storage."""
  if not isinstance(storage, _Storage) or not isinstance(offset, int):
    raise pickle.UnpicklingError("a tensor without storage")
  shape, strides = tuple(shape), tuple(strides)
  if len(shape) != len(strides) or not all(
    isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)
  ):
    raise pickle.UnpicklingError("a tensor of impossible shape")
  size = int(np.prod([int(n) for n in shape], dtype=object)) if shape else 1
  last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
  if size and (last >= storage.size or size > storage.size):
    raise pickle.UnpicklingError("a tensor that is larger than its storage")
  return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, *unused: Any) -> Any:
  return tensor


_FUNCTIONS = {
  ("collections", "OrderedDict"): collections.OrderedDict,
  ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
  ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
  ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _storage_type(name: str) -> _StorageType:
  import ml_dtypes

  dtype = _DTYPES[name]
  return _StorageType(np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype))


class _Unpickler(pickle.Unpickler):
  """Builds dictionaries, lists, numbers, strings and `_Tensor`s; refuses everything else."""

  def __init__(self, file: BinaryIO):
    super().__init__(file)
    self.storages: dict[str, _Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    if module == "torch" and name in _DTYPES:
      return _storage_type(name)
    if (module, name) not in _FUNCTIONS:
      raise _Refused(f"{module}.{name}")
    return _FUNCTIONS[module, name]

  def persistent_load(self, pid: Any) -> _Storage:
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
      raise pickle.UnpicklingError("a reference to something that is no storage")
    kind, key, size = pid[1], pid[2], pid[4]
    if not isinstance(kind, _StorageType) or not isinstance(key, str) or not isinstance(size, int):
      raise pickle.UnpicklingError("a storage of unknown type")
    if len(pid) > 5 and pid[5] is not None:
      raise pickle.UnpicklingError("a view of a storage, as torch 0.1 wrote it")
    return self.storages.setdefault(key, _Storage(kind.dtype, key, size))


class _Refused(Exception):
  """The pickle asks for a function that a file of tensors does not need."""


def _unpickle(file: BinaryIO, path: str) -> tuple[Any, dict[str, _Storage]]:
  """Runs one pickle of a stream that may go on after it; returns its value and storages."""
  start = file.tell()
  try:
    end = start
    for opcode, argument, position in pickletools.genops(file):
      position = position or 0
      # The interpreter would make room for as many entries as this number says.
      if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > position:
        raise pickle.UnpicklingError("a memo entry out of range")
      if position - start > _MAX_PICKLE_BYTES:
        raise pickle.UnpicklingError("a pickle of unreasonable size")
      end = position
    length = end + 1 - start
    file.seek(start)
    unpickler = _Unpickler(io.BytesIO(file.read(length)))
    value = unpickler.load()
    file.seek(start + length)
    return value, unpickler.storages
  except _Refused as error:
    raise UserError(
      f"{path}: refused: this pickle would run {error}, and weights need no code; take the"
      " model from a source that you trust, as safetensors where it has them"
    ) from error
  except (
    pickle.UnpicklingError, ValueError, TypeError, EOFError, AttributeError, IndexError, KeyError,
    OverflowError, MemoryError, RecursionError, ImportError,
  ) as error:  # fmt: skip
    raise damaged(path, _WHAT, error or type(error).__name__) from error


def _tensors_of(values: Any) -> dict[str, _Tensor]:
  if not isinstance(values, dict):
    return {}
  return {
    name: value
    for name, value in values.items()
    if isinstance(name, str) and isinstance(value, _Tensor)
  }


def _unwrap(values: dict, path: str) -> dict[str, _Tensor]:
  """The tensors of the model in what a trainer saved, which has other things beside it."""
  inner = {str(key): _tensors_of(value) for key, value in values.items() if _tensors_of(value)}
  known = [key for key in _WRAPPERS if key in inner]
  keys = known[:1] or list(inner)
  if not keys:
    raise UserError(f"{path}: expected a dictionary of tensors, found none in it")
  if len(keys) > 1:
    raise UserError(
      f"{path}: expected one dictionary of tensors, found {', '.join(keys)}; save the one that is"
      " the model by itself"
    )
  others = ", ".join(str(key) for key in values if key != keys[0])
  logging.info("%s: taking %r%s", path, keys[0], f" and leaving out {others}" if others else "")
  return inner[keys[0]]


class TorchFile:
  """A `pytorch_model.bin`, in the zip format of torch 1.6 and later or in the older one."""

  def __init__(self, path: str):
    """Reads where the tensors are; raises UserError for anything but a dictionary of tensors."""
    self.path = check_content(path, "weights")
    self._zip: zipfile.ZipFile | None = None
    self._offsets: dict[str, int] = {}
    with open(path, "rb") as file:
      is_zip = file.read(4) == b"PK\x03\x04"
    values = self._open_zip() if is_zip else self._open_legacy()
    if not isinstance(values, dict):
      raise UserError(f"{path}: expected a dictionary of tensors, found {type(values).__name__}")
    self._tensors = _tensors_of(values) or _unwrap(values, path)
    self.shapes: dict[str, Shape] = {name: t.shape for name, t in self._tensors.items()}

  def _open_zip(self) -> Any:
    try:
      self._zip = zipfile.ZipFile(self.path)
      pickles = [n for n in self._zip.namelist() if n.endswith("/data.pkl")]
      if len(pickles) != 1:
        raise zipfile.BadZipFile("no data.pkl")
      self._folder = pickles[0].removesuffix("data.pkl")
      if self._folder + "byteorder" in self._zip.namelist():
        order = self._read_entry(self._folder + "byteorder")
        if order != b"little":
          raise zipfile.BadZipFile(f"byte order {order[:10]!r}")
      stream = io.BytesIO(self._read_entry(pickles[0]))
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError) as error:
      raise damaged(self.path, _WHAT, error) from error
    return _unpickle(stream, self.path)[0]

  def _open_legacy(self) -> Any:
    with open(self.path, "rb") as file:
      if _unpickle(file, self.path)[0] != _LEGACY_MAGIC:
        raise damaged(self.path, _WHAT, "no magic number")
      _unpickle(file, self.path)  # protocol version
      system, _ = _unpickle(file, self.path)
      if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise damaged(self.path, _WHAT, "a big-endian or unknown system")
      values, storages = _unpickle(file, self.path)
      keys, _ = _unpickle(file, self.path)
      if not isinstance(keys, list) or set(map(str, keys)) != set(storages):
        raise damaged(self.path, _WHAT, "a list of storages that are not those of the tensors")
      for storage in (storages[str(key)] for key in keys):
        # Each storage is its number of elements, 8 bytes, and then its bytes.
        if int.from_bytes(file.read(8), "little") != storage.size:
          raise damaged(self.path, _WHAT, "a storage of another size than its tensors")
        self._offsets[storage.key] = file.tell()
        file.seek(storage.size * storage.dtype.itemsize, io.SEEK_CUR)
      end = file.tell()
      if file.seek(0, io.SEEK_END) < end:
        raise damaged(self.path, _WHAT, f"{file.tell()} bytes instead of {end}")
    return values

  def read(self, name: str) -> np.ndarray:
    """Returns one tensor."""
    tensor = self._tensors[name]
    data = self._read_storage(tensor.storage)
    view = np.lib.stride_tricks.as_strided(
      data[tensor.offset :] if tensor.shape else data[tensor.offset : tensor.offset + 1],
      tensor.shape,
      [stride * data.itemsize for stride in tensor.strides],
      writeable=False,
    )
    return as_float32(np.ascontiguousarray(view))

  def shares_storage(self, first: str, second: str) -> bool:
    """Whether two names stand for the same tensor."""
    return self._tensors.get(first) == self._tensors.get(second)

  def _read_entry(self, name: str, size: int | None = None) -> bytes:
    assert self._zip  # Only archives have entries.
    info = self._zip.getinfo(name)
    # torch never compresses; a bomb would.
    if info.compress_type != zipfile.ZIP_STORED:
      raise zipfile.BadZipFile(f"{name} is compressed")
    if size is not None and info.file_size != size:
      raise EOFError(f"{info.file_size} bytes of {size}")
    if size is None and info.file_size > _MAX_PICKLE_BYTES:
      raise zipfile.BadZipFile(f"{name} of unreasonable size")
    return self._zip.read(info)

  def _read_storage(self, storage: _Storage) -> np.ndarray:
    wanted = storage.size * storage.dtype.itemsize
    try:
      if self._zip:
        content = self._read_entry(f"{self._folder}data/{storage.key}", wanted)
      else:
        with open(self.path, "rb") as file:
          file.seek(self._offsets[storage.key])
          content = file.read(wanted)
      return np.frombuffer(content, storage.dtype, storage.size)
    except (zipfile.BadZipFile, OSError, KeyError, EOFError, ValueError, RuntimeError) as error:
      raise damaged(self.path, _WHAT, error) from error
