"""The output directory of a run: what is complete in it and what a killed process left."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import shutil
from typing import IO

from absl import logging

from bert_tf.errors import UserError
from bert_tf.model_dir.weight_files import complete_checkpoints, step_of

_LOCK = ".lock"
_SCRATCH = ".saving-*", ".checkpoint.????????", ".run_config.json.????????", ".metrics.????????"


class Lock:
  """Makes a directory this process's own until it is closed, or the process ends."""

  def __init__(self, directory: str):
    """Creates the directory and takes its lock.

    Raises:
      UserError: the directory cannot be written, or another process is training in it.
    """
    self._directory = directory
    self._file = _lock(directory)
    self._place = _place(directory)

  def fileno(self) -> int:
    """The file's descriptor: a process that inherits it holds the lock too."""
    return self._file.fileno()

  def check(self) -> None:
    """Finds out whether the directory is still the one that was locked; call it now and then.

    A lock that was removed is taken again.

    Raises:
      UserError: the directory was removed or replaced, or another process has it now.
    """
    if _place(self._directory) != self._place:
      raise UserError(
        f"`output_dir`: expected {self._directory} to stay where it is, found it removed or"
        " replaced while training; what was in it is lost: start again"
      )
    if _place(os.path.join(self._directory, _LOCK)) != _place_of(os.fstat(self._file.fileno())):
      logging.warning("The lock of %s was removed while training; taking it again", self._directory)
      self._file.close()
      self._file = _lock(self._directory)

  def __enter__(self) -> Lock:
    return self

  def __exit__(self, *unused) -> None:
    self.close()

  def close(self) -> None:
    """Gives the directory back; the lock file is empty again, as before the first start."""
    if not self._file.closed:
      self._file.truncate(0)
    self._file.close()


def prepare(directory: str) -> Lock:
  """Takes the lock of a directory and removes what a killed process left in it; see `Lock`."""
  lock = Lock(directory)
  _clean(directory)
  return lock


def _place(path: str) -> tuple[int, int] | None:
  """What tells a file or directory from another one under its name; None: there is none."""
  try:
    return _place_of(os.stat(path))
  except OSError:
    return None


def _place_of(found: os.stat_result) -> tuple[int, int]:
  return found.st_dev, found.st_ino


def _lock(directory: str) -> IO[str]:
  try:
    os.makedirs(directory, exist_ok=True)
    lock = open(os.path.join(directory, _LOCK), "a+", encoding="utf-8")  # noqa: SIM115
  except OSError as error:
    raise UserError(
      f"`output_dir`: cannot write in {directory}: {error.strerror}; give another directory"
    ) from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    lock.seek(0)
    holder = lock.read().strip() or "unknown"
    lock.close()
    raise UserError(
      f"`output_dir`: another process (pid {holder}) is at work in {directory}; wait for it, end"
      " it, or give another directory"
    ) from error
  except OSError as error:  # Some network file systems know no locks.
    logging.warning("Cannot lock %s (%s); start no second run in it", directory, error.strerror)
  lock.truncate(0)
  lock.write(str(os.getpid()))
  lock.flush()
  return lock


def _clean(directory: str) -> None:
  """Removes unfinished files; nothing in them is of use, as names are given last."""
  complete = set(complete_checkpoints(directory))
  for pattern in _SCRATCH:
    for path in glob.glob(os.path.join(glob.escape(directory), pattern)):
      logging.warning("Removing %s, which an earlier start did not finish writing", path)
      if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
      else:
        os.remove(path)
  for path in glob.glob(os.path.join(glob.escape(directory), "model.ckpt-*")):
    prefix = re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path)
    if prefix in complete or step_of(prefix) is None:
      continue
    if path.endswith(".index"):
      logging.warning("%s: expected a complete checkpoint, found its data missing", prefix)
    else:
      logging.warning("Removing %s, a checkpoint without an index", path)
      os.remove(path)
