"""Models for phones and small devices: the tensor signature as LiteRT (TensorFlow Lite) files.

LiteRT knows no text operations: ids go in. Its kernels are planned for fixed shapes, so a file has
a signature for each of some lengths, all of the same weights, and a sequence is padded to the next.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from bert_tf.export.graphs.text import TextModule, concrete
from bert_tf.export.options import LITE_KINDS, check_lite
from bert_tf.files import atomic_writer

_RUNS = 5
_SIGNATURE = "length_{}"


@dataclasses.dataclass(frozen=True)
class LiteReport:
  """What the LiteRT runtime measured of one file.

  Attributes:
    kind: one of `LITE_KINDS`.
    path: the file.
    size: bytes.
    difference: largest absolute difference of an output from the exported model's.
    milliseconds: median time of one sequence on one thread, by its length.
  """

  kind: str
  path: str
  size: int
  difference: float
  milliseconds: dict[int, float]

  def __str__(self) -> str:
    times = ", ".join(f"{ms:.1f} ms for {length}" for length, ms in self.milliseconds.items())
    return (
      f"{self.path}: {self.size / 2**20:.1f} MiB, outputs within {self.difference:.2g}, {times}"
    )


class LiteModel:
  """A file of `export_lite` by the LiteRT runtime, for one sequence at a time."""

  def __init__(self, path: str | os.PathLike[str], num_threads: int = 1):
    """Opens the file; needs the extra `litert`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=os.fspath(path), num_threads=num_threads)
    by_length = {int(name.rpartition("_")[2]): name for name in interpreter.get_signature_list()}
    self._runners = {
      length: interpreter.get_signature_runner(by_length[length]) for length in sorted(by_length)
    }

  @property
  def lengths(self) -> tuple[int, ...]:
    """The lengths that there are signatures for, ascending."""
    return tuple(self._runners)

  def __call__(self, features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs for `input_ids`, `input_mask` and `segment_ids`, int32 [1, S].

    Padding at the end is cut off, or more is added, up to the shortest length that will do; that
    is the length of outputs for each token.

    Raises:
      ValueError: more tokens than the longest signature takes.
    """
    used = int(np.flatnonzero(features["input_mask"][0]).max(initial=0)) + 1
    length = next((length for length in self._runners if length >= used), None)
    if length is None:
      raise ValueError(f"expected at most {self.lengths[-1]} tokens, found {used}")
    return self._runners[length](**{
      name: np.pad(ids[:, :length], [(0, 0), (0, max(0, length - ids.shape[1]))])
      for name, ids in features.items()
    })  # fmt: skip


def export_lite(
  module: TextModule,
  directory: str,
  features: dict[str, np.ndarray],
  kinds: Sequence[str] = LITE_KINDS,
  lengths: Sequence[int] = (),
) -> list[LiteReport]:
  """Writes `<directory>/model_<kind>.tflite` and measures each with the LiteRT runtime.

  Args:
    module: what is exported; text outputs, such as names of labels, are left out.
    directory: where to write.
    features: `input_ids`, `input_mask` and `segment_ids`, int32 [B, max_seq_length], to compare.
    kinds: which files.
    lengths: of the signatures; default: max_seq_length alone.

  Raises:
    UserError: an unknown kind, or the extra `litert` is not installed.
  """
  check_lite(kinds)
  functions = {
    length: concrete(
      lambda **ids: _numbers(module, ids),
      {name: tf.TensorSpec([1, length], tf.int32, name=name) for name in features},
    )
    for length in lengths or (module.text.max_seq_length,)
  }
  reports = []
  # The converter takes several signatures from a SavedModel only.
  os.makedirs(directory, exist_ok=True)
  with tempfile.TemporaryDirectory(dir=directory) as saved:
    signatures = {_SIGNATURE.format(length): function for length, function in functions.items()}
    tf.saved_model.save(module, saved, signatures=signatures)
    for kind in kinds:
      content = _convert(saved, list(signatures), kind)
      path = os.path.join(directory, f"model_{kind}.tflite")
      with atomic_writer(path, "wb") as file:
        file.write(content)
      difference, milliseconds = _measure(path, functions, features)
      reports.append(LiteReport(kind, path, len(content), difference, milliseconds))
  return reports


def _numbers(module: TextModule, ids: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  outputs = module.answers(ids)
  return {name: value for name, value in outputs.items() if value.dtype != tf.string}


def _convert(saved: str, signatures: list[str], kind: str) -> bytes:
  converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=signatures)
  if kind != "float32":
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
  if kind == "float16":
    converter.target_spec.supported_types = [tf.float16]
  verbosity = logging.get_verbosity()
  try:
    logging.set_verbosity(logging.ERROR)
    return converter.convert()
  finally:
    logging.set_verbosity(verbosity)


def _measure(path: str, functions, features) -> tuple[float, dict[int, float]]:
  """The largest difference of an output, and the median time of a run in ms by length."""
  model = LiteModel(path)
  largest, milliseconds = 0.0, {}
  for length, function in functions.items():
    times = []
    for i in range(len(features["input_ids"])):
      row = {name: value[i : i + 1, :length] for name, value in features.items()}
      # With a last token, or a shorter signature would do.
      row["input_mask"] = np.array(row["input_mask"])
      row["input_mask"][0, -1] = 1
      for _ in range(_RUNS):
        started = time.perf_counter()
        found = model(row)
        times.append(time.perf_counter() - started)
      for name, value in function(**{k: tf.constant(v) for k, v in row.items()}).items():
        largest = max(largest, float(np.abs(found[name] - value).max()))
    milliseconds[length] = float(np.median(times) * 1000)
  return largest, milliseconds
