"""Leaves a model that is in memory in a directory, or exports it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bert_tf.errors import UserError
from bert_tf.export.options import ExportOptions
from bert_tf.export.run import ExportRun, ExportRunner
from bert_tf.files import scratch_directory
from bert_tf.model_dir import Description

if TYPE_CHECKING:
  import keras

# What may lie in a directory that is replaced.
_FILES = frozenset({
  "bert_config.json", "vocab.txt", "tokenizer_config.json", "labels.txt", "head.json",
  "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "config.json",
  "model.safetensors",
})  # fmt: skip


def save(
  model: keras.Model,
  about: Description,
  directory: str,
  overwrite: bool = False,
  format: str = "tf1",
) -> str:
  """Does what `checkpoints.save` does, also in place of an earlier model; see `TrainedModel`."""
  from bert_tf import checkpoints

  directory = os.path.abspath(os.path.expanduser(directory))
  _check_free(directory, overwrite)
  parent, name = os.path.split(directory)
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(parent, exist_ok=True)
      scratch = stack.enter_context(scratch_directory(parent, f".saving-{name}-"))
    except OSError as error:
      raise UserError(f"cannot write {directory}: {error.strerror}; give another path") from error
    new, old = os.path.join(scratch, "new"), os.path.join(scratch, "old")
    checkpoints.save(model, new, format, about)
    if os.path.isdir(directory):
      os.rename(directory, old)
    os.rename(new, directory)
  return directory


def _check_free(directory: str, overwrite: bool) -> None:
  if not os.path.lexists(directory):
    return
  found = sorted(os.listdir(directory)) if os.path.isdir(directory) else [directory]
  if overwrite:
    found = [name for name in found if name not in _FILES]
  if not found:
    return
  remedy = "give another path" if overwrite else "give another path, or overwrite=True"
  raise UserError(f"{directory}: expected a new or empty directory, found {found[0]}; {remedy}")


def export(
  model: keras.Model, about: Description, directory: str, options: Mapping[str, Any]
) -> str:
  """Exports what the model holds now."""
  with tempfile.TemporaryDirectory() as saved:
    path = save(model, about, os.path.join(saved, "model"))
    about = dataclasses.replace(about, vocab_file=os.path.join(path, "vocab.txt"))
    run = ExportRun(path, ExportOptions(directory, **options), about=about)
    return ExportRunner(run).export()
