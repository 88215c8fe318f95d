"""Writes a SavedModel version that is complete and checked, or not there at all."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.export import deployment, warmup
from bert_tf.export.options import SCRATCH_PREFIX, ExportOptions
from bert_tf.files import scratch_directory

# A fresh process imports TensorFlow and loads the bundle twice; a hang must not last for ever.
_CHECK_SECONDS = 1800
CARD_FILE = "README.md"
# Signatures that TensorFlow Serving's Classify and Regress answer with.
METHODS = ("classify", "regress")

Samples = Mapping[str, tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]]
# Checks bundles, each a directory and its samples; raises UserError where one is not fit to serve.
Check = Callable[[Sequence[tuple[str, Samples]]], None]


def write(
  module: tf.Module,
  signatures: Mapping[str, Any],
  assets: Mapping[str, bytes],
  samples: Samples,
  options: ExportOptions,
  finish: Callable[[str], None] = lambda saved: None,
  check_all: Check | None = None,
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
    check_all: what checks the bundle; default: `check`.

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
      (check_all or check)([(moved, samples)])
      saved = moved
    # First, since from its renaming on the version is served.
    deployment.write(options.export_dir)
    try:
      os.rename(saved, path)
    except OSError as error:
      raise UserError(f"cannot write {path}: {error.strerror}; give another version") from error
  return path


@contextlib.contextmanager
def _scratch(options: ExportOptions):
  """A directory beside the final one that is gone at the end."""
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(options.export_dir, exist_ok=True)
      scratch = stack.enter_context(scratch_directory(options.export_dir, SCRATCH_PREFIX))
    except OSError as error:
      raise options.cannot_write(error) from error
    yield scratch


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
    _name_methods(saved, signatures)
  except (tf.errors.OpError, OSError) as error:
    raise UserError(f"cannot write the export: {str(error).splitlines()[0]}") from error
  finally:
    logging.set_verbosity(verbosity)
  with open(os.path.join(saved, CARD_FILE), "wb") as file:
    file.write(model_card)


def _name_methods(saved: str, signatures: Mapping[str, Any]) -> None:
  """Says of the signatures that classify or regress tf.Examples that they do."""
  methods = [name for name in METHODS if name in signatures]
  if methods:
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(saved)
    for name in methods:
      updater.replace_method_name(name, f"tensorflow/serving/{name}")
    updater.save()


def _write_warmup(saved: str, samples: Samples, name: str) -> None:
  """Writes what a server of TensorFlow's answers before it is ready."""
  inputs = {signature: values for signature, (values, _) in samples.items()}
  with records.RecordWriter(os.path.join(saved, warmup.FILE)) as writer:
    for request in warmup.requests(inputs, name):
      writer.write(request)


def check(bundles: Sequence[tuple[str, Samples]]) -> None:
  """Loads bundles in a fresh process, through both loaders, and compares their answers.

  Args:
    bundles: directory of each, and its samples as of `write`.

  Raises:
    UserError: one does not load, or an answer differs from the expected one.
  """
  with check_process() as check_all:
    check_all(bundles)


@contextlib.contextmanager
def check_process() -> Iterator[Check]:
  """Starts the fresh process of `check` and yields what does it there.

  To import TensorFlow takes it as long as this process needs to make a small bundle: started
  first, it is there when the bundle is. On the CPU: the memory of a GPU belongs to the process that
  has computed on it first. Its standard input ends with this process, and so does it.
  """
  script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fresh_process_check.py")
  with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as errors:
    process = subprocess.Popen(
      [sys.executable, script],
      stdin=subprocess.PIPE,
      stdout=subprocess.DEVNULL,
      stderr=errors,
      text=True,
      cwd=directory,
      env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
    )

    def check_all(bundles: Sequence[tuple[str, Samples]]) -> None:
      arguments = []
      for number, (path, samples) in enumerate(bundles):
        expected = os.path.join(directory, f"samples-{number}.npz")
        arrays: dict[str, Any] = {**_arrays(samples)}
        np.savez(expected, **arrays)
        arguments += [os.path.abspath(path), expected]
      try:
        process.communicate("\0".join(arguments), timeout=_CHECK_SECONDS)
      except subprocess.TimeoutExpired as error:
        raise UserError(f"the export did not answer within {_CHECK_SECONDS} s") from error
      if process.returncode:
        errors.seek(0)
        raise UserError(
          "the export failed its check in a fresh process and was removed:"
          f" {_reason(errors.read(), process.returncode)}"
        )

    try:
      yield check_all
    finally:
      process.kill()
      process.communicate()


def _arrays(samples: Samples) -> dict[str, np.ndarray]:
  return {
    f"{signature}|{kind}|{name}": _storable(np.asarray(value))
    for signature, (inputs, outputs) in samples.items()
    for kind, values in (("in", inputs), ("out", outputs))
    for name, value in values.items()
  }


def _reason(errors: str, code: int) -> str:
  """The exception in what a Python process wrote before it died."""
  lines = [line.strip() for line in errors.splitlines() if line.strip()]
  for number in reversed(range(len(lines))):
    if re.match(r"[\w.]*(Error|Exception)\b", lines[number]):
      return " ".join(lines[number : number + 6])
  return (lines or [f"exit code {code}"])[-1]


def _storable(value: np.ndarray) -> np.ndarray:
  """Strings as base64, since numpy stores objects by pickling and cuts zero bytes off strings."""
  if value.dtype.kind not in "OUS":
    return value
  flat = [v.encode() if isinstance(v, str) else v for v in value.reshape(-1).tolist()]
  return np.array([base64.b64encode(v) for v in flat], np.bytes_).reshape(value.shape)


def to_json(value: Any) -> str:
  """JSON as the bundle's assets hold it."""
  return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
