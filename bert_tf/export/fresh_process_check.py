"""Checks a bundle the way that a server meets it: in a process that knows nothing of bert_tf.

Run as a script: `python fresh_process_check.py BUNDLE SAMPLES.npz ...`. An array of the samples is
named `signature|in|name` or `signature|out|name`. The bundle is loaded through TensorFlow 2's
loader and through the session loader by the tag "serve", which is how TensorFlow Serving loads.
"""

from __future__ import annotations

import base64
import collections
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Run as a script, this file's directory is where Python looks first, before its own modules.
sys.path = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401  Registers the ops of the tokenizer.

# The loaders share a machine with the pipeline that they are compared with; only the order of
# sums differs. bfloat16 keeps 8 bits.
_FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}
_BFLOAT16 = {"rtol": 5e-2, "atol": 5e-2}


def read_samples(path: str) -> dict:
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


def compare(where: str, found: dict, expected: dict, tolerance: dict) -> None:
  """Raises AssertionError where an output differs."""
  for name, value in expected.items():
    message = f"{where}: output {name} differs from the Python pipeline"
    if name not in found:
      raise AssertionError(f"{where}: there is no output {name}")
    answer = np.asarray(found[name])
    if answer.shape != value.shape:
      raise AssertionError(f"{message}: shape {answer.shape}, expected {value.shape}")
    if value.dtype.kind == "O":
      np.testing.assert_array_equal(answer, value, message)
    else:
      np.testing.assert_allclose(answer, value, err_msg=message, **tolerance)


def check_tf2(bundle: str, samples: dict, tolerance: dict) -> None:
  """Through `tf.saved_model.load`."""
  loaded = tf.saved_model.load(bundle)
  for signature, sample in samples.items():
    inputs = {name: tf.constant(value) for name, value in sample["in"].items()}
    found = loaded.signatures[signature](**inputs)
    compare(f"TF2 loader, signature {signature}", found, sample["out"], tolerance)


def check_session(bundle: str, samples: dict, tolerance: dict) -> None:
  """Through the session loader."""
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], bundle)
    for signature, sample in samples.items():
      definition = meta.signature_def[signature]
      feed = {definition.inputs[name].name: v for name, v in sample["in"].items()}
      fetch = {name: info.name for name, info in definition.outputs.items()}
      found = session.run(fetch, feed)
      compare(f"session loader, signature {signature}", found, sample["out"], tolerance)


def check(bundle: str, samples_path: str) -> None:
  """Runs all checks on a bundle; an exception means that it is not fit to serve."""
  samples = read_samples(samples_path)
  with open(os.path.join(bundle, "assets", "serving.json"), encoding="utf-8") as file:
    exact = json.load(file)["dtype"] == "float32"
  if not exact:
    # Of two answers that are nearly equal, rounding may choose either.
    for sample in samples.values():
      sample["out"] = {k: v for k, v in sample["out"].items() if v.dtype.kind != "O"}
  tolerance = _FLOAT32 if exact else _BFLOAT16
  check_tf2(bundle, samples, tolerance)
  check_session(bundle, samples, tolerance)


def main(arguments: list[str]) -> None:
  """Checks pairs of bundle and samples."""
  for bundle, samples_path in zip(arguments[::2], arguments[1::2], strict=True):
    check(bundle, samples_path)
  if any(name.split(".")[0] == "bert_tf" for name in sys.modules):
    raise AssertionError("bert_tf was imported: the bundle does not stand on its own")


if __name__ == "__main__":
  main(sys.argv[1:])
