"""What the shards of an output are called, and the plan beside them that says what they hold.

A run that is started again takes the shards that are there as its own only where the plan beside
them is the same; a lock keeps two runs from writing the same shards.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import google_crc32c

from bert_tf.data.in_memory_creation import progress_bar
from bert_tf.data.records import GZIP_SUFFIX
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer


def shard_path(output_file: str, index: int, count: int) -> str:
  """`dir/name.ext` to `dir/name-00003-of-00012.ext`; `.gz` stays last."""
  stem, suffix = _split_suffix(output_file)
  return f"{stem}-{index:05d}-of-{count:05d}{suffix}"


def _split_suffix(output_file: str) -> tuple[str, str]:
  stem, suffix = os.path.splitext(output_file)
  if suffix == GZIP_SUFFIX:
    stem, inner = os.path.splitext(stem)
    suffix = inner + suffix
  return stem, suffix


def shard_plan(
  input_files: Sequence[str], vocab_file: str, settings: dict[str, Any]
) -> dict[str, Any]:
  """All that decides what the shards hold: `settings`, the vocabulary and the text.

  Of the text that is its size and its checksum: an edit need not change the size.
  """
  with open(vocab_file, "rb") as file:
    vocabulary = hashlib.sha256(file.read()).hexdigest()
  sizes = {path: os.path.getsize(path) for path in input_files}
  with progress_bar("reading", sum(sizes.values()), "B") as bar:
    checksums = {path: _checksum(path, bar.update) for path in input_files}
  return {
    **settings,
    "vocab_sha256": vocabulary,
    "input_files": {os.path.abspath(path): [sizes[path], checksums[path]] for path in input_files},
  }


def _checksum(path: str, progress: Callable[[int], object]) -> str:
  """CRC-32C of a file, at a gigabyte and more a second; `progress` is called with bytes read."""
  crc = google_crc32c.Checksum()
  with open(path, "rb") as file:
    while data := file.read(1 << 20):
      crc.update(data)
      progress(len(data))
  return crc.hexdigest().decode()


def check_plan(output_file: str, plan: dict[str, Any]) -> None:
  """Writes the plan; if there are shards already, they must be of the same one."""
  path = f"{output_file}.plan.json"
  shards = _shards_of(output_file)
  if not shards:
    with atomic_writer(path) as file:
      json.dump(plan, file, indent=1)
    return
  if not os.path.exists(path):
    raise UserError(
      f"{path}: expected the plan of the shards that are there ({len(shards)}, such as"
      f" {shards[0]}), found none, so nothing tells what they hold; give another `output_file`, or"
      " remove the shards"
    )
  with open(path, encoding="utf-8") as file:
    try:
      found = json.load(file)
    except ValueError:
      found = None
  found = found if isinstance(found, dict) else {}
  # Compared as they are written, since the order of files counts.
  different = [name for name in plan if json.dumps(found.get(name)) != json.dumps(plan[name])]
  if different:
    raise UserError(
      f"{path}: expected shards of the same run, found one with other {', '.join(different)}"
      f" ({_difference(different[0], found, plan)}); give another `output_file`, or remove that"
      " plan and its shards"
    )


def _difference(name: str, found: dict[str, Any], plan: dict[str, Any]) -> str:
  """What differs: the first file that is new, missing or changed, or the two values."""
  if name != "input_files":
    return f"{found.get(name)!r} there, {plan[name]!r} now"
  there, now = found.get(name), plan[name]
  there = there if isinstance(there, dict) else {}
  path = next((path for path in [*now, *there] if now.get(path) != there.get(path)), None)
  if path is None:
    return "in another order"
  if path not in there or path not in now:
    return f"{path} is read {'there' if path in there else 'now'} only"
  return f"the text of {path} was changed"


def _shards_of(output_file: str) -> list[str]:
  """The files that are named as shards of this output, whatever their number."""
  stem, suffix = _split_suffix(output_file)
  name = re.compile(rf"{re.escape(os.path.basename(stem))}-\d{{5,}}-of-\d{{5,}}{re.escape(suffix)}")
  directory = os.path.dirname(output_file) or "."
  return sorted(
    os.path.join(directory, found) for found in os.listdir(directory) if name.fullmatch(found)
  )


@contextlib.contextmanager
def lock(output_file: str) -> Iterator[None]:
  """Keeps two runs from writing the same shards."""
  path = f"{output_file}.lock"
  with open(path, "w") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      raise UserError(
        f"another run is writing the shards of {output_file}; wait for it or stop it"
      ) from error
    try:
      yield
    finally:
      os.remove(path)


def remove_leftovers(paths: Sequence[str]) -> None:
  """Removes the temporary files of a run that was killed."""
  for path in paths:
    directory, name = os.path.split(path)
    for leftover in glob.glob(os.path.join(glob.escape(directory), f".{glob.escape(name)}.*")):
      os.remove(leftover)
