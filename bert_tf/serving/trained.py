"""What a training left beside its weights, so that it need not be said again."""

from __future__ import annotations

import json
import os
from typing import Any

from bert_tf.errors import UserError


def directory_of(checkpoint: str) -> str:
  """The directory of a checkpoint that is given as a prefix, a file or a directory."""
  return checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint) or "."


def config_file(checkpoint: str, given: str | None) -> str:
  """`given`, or the configuration beside the checkpoint; raises UserError where there is none."""
  return given or _beside(checkpoint, "--bert_config_file", "bert_config.json", "config.json")


def vocab_file(checkpoint: str, given: str | None) -> str:
  """`given`, or the vocabulary beside the checkpoint; raises UserError where there is none."""
  return given or _beside(checkpoint, "--vocab_file", "vocab.txt")


def _beside(checkpoint: str, flag: str, *names: str) -> str:
  directory = directory_of(checkpoint)
  for name in names:
    if os.path.exists(path := os.path.join(directory, name)):
      return path
  raise UserError(
    f"expected {names[0]} beside the checkpoint, found none in {directory!r}; give {flag}"
  )


def labels(checkpoint: str) -> list[str]:
  """The labels that run_classifier.py or run_ner.py trained with; none if they are not there."""
  named = _read(checkpoint, "label_map.json")
  return [str(named[key]) for key in sorted(named, key=int)] if named else []


def max_seq_length(checkpoint: str, default: int) -> int:
  """The longest sequence of the training, or `default` where it is not known."""
  settings = _read(checkpoint, "run_config.json").get("hyperparameters", {})
  return settings.get("max_seq_length", default)


def _read(checkpoint: str, name: str) -> dict[str, Any]:
  path = os.path.join(directory_of(checkpoint), name)
  if not os.path.exists(path):
    return {}
  try:
    with open(path, encoding="utf-8") as file:
      content = json.load(file)
  except ValueError as error:
    raise UserError(f"{path}: expected JSON, found {error}; remove it") from error
  if not isinstance(content, dict):
    raise UserError(f"{path}: expected a JSON object; remove it and give flags instead")
  return content
