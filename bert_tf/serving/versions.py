"""Watches a model's directory and serves its newest version that is sound."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from absl import logging

from bert_tf.errors import UserError
from bert_tf.serving import locate
from bert_tf.serving.batching import Batcher, BatchingOptions
from bert_tf.serving.servable import RequestError, Servable

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class VersionStatus:
  """What became of a version: state as TensorFlow Serving names it, and the reason."""

  version: int
  state: str
  error: str = ""


class VersionManager:
  """Holds the version that is served, and replaces it while requests go on."""

  def __init__(
    self,
    model_dir: str,
    options: BatchingOptions,
    observe: Callable[[str, int], None] = lambda signature, rows: None,
  ):
    """Loads the newest sound version.

    Args:
      model_dir: a directory with numbered versions, or one version.
      options: how requests are put together.
      observe: see `Batcher`.

    Raises:
      UserError: there is no version, or none can be loaded.
    """
    newest = locate.find(model_dir)
    self._single = newest == model_dir
    self._model_dir = model_dir
    self._options = options
    self._observe = observe
    self._lock = threading.Lock()
    self._refused: dict[int, VersionStatus] = {}
    self._stamps: dict[int, tuple[int, int]] = {}
    self._current: Batcher | None = None
    self._stop = threading.Event()
    self._watcher: threading.Thread | None = None
    self.refresh()
    if self._current is None:
      reasons = "; ".join(f"{s.version}: {s.error}" for s in self._refused.values())
      raise UserError(f"{model_dir}: expected a version that can be loaded, found {reasons}")

  def _versions(self) -> list[tuple[int, str]]:
    """Number and directory, the newest first."""
    if self._single:
      name = os.path.basename(os.path.abspath(self._model_dir))
      return [(int(name) if name.isdigit() else 1, self._model_dir)]
    numbers = locate.versions(self._model_dir)
    return [(n, os.path.join(self._model_dir, str(n))) for n in reversed(numbers)]

  def refresh(self) -> None:
    """Loads a newer version if there is one; a broken one is noted and the old one goes on.

    A broken one is tried again when its files have changed: it may have been copied just then.
    """
    current = self._current.servable.version if self._current else -1
    for version, path in self._versions():
      if version <= current:
        return
      stamp = _stamp(path)
      if version in self._refused and self._stamps[version] == stamp:
        continue
      try:
        batcher = Batcher(Servable(path, version), self._options, self._observe)
      except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        logging.error("version %d is refused: %s", version, reason)
        self._refused[version] = VersionStatus(version, "END", reason)
        self._stamps[version] = stamp
        continue
      self._refused.pop(version, None)
      with self._lock:
        old, self._current = self._current, batcher
      logging.info("serving version %d", version)
      if old:
        old.close()
      return

  def watch(self, seconds: float) -> None:
    """Looks for new versions at intervals, in a thread, until `close`."""

    def look() -> None:
      while not self._stop.wait(seconds):
        self.refresh()

    self._watcher = threading.Thread(target=look, name="version-watcher", daemon=True)
    self._watcher.start()

  def batcher(self, version: int | None = None) -> Batcher:
    """What serves `version`, or the newest; raises RequestError where it is not served."""
    with self._lock:
      current = self._current
    if current is None or version not in (None, current.servable.version):
      raise RequestError(f"version {version} is not served", "NOT_FOUND")
    return current

  async def answer(self, version: int | None, ask: Callable[[Batcher], Awaitable[T]]) -> T:
    """Asks what serves `version`, and its successor where that took over just then.

    Args:
      version: None for the newest.
      ask: reads the request for a batcher's model and returns the answer.

    Raises:
      RequestError: the version is not served, or `ask` raises it.
    """
    batcher = self.batcher(version)
    while True:
      try:
        return await ask(batcher)
      except RequestError as error:
        if error.code != "UNAVAILABLE" or self.batcher(version) is batcher:
          raise
        batcher = self.batcher(version)

  def statuses(self) -> list[VersionStatus]:
    """The version that is served and those that were refused."""
    with self._lock:
      current = self._current
    served = [VersionStatus(current.servable.version, "AVAILABLE")] if current else []
    return [*served, *self._refused.values()]

  def close(self, seconds: float | None = None) -> bool:
    """Stops watching, answers what waits, and frees the model; see `Batcher.close`.

    Requests that come while it lasts are refused as UNAVAILABLE.
    """
    self._stop.set()
    with self._lock:
      current = self._current
    ended = current is None or current.close(seconds)
    if self._watcher:
      self._watcher.join(seconds and 0.1)  # It may be loading a version, however long that takes.
      ended = ended and not self._watcher.is_alive()
    return ended


def unknown_label(label: str) -> RequestError:
  """The answer to requests for a version by its label: TensorFlow Serving's where none is set."""
  return RequestError(f"no version has the label {label[:80]!r}; ask for a version by its number")


def _stamp(path: str) -> tuple[int, int]:
  """Tells whether the files of a directory have changed: their bytes and the newest time."""
  size, newest = 0, 0
  for directory, _, names in os.walk(path):
    for name in names:
      with contextlib.suppress(OSError):
        status = os.stat(os.path.join(directory, name))
        size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
  return size, newest
