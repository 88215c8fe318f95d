"""The requests that warm a server up: TensorFlow Serving answers them before it is ready.

A file of PredictionLogs (tensorflow_serving/apis/prediction_log.proto), written without the classes
of these messages, which only the extra `serving` brings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

FILE = "assets.extra/tf_serving_warmup_requests"
# Texts of a request; a batch runs code that a single text does not.
_SIZES = (1, 8)
# Numbers of the fields, all of which hold a message or a string.
_PREDICT_LOG, _REQUEST = 6, 1  # PredictionLog.predict_log, PredictLog.request
_MODEL_SPEC, _INPUTS = 1, 2  # of PredictRequest
_NAME, _SIGNATURE_NAME = 1, 3  # of ModelSpec
_KEY, _VALUE = 1, 2  # of an entry of a map
_LENGTH_DELIMITED = 2


def requests(inputs: Mapping[str, Mapping[str, np.ndarray]], model_name: str) -> list[bytes]:
  """Returns serialized PredictionLogs of two sizes for every signature.

  Args:
    inputs: signature -> name -> rows, of which each request repeats as many as it needs.
    model_name: name of the model on the server.
  """
  return [
    _request(
      model_name,
      signature,
      {name: np.resize(rows, (size, *rows.shape[1:])) for name, rows in tensors.items()},
    )
    for signature, tensors in inputs.items()
    for size in _SIZES
  ]


def _request(model_name: str, signature: str, tensors: Mapping[str, np.ndarray]) -> bytes:
  import tensorflow as tf

  spec = _field(_NAME, model_name.encode()) + _field(_SIGNATURE_NAME, signature.encode())
  request = _field(_MODEL_SPEC, spec)
  for name, rows in sorted(tensors.items()):
    tensor = tf.make_tensor_proto(tf.constant(rows)).SerializeToString(deterministic=True)
    request += _field(_INPUTS, _field(_KEY, name.encode()) + _field(_VALUE, tensor))
  return _field(_PREDICT_LOG, _field(_REQUEST, request))


def _field(number: int, content: bytes) -> bytes:
  """A field that holds bytes, as protobuf encodes it."""
  return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
  parts = []
  while value > 0x7F:
    parts.append(value & 0x7F | 0x80)
    value >>= 7
  return bytes([*parts, value])
