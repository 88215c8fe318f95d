"""Finds the exported versions in a directory and reads what they say of themselves."""

from __future__ import annotations

import json
import os
from typing import Any

from bert_tf.errors import UserError

_MODEL_FILE = "saved_model.pb"
# Versions are signed 64-bit numbers in all interfaces.
_LARGEST = (1 << 63) - 1


def versions(model_dir: str) -> list[int]:
  """The versions in a model's directory, in ascending order."""
  try:
    names = os.listdir(model_dir)
  except OSError:
    return []
  return sorted(
    int(name)
    for name in names
    if name.isascii()
    and name.isdigit()
    and name == str(int(name))
    and int(name) <= _LARGEST
    and os.path.exists(os.path.join(model_dir, name, _MODEL_FILE))
  )


def is_export(path: str) -> bool:
  """Whether `path` is a version, or a directory with at least one."""
  return os.path.exists(os.path.join(path, _MODEL_FILE)) or bool(versions(path))


def find(path: str) -> str:
  """The version that `path` means: itself, or the newest in it.

  Raises:
    UserError: there is none.
  """
  if os.path.exists(os.path.join(path, _MODEL_FILE)):
    return path
  found = versions(path)
  if not found:
    raise UserError(
      f"expected an exported model, found no {_MODEL_FILE} in {path!r} or in a numbered directory"
      " of it; give the directory that export_model.py or --export_dir wrote"
    )
  return os.path.join(path, str(found[-1]))


def facts(version_dir: str) -> dict[str, Any]:
  """What the bundle says of itself (task, lengths, types); empty for a foreign SavedModel."""
  try:
    with open(os.path.join(version_dir, "assets", "serving.json"), encoding="utf-8") as file:
      return json.load(file)
  except (OSError, ValueError):
    return {}
