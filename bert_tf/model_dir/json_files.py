"""JSON objects beside weights."""

from __future__ import annotations

import json
import os
from typing import Any

from bert_tf.errors import UserError

# Descriptions are small; a file that is larger is none.
_MOST_BYTES = 64 << 20


def read(path: str, remedy: str = "remove it") -> dict[str, Any]:
  """Returns the object in a file, or {} where there is no such file.

  Raises:
    UserError: the file holds no JSON object.
  """
  if not os.path.isfile(path):
    return {}
  if os.path.getsize(path) > _MOST_BYTES:
    size = _MOST_BYTES >> 20
    raise UserError(f"{path}: expected at most {size} MiB of JSON, found more; {remedy}")
  try:
    with open(path, encoding="utf-8-sig") as file:
      values = json.load(file)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{path}: expected a JSON object, found {error}; {remedy}") from error
  except OSError as error:
    raise UserError(f"{path}: cannot be read: {error.strerror}; check its mode") from error
  if not isinstance(values, dict):
    raise UserError(f"{path}: expected a JSON object, found {type(values).__name__}; {remedy}")
  return values


def text_of(values: dict[str, Any]) -> str:
  """An object as these files hold it."""
  return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
