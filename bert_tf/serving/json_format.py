"""TensorFlow Serving's JSON for `predict`: rows ("instances") or columns ("inputs")."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from bert_tf.serving.servable import RequestError, Servable

DEFAULT_SIGNATURE = "serving_default"


def parse_request(body: bytes, servable: Servable) -> tuple[str, dict[str, np.ndarray], bool]:
  """Reads the body of a `:predict` request.

  Returns:
    The signature's name, its inputs, and whether the answer is wanted in rows.

  Raises:
    RequestError: the body is not JSON, or not of one of the two forms, or a value does not fit.
  """
  try:
    request = json.loads(body)
  except (ValueError, RecursionError) as error:
    raise RequestError(f"expected JSON, found: {str(error)[:200]}") from error
  if not isinstance(request, dict):
    raise RequestError(f"expected a JSON object, found {type(request).__name__}")
  name = request.get("signature_name", DEFAULT_SIGNATURE)
  if not isinstance(name, str):
    raise RequestError("expected signature_name to be a string")
  in_rows = "instances" in request
  if in_rows == ("inputs" in request):
    raise RequestError('expected either "instances" or "inputs"')
  specs = servable.signature(name).inputs
  columns = _columns(request["instances"], specs) if in_rows else request["inputs"]
  if not in_rows and not (isinstance(columns, dict) and not _is_bytes(columns)):
    columns = {_only(specs): columns}
  for key in columns:
    if key not in specs:
      raise RequestError(f"expected the inputs {', '.join(sorted(specs))}, found {key[:80]!r}")
  return name, {key: _array(key, value, specs[key]) for key, value in columns.items()}, in_rows


def _only(specs: Mapping[str, Any]) -> str:
  if len(specs) != 1:
    raise RequestError(f"expected an object with the inputs {', '.join(sorted(specs))}")
  return next(iter(specs))


def _is_bytes(value: Any) -> bool:
  return isinstance(value, dict) and set(value) == {"b64"}


def _columns(instances: Any, specs: Mapping[str, Any]) -> dict[str, list]:
  if not isinstance(instances, list) or not instances:
    raise RequestError('expected "instances" to be a list with at least one entry')
  named = isinstance(instances[0], dict) and not _is_bytes(instances[0])
  if not named:
    return {_only(specs): instances}
  names = set(instances[0])
  for instance in instances:
    if not isinstance(instance, dict) or set(instance) != names:
      raise RequestError("expected every instance to name the same inputs")
  return {name: [instance[name] for instance in instances] for name in names}


def _array(name: str, value: Any, spec: Any) -> np.ndarray:
  """A JSON value as an array of the type of `spec`, a TensorInfo."""
  dtype = tf.dtypes.as_dtype(spec.dtype)
  rank = len(spec.tensor_shape.dim)
  problem = RequestError(f"expected {name} as {dtype.name} of rank {rank}, found another value")
  try:
    if dtype == tf.string:
      return _strings(value, rank)
    array = np.array(value)
  except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error) as error:
    raise problem from error
  if array.size == 0 and array.ndim == rank:
    return array.astype(dtype.as_numpy_dtype)
  kinds = "if" if dtype.is_floating else "i"
  if array.dtype.kind not in kinds or array.ndim != rank or _holds_bool(value):
    raise problem
  if dtype.is_integer and not (dtype.min <= array.min() and array.max() <= dtype.max):
    raise problem
  return array.astype(dtype.as_numpy_dtype)


def _holds_bool(value: Any) -> bool:
  """Whether there is a truth value among numbers, of which numpy makes a number."""
  if isinstance(value, list):
    return any(map(_holds_bool, value))
  return isinstance(value, bool)


def _strings(value: Any, rank: int) -> np.ndarray:
  def encode(item: Any, depth: int) -> Any:
    if depth:
      if not isinstance(item, list):
        raise ValueError("not a list")
      return [encode(part, depth - 1) for part in item]
    if _is_bytes(item):
      return base64.b64decode(item["b64"], validate=True)
    if not isinstance(item, str):
      raise ValueError("not a string")
    return item.encode()

  encoded = encode(value, rank)
  array = np.empty([len(encoded)] if rank == 1 else np.shape(encoded), object)
  array[...] = encoded
  return array


def format_response(outputs: Mapping[str, np.ndarray], in_rows: bool) -> dict[str, Any]:
  """The answer in TensorFlow Serving's form; a single output goes without its name."""
  plain = {name: _plain(name, value.tolist()) for name, value in outputs.items()}
  single = next(iter(plain.values())) if len(plain) == 1 else None
  if not in_rows:
    return {"outputs": plain if single is None else single}
  if single is not None:
    return {"predictions": single}
  names = sorted(plain)
  rows = zip(*(plain[name] for name in names), strict=True)
  return {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}


def _plain(name: str, value: Any) -> Any:
  if isinstance(value, list):
    return [_plain(name, item) for item in value]
  if isinstance(value, bytes):
    if name.endswith("_bytes"):
      return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")
  if isinstance(value, float) and not math.isfinite(value):
    return str(value)
  return value
