"""What lies beside weights, in whatever files a format spells it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, TypeVar

from bert_tf.config import BertConfig
from bert_tf.model_dir import head_file, head_kinds, hub, json_files, labels, weight_files
from bert_tf.model_dir.head_file import HeadFacts
from bert_tf.tokenization import (
  SavedTokenizer,
  StatedSettings,
  read_tokenizer_config,
  read_tokenizer_directory,
)

T = TypeVar("T")

CONFIG_FILE, THEIR_CONFIG_FILE = "bert_config.json", "config.json"
TOKENIZER_FILE = "tokenizer_config.json"


def local_path(path: str) -> str:
  """Returns `path`, or where it names a model on the hub, the directory with a copy of it."""
  return hub.fetch(path) if hub.is_hub_id(path) else path


def directories_of(path: str) -> list[str]:
  """Where to look for what belongs to a checkpoint: a prefix, a file or a directory.

  What belongs to the best weights of a run lies beside its newest ones, one directory up; what
  belongs to a SavedModel among its assets.
  """
  directory = weight_files.directory_of(local_path(path))
  above, name = os.path.split(os.path.abspath(directory))
  if name == weight_files.BEST_DIRECTORY:
    return [directory, above]
  if name == "variables":
    directory = above
  if os.path.isfile(os.path.join(directory, "saved_model.pb")):
    return [os.path.join(directory, "assets"), directory]
  return [directory]


class Beside:
  """The files beside the weights at a path. What is not there is None, or empty.

  Everything is read when it is first asked for, so that a file that a flag replaces can be wrong.
  """

  def __init__(self, path: str | None):
    """Args: `path`, a checkpoint's prefix, file or directory, or `hf://organisation/name`; None
    where there are no weights, and nothing beside them.
    """
    self.path = path
    self.directories = directories_of(path) if path else []

  def _first(self, read: Callable[[str], T | None]) -> T | None:
    found = (read(directory) for directory in self.directories)
    return next((value for value in found if value is not None), None)

  @functools.cached_property
  def config_file(self) -> str | None:
    """Path of the configuration; of the one that belongs to the weights where there are two."""
    names = (CONFIG_FILE, THEIR_CONFIG_FILE)
    if self.path and weight_files.find_hugging_face(local_path(self.path)):
      names = names[::-1]
    return self._first(lambda directory: _existing(directory, *names))

  @functools.cached_property
  def config(self) -> BertConfig | None:
    """The architecture."""
    if not self.config_file:
      return None
    return BertConfig.from_json_file(self.config_file, weights=local_path(str(self.path)))

  @functools.cached_property
  def their_config(self) -> dict[str, Any]:
    """What Hugging Face's config.json says besides the architecture."""
    path = self._first(lambda directory: _existing(directory, THEIR_CONFIG_FILE))
    values = json_files.read(path) if path else {}
    # KerasHub's file of that name says nothing of heads.
    return {} if "class_name" in values else values

  @functools.cached_property
  def tokenizer(self) -> SavedTokenizer | None:
    """The vocabulary and what is said of it."""
    return self._first(read_tokenizer_directory)

  @functools.cached_property
  def stated(self) -> StatedSettings:
    """What is said of the tokenizer, be its vocabulary there or not."""
    if self.tokenizer:
      return self.tokenizer.stated
    path = self._first(lambda directory: _existing(directory, TOKENIZER_FILE))
    return read_tokenizer_config(path) if path else StatedSettings()

  @functools.cached_property
  def _labels(self) -> tuple[tuple[str, ...], str]:
    found = self._first(labels.beside)
    if found:
      return found
    path = self._first(lambda directory: _existing(directory, THEIR_CONFIG_FILE)) or ""
    id2label = self.their_config.get("id2label")
    names = labels.of_ids(id2label, f"{path}: id2label") if id2label else ()
    return (names if labels.are_names(names) else ()), path

  @property
  def labels(self) -> tuple[str, ...]:
    """Names of the outputs in order."""
    return self._labels[0]

  @property
  def labels_file(self) -> str:
    """Which file says so."""
    return self._labels[1]

  @functools.cached_property
  def head(self) -> HeadFacts:
    """Which head the weights have and what it was used with."""
    found = self._first(head_file.beside) or HeadFacts()
    if found.head or not self.their_config:
      return found
    path = self._first(lambda directory: _existing(directory, THEIR_CONFIG_FILE)) or ""
    kind = head_kinds.of_hugging_face(self.their_config, path)
    return HeadFacts(kind, found.pairs, found.max_seq_length, found.settings, path)


def _existing(directory: str, *names: str) -> str | None:
  paths = (os.path.join(directory, name) for name in names)
  return next((path for path in paths if os.path.isfile(path)), None)
