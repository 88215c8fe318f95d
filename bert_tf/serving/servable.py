"""A version of a model, loaded the way that TensorFlow Serving loads it, and asked in batches."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import enum
import os
import queue
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  Registers the ops of the tokenizers.

from bert_tf.serving import locate
from bert_tf.serving.errors import RequestError, reason

_INIT_SIGNATURE = "__saved_model_init_op"
_WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")
# Runs that may go on beside those of the batches: they measure texts.
_SPARE_RUNS = 2
# What a run without a deadline is given, a warm-up request among them.
_LONGEST_RUN = 600.0
# A piece of text takes about so many bytes, where an export cannot count them.
_BYTES_OF_A_PIECE = 4
# Inputs on text, and which of the two texts of `tokenize` each stands for.
_TEXTS = {"text": "text", "question": "text", "text_pair": "text_pair", "context": "text_pair"}


class Company(enum.Enum):
  """Which requests a signature can answer together so that each gets what it would get alone."""

  ANY = enum.auto()  # No output is wider for its neighbours: ids may be padded.
  CUT = enum.auto()  # The export says how wide each row's own outputs are.
  SAME = enum.auto()  # Outputs are as wide as the ids, which must be equally wide.
  ALONE = enum.auto()


def _config(pools: int) -> tf.compat.v1.ConfigProto:
  """A pool of one thread for every run at a time.

  To hand operations from thread to thread takes longer than most of them, and every thread keeps
  kernels of its own. In a pool, unlike in the thread that asks, a run can be stopped. Threads that
  have helped with an operation sleep until the next one: to spin in between pays where a machine
  has nothing else to do; here other requests have use for the cores.
  """
  config = tf.compat.v1.ConfigProto()
  config.experimental.disable_thread_spinning = True
  for _ in range(pools):
    config.session_inter_op_thread_pool.add().num_threads = 1
  return config


class Servable:
  """A loaded version.

  Attributes:
    version: its number.
    signatures: SignatureDef protos by name.
    facts: what the export says of itself.
  """

  def __init__(self, path: str, version: int, runs: int = 1):
    """Loads and warms up; raises whatever TensorFlow raises where the bundle is broken.

    Args:
      path: directory of the version.
      version: its number.
      runs: how many batches run at the same time.
    """
    self.version = version
    self.facts = locate.facts(path)
    pools = runs + _SPARE_RUNS
    self._pools: queue.SimpleQueue[int] = queue.SimpleQueue()
    for pool in range(pools):
      self._pools.put(pool)
    self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_config(pools))
    try:
      with self._session.graph.as_default():
        meta = tf.compat.v1.saved_model.load(self._session, ["serve"], path)
      self.signatures = {
        name: definition
        for name, definition in meta.signature_def.items()
        if name != _INIT_SIGNATURE
      }
      self._callables = {name: self._callable(name) for name in self.signatures}
      self._company = {name: self._company_of(name) for name in self.signatures}
      self._measure = self._measuring()
      self._warm_up(path)
    except BaseException:
      self._session.close()
      raise

  def _callable(self, name: str, outputs: Iterable[str] | None = None) -> Callable:
    """A function of a signature's inputs and of what decides how it runs."""
    definition = self.signatures[name]
    graph = self._session.graph
    names = sorted(definition.inputs)
    with graph.as_default():
      feeds = [graph.get_tensor_by_name(definition.inputs[n].name) for n in names]
      fetches = {
        n: graph.get_tensor_by_name(definition.outputs[n].name)
        for n in outputs or definition.outputs
      }
      function = self._session.make_callable(fetches, feeds, accept_options=True)
    return lambda inputs, options: function(*(inputs[n] for n in names), options=options)

  def _warm_up(self, path: str) -> None:
    file = os.path.join(path, _WARMUP)
    if not os.path.exists(file):
      return
    from tensorflow_serving.apis import prediction_log_pb2

    from bert_tf.data.records import read_records

    requests = collections.defaultdict(list)
    for record in read_records(file):
      request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
      inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
      requests[request.model_spec.signature_name or "serving_default"].append(inputs)

    def answer_all(name: str) -> None:
      for inputs in requests[name]:
        self.run(name, inputs)

    # Most of the time goes into graphs that are made fit to run, each on one core.
    with ThreadPoolExecutor(self._pools.qsize()) as pool:
      list(pool.map(answer_all, requests))

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

  def company(self, name: str) -> Company:
    """Which requests for a signature can be answered together."""
    return self._company[name]

  def _company_of(self, name: str) -> Company:
    definition = self.signatures[name]
    wider = {
      output
      for output, info in definition.outputs.items()
      if any(dim.size == -1 for dim in info.tensor_shape.dim[1:])
    }
    if not wider:
      return Company.ANY
    if wider <= self._widths(name).keys():
      return Company.CUT
    of_text = any(info.dtype == tf.string.as_datatype_enum for info in definition.inputs.values())
    return Company.ALONE if of_text else Company.SAME

  def _widths(self, name: str) -> Mapping[str, str]:
    """Output -> the output that says how wide its rows are."""
    return self.facts.get("widths", {}).get(name, {})

  def cut(self, name: str, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Some rows of a signature's outputs, as wide as if there had been no others."""
    cut = dict(outputs)
    for output, count in self._widths(name).items():
      if output in cut and self._company[name] is Company.CUT:
        cut[output] = cut[output][:, : int(outputs[count].max(initial=0))]
    return cut

  def _measuring(self) -> Callable | None:
    outputs = {"num_pieces", "num_windows"}
    if "tokenize" in self.signatures and outputs <= set(self.signatures["tokenize"].outputs):
      return self._callable("tokenize", outputs)
    return None

  def may_be_long(
    self, inputs: Mapping[str, np.ndarray], max_pieces: int, max_windows: int
  ) -> bool:
    """Whether texts have so many bytes that `refuse_long` may refuse them.

    A piece has at least a byte, and a window shows some pieces that none before it shows.
    """
    sizes = [sum(map(len, value.flat)) for value in inputs.values() if value.dtype == object]
    if sum(sizes) > max_pieces:
      return True
    facts = self.facts
    reads_on = facts.get("long_text") == "windows" or facts.get("task") == "tokens"
    if "context" not in inputs and not reads_on:
      return False
    room = facts.get("max_seq_length", 4) - 3 - facts.get("max_query_length", 0)
    new_pieces = max(1, min(room, facts.get("doc_stride") or 1))
    rows = max((len(value) for value in inputs.values()), default=0)
    return rows + sum(sizes) // new_pieces > max_windows

  def refuse_long(
    self, inputs: Mapping[str, np.ndarray], max_pieces: int, max_windows: int, seconds: float
  ) -> None:
    """Tokenizes texts that may be too long before anything is computed on them.

    Args:
      inputs: of a request.
      max_pieces: most word pieces of all rows.
      max_windows: most sequences that the encoder may be given for them.
      seconds: how long that may take.

    Raises:
      RequestError: there are more.
    """
    texts = {_TEXTS[n]: v for n, v in inputs.items() if n in _TEXTS and v.dtype == object}
    if not texts:
      return
    pieces = sum(len(text) for column in texts.values() for text in column) // _BYTES_OF_A_PIECE
    windows = 0
    if self._measure:
      empty = np.full(next(iter(texts.values())).shape, b"", object)
      both = {"text": empty, "text_pair": empty, **texts}
      measured = self._stoppable(self._measure, both, seconds)
      pieces, windows = int(measured["num_pieces"].sum()), int(measured["num_windows"].sum())
    for what, found, most in (
      ("word pieces", pieces, max_pieces),
      ("windows", windows, max_windows),
    ):
      if found > most:
        raise RequestError(
          f"expected at most {most} {what} in a request, found {found}; send a shorter text, or"
          " fewer"
        )

  def run(
    self, name: str, inputs: Mapping[str, np.ndarray], seconds: float = _LONGEST_RUN
  ) -> dict[str, np.ndarray]:
    """The outputs of a signature.

    Args:
      name: of the signature.
      inputs: as `check` lets them pass.
      seconds: a run that takes longer is stopped.

    Raises:
      RequestError: the graph refuses the input, or the time is over.
    """
    return self._stoppable(self._callables[name], inputs, seconds)

  def _stoppable(self, function: Callable, inputs, seconds: float) -> dict[str, np.ndarray]:
    until = time.monotonic() + seconds
    try:
      pool = self._pools.get(timeout=max(seconds, 0.0))
    except queue.Empty:
      raise RequestError("the server is busy; try again", "UNAVAILABLE") from None
    # 0 would be no limit.
    left = max(1, int(1000 * (until - time.monotonic())))
    options = tf.compat.v1.RunOptions(inter_op_thread_pool=pool, timeout_in_ms=left)
    try:
      return function(inputs, options)
    except tf.errors.DeadlineExceededError as error:
      raise RequestError(
        f"the model was stopped: expected an answer within {seconds:.1f} s; send a shorter text, or"
        " fewer",
        "DEADLINE_EXCEEDED",
      ) from error
    except tf.errors.OpError as error:
      raise RequestError(reason(error), _code(error)) from error
    finally:
      self._pools.put(pool)

  def close(self) -> None:
    """Frees the model, and gives its memory back to the system."""
    self._session.close()
    self._callables.clear()
    self._measure = None
    # Its weights go with the last reference; an empty one may be closed again.
    self._session = tf.compat.v1.Session(graph=tf.Graph())
    # The C library keeps what is freed: hundreds of megabytes after a switch of versions.
    with contextlib.suppress(OSError, AttributeError):  # Not there but in glibc.
      ctypes.CDLL(None).malloc_trim(0)


def _shape(sizes) -> str:
  return "[" + ", ".join("?" if size == -1 else str(size) for size in sizes) + "]"


def _code(error: tf.errors.OpError) -> str:
  codes = {
    tf.errors.INVALID_ARGUMENT: "INVALID_ARGUMENT",
    tf.errors.OUT_OF_RANGE: "INVALID_ARGUMENT",
    tf.errors.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
  }
  return codes.get(error.error_code, "INTERNAL")
