"""The names of a model's outputs, in the order of their ids.

One file holds them, `labels.txt`, one name a line. Read are besides `label_map.json`, which earlier
versions of run_classifier.py wrote, and `id2label` of Hugging Face's config.json.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file, not_utf8

FILE = "labels.txt"
OLD_FILE = "label_map.json"


def read_file(path: str) -> tuple[str, ...]:
  """Returns the names in a file, one a line; raises UserError where it is no UTF-8 text."""
  try:
    with open(existing_file(path, "file of labels"), encoding="utf-8-sig") as file:
      return tuple(line.strip() for line in file if line.strip())
  except UnicodeDecodeError as error:
    raise not_utf8(path, error) from error


def read_old_file(path: str) -> tuple[str, ...]:
  """Returns the names in a label_map.json: `{"0": name, ...}`.

  Raises:
    UserError: it holds something else.
  """
  try:
    with open(path, encoding="utf-8") as file:
      return of_ids(json.load(file), path)
  except ValueError as error:
    if isinstance(error, UserError):
      raise
    raise UserError(
      f"{path}: expected the names of labels by their ids, found {error}; remove it and name the"
      " labels"
    ) from error


def of_ids(names: Any, where: str) -> tuple[str, ...]:
  """Returns the values of a mapping id -> name in the order of ids.

  Raises:
    UserError: the ids are not 0, 1, 2, ...: a name would stand for another output than its own.
  """
  if not isinstance(names, dict):
    raise UserError(f"{where}: expected names by their ids, found {names!r}")
  ids = sorted(names, key=lambda key: (len(str(key)), str(key)))
  if [str(key) for key in ids] != [str(number) for number in range(len(ids))]:
    raise UserError(
      f"{where}: expected the ids 0 to {len(ids) - 1} of labels, found"
      f" {', '.join(map(str, ids[:3]))}{', ...' if len(ids) > 3 else ''}; number them from 0, as"
      " the outputs of the model are"
    )
  return tuple(str(names[key]) for key in ids)


def are_names(labels: Sequence[str]) -> bool:
  """Whether labels say anything: Hugging Face calls them LABEL_0, ... where it knows no names."""
  return not all(re.fullmatch(r"LABEL_\d+|None", label) for label in labels)


def text_of(labels: Sequence[str]) -> str:
  """The content of `labels.txt`.

  Raises:
    UserError: a label would not be read back as it is.
  """
  for label in labels:
    if label != label.strip() or not label or len(label.splitlines()) != 1:
      raise UserError(
        f"expected labels of one line without white space at their ends, found {label!r}; rename it"
      )
  return "".join(f"{label}\n" for label in labels)


def difference(given: Sequence[str], known: Sequence[str]) -> str:
  """Says on a few words how two orders of labels differ; empty where they do not."""
  if list(given) == list(known):
    return ""
  if sorted(given) == sorted(known):
    return f"the order {_some(given)}, not {_some(known)}"
  return f"{_some(given)}, not {_some(known)}"


def _some(labels: Sequence[str]) -> str:
  shown = ",".join(labels[:6])
  return shown if len(labels) <= 6 else f"{shown},... ({len(labels)} labels)"


def beside(directory: str) -> tuple[tuple[str, ...], str] | None:
  """Returns the names in a file of `directory`, and which file; None where there is none."""
  for name, read in ((FILE, read_file), (OLD_FILE, read_old_file)):
    path = os.path.join(directory, name)
    if os.path.isfile(path):
      return read(path), path
  return None
