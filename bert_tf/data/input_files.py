"""From `--input_file` to the files it means."""

from __future__ import annotations

import glob
import os
import tempfile

from bert_tf.errors import UserError
from bert_tf.files import refuse_overwriting


def input_files(patterns: str, what: str = "`input_file`") -> list[str]:
  """Expands a comma-separated list of paths and globs, each in sorted order.

  Args:
    patterns: as the original takes them, e.g. "a.txt,part-*.txt".
    what: the name of the flag, for messages.

  Raises:
    UserError: a pattern matches nothing, names a directory or an unreadable or empty file.
  """
  result = []
  for pattern in (patterns or "").split(","):
    pattern = pattern.strip()
    if not pattern:
      continue
    # A path that exists is meant literally even if it holds brackets.
    found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
    if not found:
      kind = "files that match" if glob.has_magic(pattern) else "a file at"
      raise UserError(
        f"{what}: expected {kind} {pattern!r}, found nothing (from {os.getcwd()}); check the path"
      )
    result.extend(found)
  if not result:
    raise UserError(f"{what}: expected a file, a glob or a comma-separated list, found none")
  for path in result:
    _check_readable(path, what)
  if not any(os.path.getsize(path) for path in result):
    raise UserError(f"{what}: expected content, found only empty files ({_listed(result)})")
  return result


def _check_readable(path: str, what: str) -> None:
  if os.path.isdir(path):
    raise UserError(
      f"{what}: expected files, found the directory {path!r}; give a glob like "
      f"{os.path.join(path, '*')!r}"
    )
  if not os.access(path, os.R_OK):
    raise UserError(f"{what}: no permission to read {path!r}; change its mode or owner")


def _listed(paths: list[str]) -> str:
  return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")


def output_files(names: str, inputs: list[str], what: str = "`output_file`") -> list[str]:
  """Splits a comma-separated list of files to write, before any work is done for them.

  Raises:
    UserError: none or a repeated name, a directory, an input file, or a place that cannot be
      written.
  """
  result = [name.strip() for name in (names or "").split(",") if name.strip()]
  if not result:
    raise UserError(f"{what}: expected one or more comma-separated names, found none")
  refuse_overwriting({what: result}, {"`input_file`": inputs})
  taken = set()
  for path in result:
    place = os.path.realpath(path)
    if place in taken or os.path.isdir(path):
      found = "named twice" if place in taken else "a directory"
      raise UserError(f"{what}: {path!r} is {found}; give it a name of its own")
    taken.add(place)
    check_writable(path, what)
  return result


def check_writable(path: str, what: str) -> None:
  """Creates the directory of `path`; raises UserError if nothing can be written there."""
  directory = os.path.dirname(path) or "."
  try:
    os.makedirs(directory, exist_ok=True)
    # Asking for permission is not enough: the file system may be read-only or of a special kind.
    with tempfile.TemporaryFile(dir=directory):
      pass
  except OSError as error:
    raise UserError(
      f"{what}: cannot write in the directory {directory!r}: {error.strerror}; give another path"
    ) from error
