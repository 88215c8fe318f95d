"""Answers the warm-up requests of an export through TensorFlow's C API, without its Python.

  python c_api_client.py SITE_PACKAGES BUNDLE OUTPUT.npz

An array of the output is named `number of the request|output`; strings are base64 of their bytes.
What a server in another language needs is what is loaded here: the two libraries of TensorFlow and
those of tensorflow_text that have the operations of the tokenizer.
"""

from __future__ import annotations

import base64
import ctypes
import os
import struct
import sys
from collections.abc import Iterator

import numpy as np

_TEXT_LIBRARIES = ("_fast_bert_normalizer.so", "_fast_wordpiece_tokenizer.so")
_STRING = 7
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}
_STRING_BYTES = 24  # TF_TString


class _Output(ctypes.Structure):
  _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
  _fields_ = (
    ("data", ctypes.c_void_p),
    ("length", ctypes.c_size_t),
    ("deallocator", ctypes.c_void_p),
  )


def varint(message: bytes, place: int) -> tuple[int, int]:
  """A number at a place of a protobuf message, and the place after it."""
  value = shift = 0
  while True:
    byte = message[place]
    value |= (byte & 0x7F) << shift
    place, shift = place + 1, shift + 7
    if byte < 0x80:
      return value, place


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
  """Number and content of the fields of a protobuf message."""
  place = 0
  while place < len(message):
    key, place = varint(message, place)
    number, kind = divmod(key, 8)
    if kind == 0:
      value, place = varint(message, place)
      yield number, value
      continue
    length = {1: 8, 5: 4}.get(kind)
    if length is None:
      length, place = varint(message, place)
    yield number, message[place : place + length]
    place += length


def packed(message: int | bytes) -> list[int]:
  """The numbers of a repeated field, of which there may be one."""
  if isinstance(message, int):
    return [message]
  numbers, place = [], 0
  while place < len(message):
    number, place = varint(message, place)
    numbers.append(number)
  return numbers


def entries(message: bytes, number: int) -> dict[str, bytes]:
  """A map with names for keys."""
  found = (dict(fields(content)) for n, content in fields(message) if n == number)
  return {entry[1].decode(): entry.get(2, b"") for entry in found}


def requests(bundle: str) -> Iterator[tuple[str, dict[str, tuple]]]:
  """Signature and inputs, each (type, shape, values), of the warm-up file."""
  path = os.path.join(bundle, "assets.extra", "tf_serving_warmup_requests")
  with open(path, "rb") as file:
    while head := file.read(12):
      record = file.read(struct.unpack("<Q", head[:8])[0])
      file.read(4)
      request = dict(fields(dict(fields(record))[6]))[1]
      signature = dict(fields(dict(fields(request))[1]))[3].decode()
      yield signature, {n: _tensor(proto) for n, proto in entries(request, 2).items()}


def _tensor(proto: bytes) -> tuple[int, list[int], object]:
  dtype, shape, content, numbers, strings = 0, [], b"", [], []
  for number, value in fields(proto):
    if number == 1:
      dtype = value
    elif number == 2:
      shape = [dict(fields(dim)).get(1, 0) for n, dim in fields(value) if n == 2]
    elif number == 4:
      content = value
    elif number == 7:
      numbers += packed(value)
    elif number == 8:
      strings.append(value)
  if dtype == _STRING:
    return dtype, shape, strings
  values = np.frombuffer(content, _TYPES[dtype]) if content else np.array(numbers, _TYPES[dtype])
  return dtype, shape, np.ascontiguousarray(np.broadcast_to(values, int(np.prod(shape))))


class Session:
  """A SavedModel that is loaded as TensorFlow Serving loads it."""

  def __init__(self, site_packages: str, bundle: str):
    directory = os.path.join(site_packages, "tensorflow")
    ctypes.CDLL(os.path.join(directory, "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    self.lib = ctypes.CDLL(os.path.join(directory, "libtensorflow_cc.so.2"), ctypes.RTLD_GLOBAL)
    for name in (
      "TF_NewStatus", "TF_LoadLibrary", "TF_LoadSessionFromSavedModel", "TF_NewGraph",
      "TF_NewSessionOptions", "TF_GraphOperationByName", "TF_AllocateTensor", "TF_TensorData",
      "TF_StringGetDataPointer",
    ):  # fmt: skip
      getattr(self.lib, name).restype = ctypes.c_void_p
    for name in ("TF_Dim", "TF_TensorByteSize", "TF_StringGetSize"):
      getattr(self.lib, name).restype = ctypes.c_size_t
    self.lib.TF_Message.restype = ctypes.c_char_p
    self.status = ctypes.c_void_p(self.lib.TF_NewStatus())
    for name in _TEXT_LIBRARIES:
      path = os.path.join(site_packages, "tensorflow_text", "python", "ops", name)
      self.lib.TF_LoadLibrary(path.encode(), self.status)
      self._check()
    self.graph = ctypes.c_void_p(self.lib.TF_NewGraph())
    meta = _Buffer()
    self.session = ctypes.c_void_p(
      self.lib.TF_LoadSessionFromSavedModel(
        ctypes.c_void_p(self.lib.TF_NewSessionOptions()), None, bundle.encode(),
        (ctypes.c_char_p * 1)(b"serve"), 1, self.graph, ctypes.byref(meta), self.status,
      )
    )  # fmt: skip
    self._check()
    self.signatures = entries(ctypes.string_at(meta.data, meta.length), 5)

  def _check(self) -> None:
    if self.lib.TF_GetCode(self.status):
      raise RuntimeError(self.lib.TF_Message(self.status).decode())

  def _place(self, info: bytes) -> _Output:
    name, _, index = dict(fields(info))[1].decode().partition(":")
    operation = self.lib.TF_GraphOperationByName(self.graph, name.encode())
    if not operation:
      raise RuntimeError(f"there is no operation {name}")
    return _Output(operation, int(index or 0))

  def _made(self, dtype: int, shape: list[int], values) -> ctypes.c_void_p:
    size = _STRING_BYTES * len(values) if dtype == _STRING else values.nbytes
    dims = (ctypes.c_int64 * len(shape))(*shape)
    tensor = ctypes.c_void_p(self.lib.TF_AllocateTensor(dtype, dims, len(shape), size))
    data = self.lib.TF_TensorData(tensor)
    if dtype != _STRING:
      ctypes.memmove(data, values.ctypes.data, size)
      return tensor
    for number, value in enumerate(values):
      string = ctypes.c_void_p(data + _STRING_BYTES * number)
      self.lib.TF_StringInit(string)
      self.lib.TF_StringCopy(string, value, ctypes.c_size_t(len(value)))
    return tensor

  def _read(self, tensor: ctypes.c_void_p) -> np.ndarray:
    lib, dtype = self.lib, self.lib.TF_TensorType(tensor)
    shape = [lib.TF_Dim(tensor, i) for i in range(lib.TF_NumDims(tensor))]
    data = lib.TF_TensorData(tensor)
    if dtype != _STRING:
      content = ctypes.string_at(data, lib.TF_TensorByteSize(tensor)) if np.prod(shape) else b""
      return np.frombuffer(content, _TYPES[dtype]).reshape(shape)
    strings = []
    for number in range(int(np.prod(shape))):
      string = ctypes.c_void_p(data + _STRING_BYTES * number)
      size = lib.TF_StringGetSize(string)
      strings.append(ctypes.string_at(lib.TF_StringGetDataPointer(string), size))
    encoded = np.array([base64.b64encode(one) for one in strings], np.bytes_)
    return encoded.reshape(shape)

  def run(self, signature: str, inputs: dict[str, tuple]) -> dict[str, np.ndarray]:
    """The outputs of a signature."""
    definition = self.signatures[signature]
    feeds, fetches = entries(definition, 1), entries(definition, 2)
    fed = (_Output * len(inputs))(*(self._place(feeds[name]) for name in inputs))
    values = (ctypes.c_void_p * len(inputs))(*(self._made(*v).value for v in inputs.values()))
    wanted = (_Output * len(fetches))(*map(self._place, fetches.values()))
    found = (ctypes.c_void_p * len(fetches))()
    self.lib.TF_SessionRun(
      self.session, None, fed, values, len(inputs), wanted, found, len(fetches), None, 0, None,
      self.status,
    )  # fmt: skip
    self._check()
    return {
      name: self._read(ctypes.c_void_p(value)) for name, value in zip(fetches, found, strict=True)
    }


def main(site_packages: str, bundle: str, output: str) -> None:
  """Answers all warm-up requests."""
  session = Session(site_packages, bundle)
  found = {}
  for number, (signature, inputs) in enumerate(requests(bundle)):
    answers = session.run(signature, inputs)
    found.update({f"{number}|{name}": value for name, value in answers.items()})
  if any(name.split(".")[0] == "tensorflow" for name in sys.modules):
    raise AssertionError("TensorFlow's Python was imported")
  np.savez(output, **found)


if __name__ == "__main__":
  main(*sys.argv[1:])
