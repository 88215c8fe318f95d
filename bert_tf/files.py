"""Files that are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from bert_tf.errors import UserError


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO]:
  """Opens a temporary file beside `path`; renames it to `path` when the block ends well.

  Args:
    path: the final name; its directory is created.
    mode: "w" (UTF-8 text, line feeds kept) or "wb".

  Raises:
    UserError: the directory cannot be created or written.
  """
  path = os.fspath(path)
  directory = os.path.dirname(path) or "."
  try:
    os.makedirs(directory, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=directory)
  except OSError as error:
    raise UserError(
      f"cannot write {path}: {error.strerror}; give a path in a writable directory"
    ) from error
  text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
  try:
    with open(handle, mode, **text) as file:
      yield file
    # mkstemp makes files that only the owner can read; follow the umask as open() would.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)
    raise


def existing_file(path: str, what: str) -> str:
  """Returns `path`; raises UserError naming `what` if it is no readable, non-empty file."""
  if not os.path.exists(path):
    raise UserError(f"{what}: expected a file, found nothing at {path!r}; check the path")
  if os.path.isdir(path):
    raise UserError(f"{what}: expected a file, found the directory {path!r}; name a file in it")
  if os.path.getsize(path) == 0:
    raise UserError(f"{what}: expected content, found the empty file {path!r}")
  if not os.access(path, os.R_OK):
    raise UserError(f"{what}: no permission to read {path!r}; change its mode or owner")
  return path


def existing_checkpoint(path: str) -> str:
  """Returns `path`; raises UserError if it is a local path that no file's name begins with.

  A quick look before TensorFlow is loaded; whether it is a good checkpoint shows when it is read.
  """
  if "://" not in path and not glob.glob(glob.escape(path) + "*"):
    raise UserError(
      f"init checkpoint: expected a checkpoint, found nothing at {path!r}; give the prefix of the"
      " .index file, such as uncased_L-12_H-768_A-12/bert_model.ckpt, or a directory"
    )
  return path


def not_utf8(path: str, error: UnicodeDecodeError) -> UserError:
  """What to say of a text file that could not be decoded; names the line."""
  with open(path, "rb") as file:
    for number, line in enumerate(file, start=1):
      if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
        return UserError(f"{path}: expected UTF-8, found UTF-16; convert the file to UTF-8")
      try:
        line.decode("utf-8")
      except UnicodeDecodeError as found:
        return UserError(
          f"{path}: line {number}: expected UTF-8, found {found.reason} at byte {found.start};"
          " convert the file to UTF-8"
        )
  return UserError(f"{path}: expected UTF-8, found {error.reason}; convert the file to UTF-8")
