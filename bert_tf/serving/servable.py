"""A version of a model, loaded the way that TensorFlow Serving loads it, and asked in batches."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  Registers the ops of the tokenizers.

from bert_tf.serving import locate

_INIT_SIGNATURE = "__saved_model_init_op"
_WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")


# Operations run in the thread that asks, one after the other; each may use all cores. To hand them
# from thread to thread takes longer than most of them, and every thread keeps kernels of its own.
_IN_THIS_THREAD = tf.compat.v1.RunOptions(inter_op_thread_pool=-1)

# Threads that have helped with an operation sleep until the next one. To spin in between pays where
# a machine has nothing else to do; here other requests have use for the cores.
_CONFIG = tf.compat.v1.ConfigProto()
_CONFIG.experimental.disable_thread_spinning = True


class RequestError(ValueError):
  """A request that cannot be answered.

  Attributes:
    code: the gRPC status code's name, such as "INVALID_ARGUMENT".
  """

  def __init__(self, message: str, code: str = "INVALID_ARGUMENT"):
    super().__init__(message)
    self.code = code


class Servable:
  """A loaded version.

  Attributes:
    version: its number.
    signatures: SignatureDef protos by name.
    facts: what the export says of itself.
    batched: names of the signatures all of whose inputs and outputs have the batch first.
  """

  def __init__(self, path: str, version: int):
    """Loads and warms up; raises whatever TensorFlow raises where the bundle is broken."""
    self.version = version
    self.facts = locate.facts(path)
    self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_CONFIG)
    try:
      with self._session.graph.as_default():
        meta = tf.compat.v1.saved_model.load(self._session, ["serve"], path)
      self.signatures = {
        name: definition
        for name, definition in meta.signature_def.items()
        if name != _INIT_SIGNATURE
      }
      self._callables = {name: self._callable(name) for name in self.signatures}
      self._warm_up(path)
    except BaseException:
      self._session.close()
      raise

  def _callable(self, name: str):
    definition = self.signatures[name]
    graph = self._session.graph
    names = sorted(definition.inputs)
    with graph.as_default():
      feeds = [graph.get_tensor_by_name(definition.inputs[n].name) for n in names]
      fetches = {n: graph.get_tensor_by_name(i.name) for n, i in definition.outputs.items()}
      function = self._session.make_callable(fetches, feeds, accept_options=True)
    return lambda inputs: function(*(inputs[n] for n in names), options=_IN_THIS_THREAD)

  def _warm_up(self, path: str) -> None:
    file = os.path.join(path, _WARMUP)
    if not os.path.exists(file):
      return
    from tensorflow_serving.apis import prediction_log_pb2

    from bert_tf.data.records import read_records

    for record in read_records(file):
      request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
      inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
      self.run(request.model_spec.signature_name or "serving_default", inputs)

  def signature(self, name: str) -> Any:
    """The SignatureDef `name`; raises RequestError where there is none."""
    if name not in self.signatures:
      raise RequestError(
        f"expected a signature of {', '.join(sorted(self.signatures))}, found {name[:80]!r}"
      )
    return self.signatures[name]

  def check(self, name: str, inputs: Mapping[str, np.ndarray]) -> int:
    """Returns the number of rows; raises RequestError where inputs do not fit the signature."""
    expected = self.signature(name).inputs
    if set(inputs) != set(expected):
      raise RequestError(
        f"expected the inputs {', '.join(sorted(expected))}, found"
        f" {', '.join(sorted(n[:40] for n in inputs)) or 'none'}"
      )
    for key, value in inputs.items():
      shape = [dim.size for dim in expected[key].tensor_shape.dim]
      if value.ndim != len(shape) or any(
        size not in (-1, found) for size, found in zip(shape, value.shape, strict=True)
      ):
        raise RequestError(f"expected {key} of shape {_shape(shape)}, found {_shape(value.shape)}")
    rows = {value.shape[0] if value.ndim else 1 for value in inputs.values()}
    if len(rows) != 1:
      raise RequestError("expected inputs of equally many rows")
    return rows.pop()

  def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of a signature; raises RequestError where the graph refuses the input."""
    try:
      return self._callables[name](inputs)
    except tf.errors.OpError as error:
      raise RequestError(_first_sentence(error), _code(error)) from error

  def close(self) -> None:
    """Frees the model."""
    self._session.close()


def _shape(sizes) -> str:
  return "[" + ", ".join("?" if size == -1 else str(size) for size in sizes) + "]"


def _code(error: tf.errors.OpError) -> str:
  codes = {
    tf.errors.INVALID_ARGUMENT: "INVALID_ARGUMENT",
    tf.errors.OUT_OF_RANGE: "INVALID_ARGUMENT",
    tf.errors.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
  }
  return codes.get(error.error_code, "INTERNAL")


def _first_sentence(error: tf.errors.OpError) -> str:
  """What went wrong, without the trace of graph nodes and source lines around it."""
  text = str(error.message or error)
  marker = "assertion failed: ["
  if marker in text:
    return text.split(marker, 1)[1].split("]", 1)[0].strip()[:300]
  lines = [line.strip() for line in text.splitlines()]
  coded = re.compile(r"(?:\(\d+\) )?[A-Z_]{5,}: +(.+)")
  reasons = [match.group(1) for line in lines if (match := coded.match(line))]
  noise = ("Graph execution error", "Detected at node", "File ", "[[", "(most recent")
  others = [line for line in lines if line and not line.startswith(noise)]
  return (reasons or others or ["the model refused the input"])[0][:300]
