"""Checks a bundle the way that a server meets it: in a process that knows nothing of bert_tf.

Run as a script: `python fresh_process_check.py BUNDLE SAMPLES.npz ...`. Without arguments they are
read from standard input, between zero bytes: TensorFlow is there by the time that they are known.
An array of the samples is named `signature|in|name` or `signature|out|name`. The bundle is loaded
through TensorFlow 2's loader and through the session loader by the tag "serve", which is how
TensorFlow Serving loads. Each answers the bundle's own warm-up requests, and every signature with
all samples, one, eight and none of them, the shortest and the longest.
"""

from __future__ import annotations

import base64
import collections
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Run as a script, this file's directory is where Python looks first, before its own modules.
sys.path = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401  Registers the ops of the tokenizer.
from tensorflow.core.framework import tensor_pb2  # noqa: E402

# The loaders share a machine with the pipeline that they are compared with; only the order of
# sums differs. bfloat16 keeps 8 bits.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}
_BFLOAT16 = {"rtol": 5e-2, "atol": 5e-2}
_WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")
_IDS = ("input_ids", "input_mask", "segment_ids")

Arrays = dict[str, np.ndarray]
# Answers a signature's inputs.
Answer = Callable[[str, Arrays], Arrays]


def read_samples(path: str) -> dict[str, dict[str, Arrays]]:
  """signature -> "in" or "out" -> name -> array."""
  samples: dict[str, dict] = collections.defaultdict(lambda: {"in": {}, "out": {}})
  with np.load(path, allow_pickle=False) as arrays:
    for key in arrays.files:
      signature, kind, name = key.split("|")
      samples[signature][kind][name] = decoded(arrays[key])
  return samples


def decoded(value: np.ndarray) -> np.ndarray:
  """Strings travel as base64."""
  if value.dtype.kind != "S":
    return value
  strings = [base64.b64decode(v) for v in value.reshape(-1).tolist()]
  return np.array(strings, object).reshape(value.shape)


def cases(sample: dict[str, Arrays], static: bool) -> Iterator[tuple[str, dict[str, Arrays]]]:
  """Yields parts of a sample, each with what it is called.

  Args:
    sample: inputs and outputs of a signature.
    static: whether ids are of one width; otherwise those of a short row come without padding.
  """
  lengths = _lengths(sample["in"])
  count = len(lengths)
  rows = {
    "all samples": range(count),
    "one row": [0],
    "eight rows": [number % count for number in range(8)],
    "no rows": [],
    "the shortest row": [int(np.argmin(lengths))],
    "the longest row": [int(np.argmax(lengths))],
  }
  for name, chosen in rows.items():
    part = {
      kind: {key: value[np.array(chosen, int)] for key, value in arrays.items()}
      for kind, arrays in sample.items()
    }
    if name == "the shortest row" and not static and "input_mask" in part["in"]:
      width = max(1, int(part["in"]["input_mask"].sum()))
      part["in"].update({key: part["in"][key][:, :width] for key in _IDS})
    yield name, part


def _lengths(inputs: Arrays) -> list[int]:
  """How long each row is, in tokens or bytes."""
  if "input_mask" in inputs:
    return inputs["input_mask"].sum(axis=1).tolist()
  return [sum(map(len, row)) for row in zip(*inputs.values(), strict=True)]


def compare(where: str, found: Arrays, expected: Arrays, tolerance: dict) -> None:
  """Raises AssertionError where an output differs.

  Outputs may be narrower than expected, but not shorter: the samples were padded together.
  """
  for name, value in expected.items():
    message = f"{where}: output {name} differs from the Python pipeline"
    if name not in found:
      raise AssertionError(f"{where}: there is no output {name}")
    answer = np.asarray(found[name])
    shapes = f"shape {answer.shape}, expected {value.shape}"
    if answer.ndim != value.ndim or len(answer) != len(value):
      raise AssertionError(f"{message}: {shapes}")
    if not len(value):
      continue
    value = value[tuple(map(slice, answer.shape))]
    if answer.shape != value.shape:
      raise AssertionError(f"{message}: {shapes}")
    if value.dtype.kind == "O":
      np.testing.assert_array_equal(answer, value, message)
    else:
      # Numbers near zero are as exact as the largest ones beside them: they are sums of such.
      sizes = np.abs(value.astype(np.float64))
      largest = np.max(sizes, where=np.isfinite(sizes), initial=1.0)
      atol = tolerance["atol"] * largest
      np.testing.assert_allclose(answer, value, tolerance["rtol"], atol, err_msg=message)


def tf2_loader(bundle: str) -> Answer:
  """Through `tf.saved_model.load`."""
  loaded = tf.saved_model.load(bundle)

  def answer(signature: str, inputs: Arrays) -> Arrays:
    function = loaded.signatures[signature]
    tensors = {
      name: tf.constant(value, tf.string if value.dtype.kind in "OS" else value.dtype)
      for name, value in inputs.items()
    }
    return {name: value.numpy() for name, value in function(**tensors).items()}

  return answer


def session_loader(bundle: str) -> Answer:
  """Through the session loader."""
  session = tf.compat.v1.Session(graph=tf.Graph())
  with session.graph.as_default():
    meta = tf.compat.v1.saved_model.load(session, ["serve"], bundle)

  def answer(signature: str, inputs: Arrays) -> Arrays:
    definition = meta.signature_def[signature]
    feed = {definition.inputs[name].name: value for name, value in inputs.items()}
    fetch = {name: info.name for name, info in definition.outputs.items()}
    return session.run(fetch, feed)

  return answer


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
  """Yields number and content of the fields of a protobuf message that holds no numbers."""
  place = 0

  def varint() -> int:
    nonlocal place
    value = shift = 0
    while True:
      byte = message[place]
      value |= (byte & 0x7F) << shift
      place, shift = place + 1, shift + 7
      if byte < 0x80:
        return value

  while place < len(message):
    number, kind = divmod(varint(), 8)
    if kind != 2:
      raise AssertionError(f"expected fields with messages or strings, found one of kind {kind}")
    length = varint()
    yield number, message[place : place + length]
    place += length


def warmup_requests(bundle: str) -> Iterator[tuple[str, Arrays]]:
  """Yields signature and inputs of the requests that a server answers before it is ready."""
  for record in tf.data.TFRecordDataset(os.path.join(bundle, _WARMUP)).as_numpy_iterator():
    [request] = [request for _, log in fields(record) for _, request in fields(log)]
    spec, inputs = b"", {}
    for number, content in fields(request):
      if number == 1:
        spec = content
        continue
      entry = dict(fields(content))
      inputs[entry[1].decode()] = tf.make_ndarray(tensor_pb2.TensorProto.FromString(entry[2]))
    yield dict(fields(spec))[3].decode(), inputs


def check(bundle: str, samples_path: str) -> None:
  """Runs all checks on a bundle; an exception means that it is not fit to serve."""
  samples = read_samples(samples_path)
  with open(os.path.join(bundle, "assets", "serving.json"), encoding="utf-8") as file:
    facts = json.load(file)
  exact = facts["dtype"] == "float32"
  if not exact:
    # Of two answers that are nearly equal, rounding may choose either.
    for sample in samples.values():
      sample["out"] = {
        k: v for k, v in sample["out"].items() if v.dtype.kind != "O" and k != "chosen"
      }
  tolerance = _FLOAT32 if exact else _BFLOAT16
  requests = collections.defaultdict(list)
  for signature, inputs in warmup_requests(bundle):
    requests[signature].append(inputs)

  def check_signature(job: tuple[str, Answer, str]) -> None:
    name, answer, signature = job
    for inputs in requests[signature]:
      _answered(f"{name}, signature {signature}, warm-up", answer, signature, inputs)
    if signature not in samples:
      return
    for case, part in cases(samples[signature], facts["static_length"]):
      where = f"{name}, signature {signature}, {case}"
      compare(where, _answered(where, answer, signature, part["in"]), part["out"], tolerance)

  # Most of the time goes into loading and into graphs that are made fit to run, on one core each.
  loaders = {"TF2 loader": tf2_loader, "session loader": session_loader}
  with ThreadPoolExecutor() as pool:
    answers = dict(zip(loaders, pool.map(lambda load: load(bundle), loaders.values()), strict=True))
    jobs = [
      (name, answers[name], signature) for signature in {**requests, **samples} for name in loaders
    ]
    list(pool.map(check_signature, jobs))


def _answered(where: str, answer: Answer, signature: str, inputs: Arrays) -> Arrays:
  try:
    return answer(signature, inputs)
  except tf.errors.OpError as error:
    # Its trace of nodes and source lines is for who wrote the graph.
    lines = [line.strip() for line in str(error.message).splitlines()]
    told = [line for line in lines if line and not line.startswith("Graph execution error")]
    raise AssertionError(f"{where}: {(told or ['it is refused'])[-1]}") from None


def main(arguments: list[str]) -> None:
  """Checks pairs of bundle and samples: of the arguments, or else of standard input."""
  for bundle, samples_path in zip(arguments[::2], arguments[1::2], strict=True):
    check(bundle, samples_path)
  if any(name.split(".")[0] == "bert_tf" for name in sys.modules):
    raise AssertionError("bert_tf was imported: the bundle does not stand on its own")


if __name__ == "__main__":
  main(sys.argv[1:] or sys.stdin.read().split("\0"))
