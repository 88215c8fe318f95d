"""What lies beside the weights: config, vocabulary and labels, however a format spells them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from typing import Any

from bert_tf.checkpoints import hub, huggingface
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.files import existing_file, not_utf8
from bert_tf.tokenization import case_of_vocabulary, load_vocab

_CONFIG_FILES = ("bert_config.json", "config.json")
LABELS_FILE = "labels.txt"
_VOCABULARY_FILES = ("vocab.txt", os.path.join("assets", "tokenizer", "vocabulary.txt"))


@dataclasses.dataclass(frozen=True)
class Description:
  """A model without its weights.

  Attributes:
    config: the architecture.
    vocabulary: path of the vocabulary, one word piece a line, or None.
    do_lower_case: whether text is lower-cased before it is looked up in the vocabulary.
    labels: names of the classes of the classifier, or None where they have none.
    token_level: whether the classifier labels every token and not the sequence.
  """

  config: BertConfig
  vocabulary: str | None = None
  do_lower_case: bool = True
  labels: tuple[str, ...] | None = None
  token_level: bool = False


def describe(
  path: str, config_file: str | None = None, vocabulary_file: str | None = None
) -> Description:
  """Reads what lies beside the checkpoint at `path`, or in the files that are given instead.

  Raises:
    UserError: there is no config, it describes another architecture than BERT, or the
      vocabulary has more entries than the model.
  """
  path = local_path(path)
  config = BertConfig.from_json_file(config_file) if config_file else read_config(path)
  vocabulary = vocabulary_file or find_vocabulary(path)
  extra = read_json(_beside(path, ("config.json",)))
  classes = " ".join(str(name) for name in extra.get("architectures") or ())
  description = Description(
    config,
    vocabulary,
    labels=_labels(extra.get("id2label")),
    token_level="TokenClassification" in classes,
  )
  if vocabulary is None:
    return description
  pieces = load_vocab(vocabulary)
  if len(pieces) > config.vocab_size:
    raise UserError(
      f"{vocabulary}: expected at most {config.vocab_size} entries, as many as the model has word"
      f" embeddings, found {len(pieces)}; name the model's own vocabulary with --vocab_file"
    )
  stated = stated_case(path)
  return dataclasses.replace(
    description, do_lower_case=case_of_vocabulary(pieces) is not False if stated is None else stated
  )


def local_path(path: str) -> str:
  """Returns `path`, or where it names a model on the hub, the directory with a copy of it."""
  return hub.fetch(path) if hub.is_hub_id(path) else path


def find_config(path: str) -> str | None:
  """Returns the `bert_config.json` or `config.json` that lies beside a checkpoint, or None."""
  path = local_path(path)
  # A directory with the weights of both worlds has a config of each.
  names = _CONFIG_FILES[::-1] if huggingface.find(path) else _CONFIG_FILES
  return _beside(path, names)


def find_vocabulary(path: str) -> str | None:
  """Returns the vocabulary that lies beside a checkpoint, or None."""
  return _beside(local_path(path), _VOCABULARY_FILES)


def find_labels(path: str) -> list[str]:
  """Returns the names of the outputs that lie beside a checkpoint, or none.

  They are in `labels.txt`, as a training on words leaves it, or in Hugging Face's config.
  """
  path = local_path(path)
  file = _beside(path, (LABELS_FILE,))
  if file:
    return read_labels(file)
  return list(_labels(read_json(_beside(path, ("config.json",))).get("id2label")) or ())


def read_labels(path: str) -> list[str]:
  """Returns the names in a file, one a line; raises UserError where it is no UTF-8 text."""
  try:
    with open(existing_file(path, "file of labels"), encoding="utf-8-sig") as file:
      return [line.strip() for line in file if line.strip()]
  except UnicodeDecodeError as error:
    raise not_utf8(path, error) from error


def read_config(path: str) -> BertConfig:
  """Reads the config that lies beside a checkpoint: Google's, Hugging Face's or KerasHub's.

  Raises:
    UserError: there is none, or it describes another architecture than BERT.
  """
  file = find_config(path)
  if file is None:
    raise UserError(
      f"{path}: expected {' or '.join(_CONFIG_FILES)} beside the weights, found neither; name a"
      " config with --bert_config_file"
    )
  return BertConfig.from_json_file(file)


def read_json(path: str | None) -> dict[str, Any]:
  """Returns an object, or {} where there is none; whoever needs it complains about its content."""
  if path is None:
    return {}
  try:
    with open(path, encoding="utf-8-sig") as file:
      values = json.load(file)
  except (OSError, ValueError):
    return {}
  return values if isinstance(values, dict) else {}


def write_config_and_vocabulary(directory: str, about: Description) -> None:
  """Writes `bert_config.json` and `vocab.txt` as in Google's releases, and the text's case."""
  try:
    with open(os.path.join(directory, "bert_config.json"), "w", encoding="utf-8") as file:
      file.write(about.config.to_json_string())
    if about.vocabulary:
      shutil.copyfile(about.vocabulary, os.path.join(directory, "vocab.txt"))
      with open(os.path.join(directory, "tokenizer_config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps({"do_lower_case": about.do_lower_case}, indent=2) + "\n")
  except OSError as error:
    raise UserError(f"cannot write in {directory}: {error.strerror}") from error


def _beside(path: str, names: tuple[str, ...]) -> str | None:
  directory = path if os.path.isdir(path) else os.path.dirname(path)
  candidates = (os.path.join(directory, name) for name in names)
  return next((file for file in candidates if os.path.isfile(file)), None)


def _labels(id2label: Any) -> tuple[str, ...] | None:
  if not isinstance(id2label, dict):
    return None
  labels = tuple(str(id2label.get(str(i))) for i in range(len(id2label)))
  # What Hugging Face calls the classes of a model that has no names for them.
  return None if all(re.fullmatch(r"LABEL_\d+|None", label) for label in labels) else labels


def stated_case(path: str) -> bool | None:
  """What a tokenizer's config beside a checkpoint says of lower-casing; None: nothing."""
  said = read_json(_beside(path, ("tokenizer_config.json",))).get("do_lower_case")
  if said is None:
    inner = read_json(_beside(path, ("tokenizer.json",))).get("config")
    said = inner.get("lowercase") if isinstance(inner, dict) else None
  return said if isinstance(said, bool) else None
