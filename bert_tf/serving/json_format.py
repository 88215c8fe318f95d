"""TensorFlow Serving's JSON for `predict`: rows ("instances") or columns ("inputs")."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from bert_tf.serving.errors import RequestError
from bert_tf.serving.servable import Servable

DEFAULT_SIGNATURE = "serving_default"
# Characters of a value that a message shows.
_LONGEST_VALUE = 60


def parse_request(body: bytes, servable: Servable) -> tuple[str, dict[str, np.ndarray], bool]:
  """Reads the body of a `:predict` request.

  Returns:
    The signature's name, its inputs, and whether the answer is wanted in rows.

  Raises:
    RequestError: the body is not JSON, or not of one of the two forms, or a value does not fit.
  """
  request, name = parse_object(body)
  in_rows = "instances" in request
  if in_rows == ("inputs" in request):
    raise RequestError('expected either "instances" or "inputs"')
  specs = servable.signature(name).inputs
  columns = _columns(request["instances"], specs) if in_rows else request["inputs"]
  if not in_rows and not (isinstance(columns, dict) and not is_bytes(columns)):
    columns = {_only(specs): columns}
  for key in columns:
    if key not in specs:
      raise RequestError(f"expected the inputs {', '.join(sorted(specs))}, found {key[:80]!r}")
  return name, {key: _array(key, value, specs[key]) for key, value in columns.items()}, in_rows


def parse_object(body: bytes) -> tuple[dict[str, Any], str]:
  """The JSON object of a request and the signature that it names; raises RequestError."""
  try:
    request = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise RequestError(f"expected JSON, found: {str(error)[:200]}") from error
  if not isinstance(request, dict):
    raise RequestError(f"expected a JSON object, found {type(request).__name__}")
  name = request.get("signature_name", "")
  if not isinstance(name, str):
    raise RequestError(f"expected signature_name to be a string, found {shown(name)}")
  return request, name or DEFAULT_SIGNATURE


def _only(specs: Mapping[str, Any]) -> str:
  if len(specs) != 1:
    raise RequestError(f"expected an object with the inputs {', '.join(sorted(specs))}")
  return next(iter(specs))


def is_bytes(value: Any) -> bool:
  """Whether a JSON value is a string in base64."""
  return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def decode_base64(value: Mapping[str, str]) -> bytes:
  """The bytes of {"b64": ...}, padded or not; raises ValueError."""
  text = value["b64"].rstrip("=")
  return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def shown(value: Any) -> str:
  """A value as a message has it."""
  text = json.dumps(value, ensure_ascii=False)
  return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _columns(instances: Any, specs: Mapping[str, Any]) -> dict[str, list]:
  if not isinstance(instances, list) or not instances:
    raise RequestError('expected "instances" to be a list with at least one entry')
  named = isinstance(instances[0], dict) and not is_bytes(instances[0])
  if not named:
    return {_only(specs): instances}
  names = instances[0].keys()
  for row, instance in enumerate(instances):
    if not isinstance(instance, dict) or instance.keys() != names:
      raise RequestError(
        f"expected every instance to name the same inputs, {', '.join(sorted(names))[:80]}, found"
        f" {shown(instance)} in row {row}"
      )
  return {name: [instance[name] for instance in instances] for name in names}


def _array(name: str, value: Any, spec: Any) -> np.ndarray:
  """A JSON value as an array of the type of `spec`, a TensorInfo."""
  dtype = tf.dtypes.as_dtype(spec.dtype)
  sizes = [dim.size for dim in spec.tensor_shape.dim]
  if value == [] and sizes:
    # No rows, of which JSON does not say how wide they are.
    numbers = object if dtype == tf.string else dtype.as_numpy_dtype
    return np.zeros([0, *(1 if size == -1 else size for size in sizes[1:])], numbers)
  wrong = _Wrong(name, dtype, len(sizes))
  if dtype == tf.string:
    return _strings(value, len(sizes), wrong)
  try:
    array = np.array(value)
  except (ValueError, TypeError, OverflowError, RecursionError) as error:
    raise wrong.error(value) from error
  kinds = "b" if dtype.is_bool else "if" if dtype.is_floating else "i"
  is_empty = array.size == 0
  if array.ndim != len(sizes) or (not is_empty and array.dtype.kind not in kinds):
    raise wrong.error(value)
  if not dtype.is_bool and _holds_bool(value):
    raise wrong.error(value)
  in_range = is_empty or not dtype.is_integer
  if not in_range and not (dtype.min <= array.min() and array.max() <= dtype.max):
    raise wrong.error(value)
  return array.astype(dtype.as_numpy_dtype)


def _holds_bool(value: Any) -> bool:
  """Whether there is a truth value among numbers, of which numpy makes a number."""
  if isinstance(value, list):
    return any(map(_holds_bool, value))
  return isinstance(value, bool)


class _Wrong:
  """Finds what is wrong with a value, for a message."""

  def __init__(self, name: str, dtype: tf.DType, rank: int):
    self._name = name
    self._dtype = dtype
    self._rank = rank
    # How long the first list of every level is: all others must be as long.
    self._sizes: dict[int, int] = {}

  def error(self, value: Any) -> RequestError:
    """What to say of a value that does not fit."""
    expected = f"expected {self._name[:80]} as {self._dtype.name} of rank {self._rank}"
    place, found = self._first(value, ()) or ((), shown(value))
    where = f" in row {place[0]}" if place else ""
    where += "".join(f", place {number}" for number in place[1:])
    return RequestError(f"{expected}, found {found}{where}")

  def _first(self, value: Any, place: tuple[int, ...]) -> tuple[tuple[int, ...], str] | None:
    """Where the first wrong part of a value is, and what it is."""
    if len(place) == self._rank:
      return None if self._fits(value) else (place, shown(value))
    if not isinstance(value, list):
      return place, shown(value)
    size = self._sizes.setdefault(len(place), len(value))
    if len(value) != size:
      return place, f"{len(value)} values where others have {size}"
    for number, part in enumerate(value):
      if wrong := self._first(part, (*place, number)):
        return wrong
    return None

  def _fits(self, value: Any) -> bool:
    if self._dtype == tf.string:
      try:
        return _encoded(value) is not None
      except ValueError:
        return False
    if self._dtype.is_bool or isinstance(value, bool):
      return self._dtype.is_bool and isinstance(value, bool)
    if self._dtype.is_floating:
      return isinstance(value, (int, float))
    return isinstance(value, int) and self._dtype.min <= value <= self._dtype.max


def _encoded(value: Any) -> bytes | None:
  """A string as bytes, None where it is none; raises ValueError where it cannot be any."""
  if is_bytes(value):
    return decode_base64(value)
  return value.encode() if isinstance(value, str) else None


def _strings(value: Any, rank: int, wrong: _Wrong) -> np.ndarray:
  def encode(item: Any, depth: int) -> Any:
    if not depth:
      if (encoded := _encoded(item)) is None:
        raise ValueError("not a string")
      return encoded
    if not isinstance(item, list):
      raise ValueError("not a list")
    return [encode(part, depth - 1) for part in item]

  try:
    encoded = encode(value, rank)
    array = np.empty([len(encoded)] if rank == 1 else np.shape(encoded), object)
    array[...] = encoded
  except ValueError as error:
    raise wrong.error(value) from error
  return array


def format_response(outputs: Mapping[str, np.ndarray], in_rows: bool) -> dict[str, Any]:
  """The answer in TensorFlow Serving's form; a single output goes without its name."""
  columns = {name: plain(name, value) for name, value in outputs.items()}
  single = next(iter(columns.values())) if len(columns) == 1 else None
  if not in_rows:
    return {"outputs": columns if single is None else single}
  if single is not None:
    return {"predictions": single}
  names = sorted(columns)
  rows = zip(*(columns[name] for name in names), strict=True)
  return {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}


def plain(name: str, value: Any) -> Any:
  """An output as JSON has it: strings as text, or as base64 where the output is called so."""
  if isinstance(value, np.ndarray):
    value = shortest(value).tolist()
  if isinstance(value, list):
    return [plain(name, item) for item in value]
  if isinstance(value, bytes):
    if name.endswith("_bytes"):
      return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")
  return value


def shortest(value: np.ndarray) -> np.ndarray:
  """Numbers that are written with no more digits than they have: 0.2, not 0.20000000298023224.

  NaN and infinities are written as such, as TensorFlow Serving does; see its REST page.
  """
  return value.astype("U").astype(np.float64) if value.dtype == np.float32 else value


def to_json(value: Any) -> bytes:
  """A line of JSON."""
  return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
