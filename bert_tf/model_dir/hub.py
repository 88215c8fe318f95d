"""Models on the Hugging Face hub, named `hf://organisation/name[@revision]`."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time

from bert_tf.errors import UserError
from bert_tf.model_dir import weight_files

SCHEME = "hf://"
_DESCRIPTION = [
  "config.json", "bert_config.json", "vocab.txt", "tokenizer.json", "added_tokens.json",
  "tokenizer_config.json", "special_tokens_map.json", "labels.txt", "label_map.json", "head.json",
]  # fmt: skip
# What to fetch: the first of these kinds of weights that a repository has.
_WEIGHTS = (
  ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"],
  ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
  ["tf_model.h5"],
  ["bert_model.ckpt*"],
)


def is_hub_id(path: str) -> bool:
  """Whether `path` names a model on the hub."""
  return path.startswith(SCHEME)


@functools.cache
def fetch(path: str) -> str:
  """Returns the directory in huggingface_hub's cache that holds a model; downloads what is absent.

  A process asks the hub once for each name, and so sees one revision of it.

  The library's environment variables apply: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE.

  Raises:
    UserError: the id is malformed, the model does not exist, has no BERT weights, or could
      not be fetched (network, checksum, disk).
  """
  repository, _, revision = path.removeprefix(SCHEME).partition("@")
  if not repository or repository.count("/") > 1:
    raise UserError(
      f"expected {SCHEME}organisation/name or {SCHEME}organisation/name@revision, found {path!r}"
    )
  for patterns in _WEIGHTS:
    directory = _snapshot(path, repository, revision or None, [*_DESCRIPTION, *patterns])
    if weight_files.find_hugging_face(directory) or _has_index(directory):
      return directory
  raise UserError(
    f"{path}: expected one of {', '.join(weight_files.HUGGING_FACE)}, found none of them in this"
    " repository or, offline, in the cache"
  )


def _has_index(directory: str) -> bool:
  return any(name.endswith(".ckpt.index") for name in os.listdir(directory))


def _snapshot(path: str, repository: str, revision: str | None, patterns: list[str]) -> str:
  import huggingface_hub
  from huggingface_hub import errors

  start = time.time()
  try:
    directory = huggingface_hub.snapshot_download(
      repository, revision=revision, allow_patterns=patterns, library_name="bert_tf"
    )
    _check_downloads(path, directory, start)
    return directory
  except errors.HFValidationError as error:
    raise UserError(f"{path}: no valid name of a model: {_first_line(error)}") from error
  except errors.RevisionNotFoundError as error:
    raise UserError(f"{path}: the hub has this model but no revision {revision!r}") from error
  except errors.GatedRepoError as error:
    raise UserError(
      f"{path}: this model asks for its terms to be accepted; do so on its page and set HF_TOKEN"
    ) from error
  except errors.RepositoryNotFoundError as error:
    raise UserError(
      f"{path}: the hub has no such model, or it is private and HF_TOKEN is not set"
    ) from error
  except errors.LocalEntryNotFoundError as error:
    raise UserError(
      f"{path}: not in the cache, and the hub cannot be reached ({_first_line(error)}); check the"
      " connection, HF_ENDPOINT and HF_HUB_OFFLINE"
    ) from error
  except (errors.HfHubHTTPError, OSError) as error:
    raise UserError(f"{path}: cannot be fetched: {_first_line(error)}") from error


def _check_downloads(path: str, directory: str, since: float) -> None:
  """Compares what was fetched with its checksum, which the library takes for its name only.

  Raises:
    UserError: a file has another content; it is then removed from the cache.
  """
  for folder, _, names in os.walk(directory):
    for name in names:
      link = os.path.join(folder, name)
      blob = os.path.realpath(link)
      # A second for file systems with coarse times; what was there before was checked before.
      if os.stat(blob).st_mtime < since - 1 or _has_checksum(blob, os.path.basename(blob)):
        continue
      os.remove(link)
      os.remove(blob)
      raise UserError(
        f"{path}: {name} was damaged on the way (wrong checksum) and is removed; fetch it again"
      )


def _has_checksum(blob: str, name: str) -> bool:
  """Whether a file has the SHA-256 (large files) or git's SHA-1 that is its name."""
  if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name):
    return True
  digest = hashlib.sha256()
  if len(name) == 40:
    digest = hashlib.sha1(b"blob %d\0" % os.path.getsize(blob), usedforsecurity=False)
  with open(blob, "rb") as file:
    while chunk := file.read(1 << 20):
      digest.update(chunk)
  return digest.hexdigest() == name


def _first_line(error: Exception) -> str:
  text = str(error).strip()
  return text.splitlines()[0] if text else type(error).__name__
