"""`head.json`: which head a model has, and what it was used with."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from bert_tf.errors import UserError
from bert_tf.model_dir import head_kinds, json_files

FILE = "head.json"
# Earlier versions said it in the settings of the run, and an export in its own description.
_OLD_FILE, _OLD_EXPORT_FILE = "run_config.json", "serving.json"
# What a later command must know to answer as the run did.
_QUESTION_SETTINGS = ("doc_stride", "max_query_length")


@dataclasses.dataclass(frozen=True)
class HeadFacts:
  """What is known of a head; None and {} where nothing is.

  Attributes:
    head: one of `head_kinds.HEADS`.
    pairs: whether it was trained on two texts.
    max_seq_length: the longest sequence that it was trained on, in tokens.
    settings: of the run, by flag, such as `doc_stride`; JSON values.
    path: the file that says so.
  """

  head: str | None = None
  pairs: bool | None = None
  max_seq_length: int | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  path: str = ""

  def to_json(self) -> dict[str, Any]:
    """The content of head.json."""
    values = {"head": self.head, "pairs": self.pairs, "max_seq_length": self.max_seq_length}
    known = {name: value for name, value in values.items() if value is not None}
    return {**known, "settings": dict(self.settings)}


def beside(directory: str) -> HeadFacts | None:
  """Returns what a file in `directory` says, or None where none does.

  Raises:
    UserError: the file is damaged or says what cannot be.
  """
  for name, of in ((FILE, _of_file), (_OLD_FILE, _of_run), (_OLD_EXPORT_FILE, _of_export)):
    path = os.path.join(directory, name)
    values = json_files.read(path, "remove it and say with flags what it said")
    if values:
      return _checked(of(values, path))
  return None


def _of_file(values: dict[str, Any], path: str) -> HeadFacts:
  settings = values.get("settings", {})
  if not isinstance(settings, dict):
    raise UserError(f"{path}: expected settings as a JSON object, found {settings!r}; remove it")
  return HeadFacts(
    values.get("head"), values.get("pairs"), values.get("max_seq_length"), settings, path
  )


def _of_run(values: dict[str, Any], path: str) -> HeadFacts:
  found = values.get("hyperparameters")
  if not isinstance(found, dict):
    return HeadFacts(path=path)
  head = found.get("task_type")
  if "max_query_length" in found:
    head = head_kinds.QUESTION_ANSWERING
  elif head is None and "doc_stride" in found and "labels" in found:
    head = head_kinds.TOKENS
  settings = {name: found[name] for name in _QUESTION_SETTINGS if found.get(name) is not None}
  return HeadFacts(head, None, found.get("max_seq_length"), settings, path)


def _of_export(values: dict[str, Any], path: str) -> HeadFacts:
  prediction = values.get("prediction")
  settings = {name: values[name] for name in _QUESTION_SETTINGS if name in values}
  settings.update(prediction if isinstance(prediction, dict) else {})
  return HeadFacts(
    values.get("task"), values.get("pairs"), values.get("max_seq_length"), settings, path
  )


def _checked(facts: HeadFacts) -> HeadFacts:
  """Refuses values of other types and heads that there are none of."""
  length = facts.max_seq_length
  for value, kind, expected in (
    (facts.head, head_kinds.HEADS, f"a head of {', '.join(head_kinds.HEADS)}"),
    (facts.pairs, (True, False), "pairs as true or false"),
  ):
    if value is not None and value not in kind:
      raise UserError(f"{facts.path}: expected {expected}, found {value!r}; correct or remove it")
  if length is not None and (type(length) is not int or length < 1):
    raise UserError(
      f"{facts.path}: expected max_seq_length as a positive number, found {length!r}; correct or"
      " remove it"
    )
  return facts
