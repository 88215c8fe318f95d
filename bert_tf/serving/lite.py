"""Models for phones and small devices: the tensor signature as LiteRT (TensorFlow Lite) files.

LiteRT knows no text operations: ids go in, and every sequence has the full length.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from bert_tf.files import atomic_writer
from bert_tf.serving.modules import TextModule, concrete
from bert_tf.serving.options import LITE_KINDS, check_lite

_RUNS = 5


@dataclasses.dataclass(frozen=True)
class LiteReport:
  """What the LiteRT runtime measured of one file.

  Attributes:
    kind: one of `LITE_KINDS`.
    path: the file.
    size: bytes.
    difference: largest absolute difference of an output from the exported model's.
    milliseconds: median time of one sequence on one thread.
  """

  kind: str
  path: str
  size: int
  difference: float
  milliseconds: float

  def __str__(self) -> str:
    return (
      f"{self.path}: {self.size / 2**20:.1f} MiB, outputs within {self.difference:.2g},"
      f" {self.milliseconds:.1f} ms a sequence"
    )


def export_lite(
  module: TextModule,
  directory: str,
  features: dict[str, np.ndarray],
  kinds: Sequence[str] = LITE_KINDS,
) -> list[LiteReport]:
  """Writes `<directory>/model_<kind>.tflite` and measures each with the LiteRT runtime.

  Args:
    module: what is exported; text outputs, such as names of labels, are left out.
    directory: where to write.
    features: `input_ids`, `input_mask` and `segment_ids`, int32 [B, max_seq_length], to compare.
    kinds: which files.

  Raises:
    UserError: an unknown kind, or the extra `litert` is not installed.
  """
  check_lite(kinds)
  length = module.text.max_seq_length
  function = concrete(
    lambda **ids: _numbers(module, ids),
    {name: tf.TensorSpec([1, length], tf.int32, name=name) for name in features},
  )
  rows = len(features["input_ids"])
  expected = [
    {
      name: value.numpy()
      for name, value in function(
        **{k: tf.constant(v[i : i + 1]) for k, v in features.items()}
      ).items()
    }
    for i in range(rows)
  ]
  reports = []
  for kind in kinds:
    content = _convert(module, function, kind)
    path = os.path.join(directory, f"model_{kind}.tflite")
    with atomic_writer(path, "wb") as file:
      file.write(content)
    difference, milliseconds = _measure(content, features, expected)
    reports.append(LiteReport(kind, path, len(content), difference, milliseconds))
  return reports


def _numbers(module: TextModule, ids: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  outputs = module.answers(ids)
  return {name: value for name, value in outputs.items() if value.dtype != tf.string}


def _convert(module: TextModule, function, kind: str) -> bytes:
  converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
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


def _measure(content: bytes, features, expected) -> tuple[float, float]:
  """The largest difference of an output and the median time of a run in ms."""
  from ai_edge_litert.interpreter import Interpreter

  interpreter = Interpreter(model_content=content, num_threads=1)
  runner = interpreter.get_signature_runner()
  largest, times = 0.0, []
  for i, outputs in enumerate(expected):
    row = {name: value[i : i + 1] for name, value in features.items()}
    for _ in range(_RUNS):
      started = time.perf_counter()
      found = runner(**row)
      times.append(time.perf_counter() - started)
    for name, value in outputs.items():
      largest = max(largest, float(np.abs(found[name] - value).max()))
  return largest, float(np.median(times) * 1000)
