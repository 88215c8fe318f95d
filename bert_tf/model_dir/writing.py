"""Writes what belongs to weights beside them: the one writer of these files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from bert_tf.files import atomic_writer
from bert_tf.model_dir import head_file, json_files, labels
from bert_tf.model_dir.beside import CONFIG_FILE, TOKENIZER_FILE
from bert_tf.model_dir.description import Description
from bert_tf.model_dir.head_file import HeadFacts
from bert_tf.tokenization import tokenizer_config

VOCABULARY_FILE = "vocab.txt"
_SPECIAL = ("cls", "mask", "pad", "sep", "unk")


def write(directory: str, about: Description, with_config: bool = True) -> None:
  """Writes `bert_config.json`, `vocab.txt`, `tokenizer_config.json`, `labels.txt`, `head.json`.

  Each file appears whole; one that has its content already is left alone.

  Args:
    directory: is created if need be.
    about: what to write; what is not known gets no file.
    with_config: whether the config is written too, which some formats have a file of their own for.

  Raises:
    UserError: the directory cannot be written.
  """
  for name, content in contents(about, with_config).items():
    path = os.path.join(directory, name)
    if not _holds(path, content):
      with atomic_writer(path, "wb") as file:
        file.write(content)


def update_settings(directory: str, settings: Mapping[str, Any]) -> None:
  """Writes other settings into the head.json of a directory, if there is one."""
  facts = head_file.beside(directory)
  if facts is None or os.path.basename(facts.path) != head_file.FILE or facts.settings == settings:
    return
  facts = dataclasses.replace(facts, settings=settings)
  with atomic_writer(facts.path) as file:
    file.write(json_files.text_of(facts.to_json()))


def contents(about: Description, with_config: bool = True) -> dict[str, bytes]:
  """Returns the content of each file by its name, see `write`."""
  files: dict[str, bytes] = {}
  if with_config:
    files[CONFIG_FILE] = about.config.to_json_string().encode()
  if about.tokens:
    files[VOCABULARY_FILE] = _vocabulary(about)
    files[TOKENIZER_FILE] = json_files.text_of(_tokenizer_config(about)).encode()
  if about.labels:
    files[labels.FILE] = labels.text_of(about.labels).encode()
  facts = HeadFacts(about.head, about.pairs, about.max_seq_length, about.settings)
  if facts != HeadFacts():
    files[head_file.FILE] = json_files.text_of(facts.to_json()).encode()
  return files


def _vocabulary(about: Description) -> bytes:
  """The file as it is where there is one: white space in it may have a meaning to others."""
  if about.vocab_file and not about.vocab_file.endswith(".json") and "://" not in about.vocab_file:
    with open(about.vocab_file, "rb") as file:
      return file.read()
  return "".join(f"{token}\n" for token in about.tokens).encode()


def _tokenizer_config(about: Description) -> dict[str, Any]:
  """As transformers reads it."""
  ids = {token: number for number, token in enumerate(about.tokens)}
  return {
    "model_max_length": about.config.max_position_embeddings,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "tokenizer_class": "BertTokenizer",
    **{f"{name}_token": f"[{name.upper()}]" for name in _SPECIAL},
    **tokenizer_config(about.tokenizer, ids),
  }


def _holds(path: str, content: bytes) -> bool:
  try:
    with open(path, "rb") as file:
      return file.read() == content
  except OSError:
    return False
