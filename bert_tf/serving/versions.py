"""Watches a model's directory and serves those of its versions that are wanted and sound."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from absl import logging

from bert_tf.errors import UserError
from bert_tf.serving import locate
from bert_tf.serving.batching import Batcher, BatchingOptions
from bert_tf.serving.errors import RequestError, reason
from bert_tf.serving.servable import Servable

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Policy:
  """Which versions are served (`FileSystemStoragePathSourceConfig.ServableVersionPolicy`).

  Attributes:
    latest: how many of the newest; None: all of them.
    specific: these alone, where there are any.
  """

  latest: int | None = 1
  specific: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class VersionStatus:
  """What became of a version: state as TensorFlow Serving names it, and the reason."""

  version: int
  state: str
  error: str = ""


class VersionManager:
  """Holds the versions of a model that are served, and replaces them while requests go on."""

  def __init__(
    self,
    model_dir: str,
    options: BatchingOptions,
    observe: Callable[[str, Mapping], None] = lambda signature, outputs: None,
    policy: Policy | None = None,
    labels: Mapping[str, int] | None = None,
  ):
    """Loads the versions that are wanted.

    Args:
      model_dir: a directory with numbered versions, or one version.
      options: how requests are put together.
      observe: see `Batcher`.
      policy: which versions; default: the newest sound one.
      labels: names of versions.

    Raises:
      UserError: there is no version, none can be loaded, or a label is that of none.
    """
    newest = locate.find(model_dir)
    self._single = newest == model_dir
    self._model_dir = model_dir
    self._options = options
    self._observe = observe
    self._policy = policy or Policy()
    self._labels = dict(labels or {})
    self._lock = threading.Lock()
    self._refused: dict[int, VersionStatus] = {}
    self._stamps: dict[int, tuple[int, int]] = {}
    self._served: dict[int, Batcher] = {}
    self._says_empty = False
    self._stop = threading.Event()
    self._watcher: threading.Thread | None = None
    self.refresh()
    self._check_served()

  def _check_served(self) -> None:
    if not self._served:
      reasons = "; ".join(f"{s.version}: {s.error}" for s in self._refused.values())
      wanted = f" of {', '.join(map(str, self._policy.specific))}" if self._policy.specific else ""
      raise UserError(
        f"{self._model_dir}: expected a version{wanted} that can be loaded, found"
        f" {reasons or 'none'}"
      )
    for label, version in self._labels.items():
      if version not in self._served:
        served = ", ".join(map(str, sorted(self._served)))
        self.close()
        raise UserError(
          f"{self._model_dir}: expected the version {version} of the label {label!r} among those"
          f" that are served, found {served}; change model_version_policy or version_labels"
        )

  def _versions(self) -> list[tuple[int, str]]:
    """Number and directory of those that may be served, the newest first."""
    if self._single:
      name = os.path.basename(os.path.abspath(self._model_dir))
      return [(int(name) if name.isdigit() else 1, self._model_dir)]
    numbers = locate.versions(self._model_dir)
    if self._policy.specific:
      numbers = [number for number in numbers if number in self._policy.specific]
    return [(n, os.path.join(self._model_dir, str(n))) for n in reversed(numbers)]

  def refresh(self) -> None:
    """Loads what is wanted, then lets go of what is not: newer versions come, removed ones go.

    Where the newest is removed, the one before it is served again. A broken one is noted, and an
    older one goes on; it is tried again when its files have changed: it may have been copied just
    then. The last one is never let go: an empty directory is more likely a mistake.
    """
    found = self._versions()
    self._forget({version for version, _ in found})
    wanted: list[int] = []
    for version, path in found:
      if not self._policy.specific and len(wanted) == self._policy.latest:
        break
      if version in self._served or self._load(version, path):
        wanted.append(version)
    if not wanted:
      if self._served and not self._says_empty:
        logging.warning(
          "%s holds no version any more; going on with what is loaded", self._model_dir
        )
      self._says_empty = True
      return
    self._says_empty = False
    with self._lock:
      going = [number for number in self._served if number not in wanted]
      gone = [self._served.pop(number) for number in going]
    for number, batcher in zip(going, gone, strict=True):
      logging.info("unloading version %d", number)
      batcher.close()

  def _forget(self, there: set[int]) -> None:
    """Speaks no more of broken versions that are gone."""
    for version in self._refused.keys() - there:
      del self._refused[version]

  def _load(self, version: int, path: str) -> bool:
    """Serves a version; returns whether it is sound."""
    stamp = _stamp(path)
    if version in self._refused and self._stamps[version] == stamp:
      return False
    try:
      servable = Servable(path, version, self._options.num_threads)
    except Exception as error:
      text = reason(error)
      logging.error("version %d is refused: %s", version, text)
      self._refused[version] = VersionStatus(version, "END", text)
      self._stamps[version] = stamp
      return False
    self._refused.pop(version, None)
    with self._lock:
      self._served[version] = Batcher(servable, self._options, self._observe)
    logging.info("serving version %d", version)
    return True

  def watch(self, seconds: float) -> None:
    """Looks for new versions at intervals, in a thread, until `close`."""

    def look() -> None:
      while not self._stop.wait(seconds):
        try:
          self.refresh()
        except Exception:  # The next look may be luckier; without a thread there is none.
          logging.exception("looking for versions in %s", self._model_dir)

    self._watcher = threading.Thread(target=look, name="version-watcher", daemon=True)
    self._watcher.start()

  def batcher(self, version: int | None = None) -> Batcher:
    """What serves `version`, or the newest; raises RequestError where it is not served."""
    with self._lock:
      served = dict(self._served)
    if version is None and served:
      version = max(served)
    if version not in served:
      raise RequestError(f"version {version} is not served", "NOT_FOUND")
    return served[version]

  def batchers(self) -> list[Batcher]:
    """Of all versions that are served."""
    with self._lock:
      return list(self._served.values())

  def labelled(self, label: str) -> int:
    """The version with a label; raises RequestError where none has it."""
    if label not in self._labels:
      raise RequestError(
        f"no version has the label {label[:80]!r}; ask for a version by its number"
      )
    return self._labels[label]

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

  def statuses(self, version: int | None = None) -> list[VersionStatus]:
    """What is served, and what was refused.

    Raises:
      RequestError: it is asked for a version that is neither.
    """
    with self._lock:
      served = sorted(self._served, reverse=True)
    states = [*(VersionStatus(n, "AVAILABLE") for n in served), *self._refused.values()]
    found = [state for state in states if version in (None, state.version)]
    if not found:
      raise RequestError(f"version {version} is not served", "NOT_FOUND")
    return found

  def close(self, seconds: float | None = None) -> bool:
    """Stops watching, answers what waits, and frees the model; see `Batcher.close`.

    Requests that come while it lasts are refused as UNAVAILABLE.
    """
    self._stop.set()
    batchers = self.batchers()
    with ThreadPoolExecutor(max(1, len(batchers))) as pool:  # All in the same seconds.
      ended = all(list(pool.map(lambda batcher: batcher.close(seconds), batchers)))
    if self._watcher:
      self._watcher.join(seconds and 0.1)  # It may be loading a version, however long that takes.
      ended = ended and not self._watcher.is_alive()
    return ended


def _stamp(path: str) -> tuple[int, int]:
  """Tells whether the files of a directory have changed: their bytes and the newest time."""
  size, newest = 0, 0
  for directory, _, names in os.walk(path):
    for name in names:
      with contextlib.suppress(OSError):
        status = os.stat(os.path.join(directory, name))
        size, newest = size + status.st_size, max(newest, status.st_mtime_ns)
  return size, newest
