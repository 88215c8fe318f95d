"""Writes a SavedModel version that is complete and checked, or not there at all."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.export import deployment, warmup
from bert_tf.export.options import SCRATCH_PREFIX, ExportOptions

# A fresh process imports TensorFlow and loads the bundle twice; a hang must not last for ever.
_CHECK_SECONDS = 1800
CARD_FILE = "README.md"

Samples = Mapping[str, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]


def write(
  module: tf.Module,
  signatures: Mapping[str, Any],
  assets: Mapping[str, bytes],
  samples: Samples,
  options: ExportOptions,
  finish: Callable[[str], None] = lambda saved: None,
) -> str:
  """Saves a module as `<export_dir>/<version>`.

  Args:
    module: holds all variables of the signatures.
    signatures: concrete functions by name.
    assets: file name -> content of files that travel with the bundle; a model card among
      them is put beside the graph.
    samples: signature -> (inputs, outputs that the Python pipeline gives for them).
    options: where to write.
    finish: puts more files into the directory that it is given, before the check.

  Returns:
    The directory.

  Raises:
    UserError: the version exists, the directory cannot be written, or the bundle does not load
      or answers otherwise than the Python pipeline. Nothing is left behind.
  """
  path = options.target()
  with _scratch(options) as scratch:
    saved = os.path.join(scratch, "saved")
    _save(module, signatures, assets, saved, scratch)
    _write_warmup(saved, samples, deployment.model_name(options.export_dir))
    finish(saved)
    if options.check:
      # Elsewhere than where it was saved: a path that got into the graph would show.
      moved = os.path.join(scratch, "moved", "1")
      os.makedirs(os.path.dirname(moved))
      os.rename(saved, moved)
      check([(moved, samples)])
      saved = moved
    try:
      os.rename(saved, path)
    except OSError as error:
      raise UserError(f"cannot write {path}: {error.strerror}; give another version") from error
  deployment.write(options.export_dir)
  return path


@contextlib.contextmanager
def _scratch(options: ExportOptions):
  """A directory beside the final one that is gone at the end."""
  try:
    os.makedirs(options.export_dir, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=options.export_dir)
  except OSError as error:
    raise options.cannot_write(error) from error
  try:
    yield scratch
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def _save(module, signatures, assets: Mapping[str, bytes], saved: str, scratch: str) -> None:
  sources = []
  assets = dict(assets)
  model_card = assets.pop(CARD_FILE, b"")
  for name, content in assets.items():
    path = os.path.join(scratch, name)
    with open(path, "wb") as file:
      file.write(content)
    sources.append(tf.saved_model.Asset(path))
  module.assets = sources
  verbosity = logging.get_verbosity()
  try:
    # TensorFlow notes every renamed input of every signature.
    logging.set_verbosity(logging.WARNING)
    tf.saved_model.save(module, saved, signatures=signatures)
  except (tf.errors.OpError, OSError) as error:
    raise UserError(f"cannot write the export: {str(error).splitlines()[0]}") from error
  finally:
    logging.set_verbosity(verbosity)
  with open(os.path.join(saved, CARD_FILE), "wb") as file:
    file.write(model_card)


def _write_warmup(saved: str, samples: Samples, name: str) -> None:
  """Writes what a server of TensorFlow's answers before it is ready."""
  inputs = {signature: values for signature, (values, _) in samples.items()}
  with records.RecordWriter(os.path.join(saved, warmup.FILE)) as writer:
    for request in warmup.requests(inputs, name):
      writer.write(request)


def check(bundles: Sequence[tuple[str, Samples]]) -> None:
  """Loads bundles in a fresh process, through both loaders, and compares their answers.

  On the CPU: the memory of a GPU belongs to the process that has computed on it first.

  Args:
    bundles: directory of each, and its samples as of `write`.

  Raises:
    UserError: one does not load, or an answer differs from the expected one.
  """
  with tempfile.TemporaryDirectory() as directory:
    arguments = []
    for number, (path, samples) in enumerate(bundles):
      expected = os.path.join(directory, f"samples-{number}.npz")
      arrays: dict[str, Any] = {**_arrays(samples)}
      np.savez(expected, **arrays)
      arguments += [os.path.abspath(path), expected]
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fresh_process_check.py")
    command = [sys.executable, script, *arguments]
    try:
      result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_CHECK_SECONDS,
        check=False,
        cwd=directory,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
      )
    except subprocess.TimeoutExpired as error:
      raise UserError(f"the export did not answer within {_CHECK_SECONDS} s") from error
  if result.returncode:
    raise UserError(
      f"the export failed its check in a fresh process and was removed: {_reason(result)}"
    )


def _arrays(samples: Samples) -> dict[str, np.ndarray]:
  return {
    f"{signature}|{kind}|{name}": _storable(np.asarray(value))
    for signature, (inputs, outputs) in samples.items()
    for kind, values in (("in", inputs), ("out", outputs))
    for name, value in values.items()
  }


def _reason(result: subprocess.CompletedProcess[str]) -> str:
  """The exception in what a Python process wrote before it died."""
  lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
  for number in reversed(range(len(lines))):
    if re.match(r"[\w.]*(Error|Exception)\b", lines[number]):
      return " ".join(lines[number : number + 6])
  return (lines or [f"exit code {result.returncode}"])[-1]


def _storable(value: np.ndarray) -> np.ndarray:
  """Strings as base64, since numpy stores objects by pickling and cuts zero bytes off strings."""
  if value.dtype.kind not in "OUS":
    return value
  flat = [v.encode() if isinstance(v, str) else v for v in value.reshape(-1).tolist()]
  return np.array([base64.b64encode(v) for v in flat], np.bytes_).reshape(value.shape)


def to_json(value: Any) -> str:
  """JSON as the bundle's assets hold it."""
  return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
