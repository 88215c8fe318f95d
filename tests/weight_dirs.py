"""Directories of weights such as others leave them: parts missing, numbers damaged."""

from __future__ import annotations

import fnmatch
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np


def write(
  golden: pathlib.Path,
  directory: pathlib.Path,
  source: str = "tiny_ckpt",
  without: tuple[str, ...] = (),
  change: Callable[[str, np.ndarray], np.ndarray] = lambda name, value: value,
  vocabulary: str | None = "vocab.txt",
  **files: dict[str, Any],
) -> str:
  """Writes golden weights with config and vocabulary into `directory`, and returns its path.

  Args:
    golden: the golden files.
    directory: is created.
    source: which checkpoint.
    without: patterns of names of weights to leave out.
    change: makes of a weight what is written.
    vocabulary: the golden vocabulary's name, or None to write none.
    files: content of JSON files, by name without ".json".
  """
  from bert_tf.checkpoints import formats, tf1

  reader = formats.open_checkpoint(str(golden / source))
  directory.mkdir(exist_ok=True)
  kept = [n for n in reader.shapes if not any(fnmatch.fnmatchcase(n, p) for p in without)]
  tf1.write(str(directory / "bert_model.ckpt"), {n: change(n, reader.read(n)) for n in kept})
  shutil.copy(golden / "bert_config.json", directory)
  if vocabulary:
    shutil.copy(golden / vocabulary, directory / "vocab.txt")
  for name, values in files.items():
    (directory / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
  return str(directory)
