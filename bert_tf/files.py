"""Files that are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from bert_tf.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
# What the system says when there is no room: on the disk, in the quota, within a limit on files.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_writer(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO]:
  """Opens a temporary file beside `path`; renames it to `path` when the block ends well.

  Args:
    path: the final name; its directory is created.
    mode: "w" (UTF-8 text, line feeds kept) or "wb".

  Raises:
    UserError: the directory cannot be created or written, or the disk is full; then nothing is left
      behind, and what was at `path` before stays.
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
  encoding, newline = (None, None) if "b" in mode else ("utf-8", "")
  try:
    with no_room_is_said(path), open(handle, mode, encoding=encoding, newline=newline) as file:
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


@contextlib.contextmanager
def scratch_directory(parent: str, prefix: str) -> Iterator[str]:
  """Makes a directory in `parent` that is gone at the end, however the process ends.

  SIGTERM and SIGHUP end the process as if it had left by itself, where nobody else handles them.
  What a process left that was killed is removed by the next one: as long as it lives, each holds a
  lock on its directory.

  Args:
    parent: an existing directory.
    prefix: of the name; directories of that prefix in `parent` are such ones and nothing else.

  Raises:
    OSError: the directory cannot be made.
  """
  sweep_scratch(parent, prefix)
  with _signals_raise():
    path, lock = _locked_directory(parent, prefix)
    try:
      yield path
    finally:
      shutil.rmtree(path, ignore_errors=True)
      os.close(lock)


def sweep_scratch(parent: str, prefix: str) -> None:
  """Removes the scratch directories of processes that are dead."""
  for path in glob.glob(os.path.join(glob.escape(parent), f"{glob.escape(prefix)}*")):
    with contextlib.suppress(OSError):
      lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
      finally:
        os.close(lock)


def _locked_directory(parent: str, prefix: str) -> tuple[str, int]:
  """A new directory and the descriptor that holds its lock."""
  while True:
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    lock = os.open(path, os.O_RDONLY)
    # Where a file system knows no locks, nobody else can take one either.
    with contextlib.suppress(OSError):
      fcntl.flock(lock, fcntl.LOCK_EX)
    if os.path.isdir(path):  # Nobody swept it before it was locked.
      return path, lock
    os.close(lock)


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
  """Turns SIGTERM and SIGHUP into SystemExit where they would end the process at once."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return

  def leave(number: int, unused_frame: object) -> None:
    print(f"stopped by {signal.Signals(number).name}: removing what was begun", file=sys.stderr)
    raise SystemExit(128 + number)

  taken = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
  for number in taken:
    signal.signal(number, leave)
  try:
    yield
  finally:
    for number in taken:
      signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def no_room_is_said(path: str) -> Iterator[None]:
  """Turns the error of a full disk, met while `path` is written, into a UserError."""
  try:
    yield
  except OSError as error:
    if error.errno not in _NO_ROOM:
      raise
    raise UserError(
      f"cannot write {path}: {error.strerror}; make room, or give a path on another disk"
    ) from error


def refuse_overwriting(
  outputs: Mapping[str, Iterable[str | None]], inputs: Mapping[str, Iterable[str | None]]
) -> None:
  """Refuses to write over a file that is read.

  Two paths are the same file if links lead both to one place, hard links among them. Call it before
  anything is written, with all files that the run will write.

  Args:
    outputs: the paths that will be written, by the flag they come from; None is left out.
    inputs: the paths that are read, likewise; a glob stands for all that it matches. A prefix of a
      checkpoint stands for its files.

  Raises:
    UserError: names both flags and the file.
  """
  read = {
    place: (flag, path)
    for flag, patterns in inputs.items()
    for pattern in patterns
    if pattern
    for path in _files_of(pattern)
    for place in _places(path)
  }
  for flag, paths in outputs.items():
    for path in filter(None, paths):
      for place in _places(path):
        if place in read:
          other, source = read[place]
          raise UserError(
            f"{flag}: {path!r} is an input file ({source!r} of {other}) and would be overwritten;"
            " give it a name of its own"
          )


def _files_of(pattern: str) -> list[str]:
  """The path itself, what it matches as a glob, and the files of a checkpoint with that prefix."""
  return [
    pattern,
    *glob.glob(pattern),
    *glob.glob(f"{glob.escape(pattern)}.index"),
    *glob.glob(f"{glob.escape(pattern)}.data-*-of-*"),
  ]


def _places(path: str) -> list[object]:
  """What tells a file from others: where all links end and, if it is there, its number."""
  places: list[object] = [os.path.realpath(path)]
  with contextlib.suppress(OSError):
    if not os.path.isdir(path):
      status = os.stat(path)
      places.append((status.st_dev, status.st_ino))
  return places


def is_gzip(path: str | os.PathLike[str]) -> bool:
  """Whether a file begins as compressed data does, whatever it is called."""
  with open(path, "rb") as file:
    return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


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


def carriage_returns(path: str, number: int) -> UserError:
  """What to say of a file whose lines end in carriage returns alone, as of line `number`."""
  return UserError(
    f"{path}: line {number}: expected line feeds at the ends of lines, found carriage returns (old"
    f" Mac); convert the file, with tr '\\r' '\\n' for one"
  )


def not_utf8(path: str, error: UnicodeDecodeError) -> UserError:
  """What to say of a text file that could not be decoded; names the line."""
  if is_gzip(path):
    return UserError(f"{path}: expected text, found gzip data; uncompress it, with gunzip for one")
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
