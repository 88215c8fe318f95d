"""What several processes of one test run share, made by the first that asks."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable

import pytest


def directory_of(
  factory: pytest.TempPathFactory, name: str, make: Callable[[pathlib.Path], object]
) -> pathlib.Path:
  """Returns a directory that `make` has filled; the other processes wait for the first.

  With `-n 2` a fixture of a module or a session is made once in every process that runs a test of
  it. What takes a minute is worth sharing.
  """
  base = factory.getbasetemp()
  base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
  directory, done = base / name, base / f"{name}.done"
  with open(base / f"{name}.lock", "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not done.exists():
      shutil.rmtree(directory, ignore_errors=True)
      directory.mkdir()
      make(directory)
      done.touch()
  return directory
