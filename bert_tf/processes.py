"""Child processes of a long command: signals reach them, and they do not outlive it."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import IO

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1
_SECONDS_BETWEEN_LOOKS = 0.05


@dataclasses.dataclass(frozen=True)
class Cost:
  """What a process took, or several one after another.

  Attributes:
    seconds: on the clock.
    cpu_seconds: of all its threads and processes.
    peak_bytes: most memory of its largest process.
  """

  seconds: float = 0.0
  cpu_seconds: float = 0.0
  peak_bytes: int = 0

  def __add__(self, other: Cost) -> Cost:
    return Cost(
      self.seconds + other.seconds,
      self.cpu_seconds + other.cpu_seconds,
      max(self.peak_bytes, other.peak_bytes),
    )


@dataclasses.dataclass(frozen=True)
class Ended:
  """A process that has ended.

  Attributes:
    pid: as `Processes.start` returned it.
    code: what it exited with; negative: the signal that killed it.
    cost: what it took.
  """

  pid: int
  code: int
  cost: Cost


class Processes:
  """Starts processes and waits for them; use it in a `with` statement.

  While it is entered, signals that ask this process to stop go to the children instead, and are
  noted in `received`. Where this process is killed, its children are asked to end (on Linux), so
  that a second start does not work beside them.
  """

  def __init__(self, pass_fds: Sequence[int] = ()):
    """Args: `pass_fds`, file descriptors that the children hold too, such as that of a lock."""
    self.received: int | None = None
    self._pass_fds = list(pass_fds)
    self._running: dict[int, tuple[subprocess.Popen, float]] = {}

  def __enter__(self) -> Processes:
    self._previous = {number: signal.signal(number, self._receive) for number in _SIGNALS}
    return self

  def __exit__(self, *unused: object) -> None:
    for pid in self._running:  # Something went wrong here: they shall save and end.
      _kill(pid, signal.SIGTERM)
    while self._running:
      self.wait()
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  @property
  def count(self) -> int:
    """How many are running."""
    return len(self._running)

  def start(
    self,
    command: Sequence[str],
    environment: Mapping[str, str],
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
  ) -> int:
    """Starts a process; returns its number.

    Args:
      command: program and arguments.
      environment: all of it.
      stdout: where its standard output goes; None: where this process's goes.
      stderr: likewise.
    """
    # A session of its own keeps the terminal's Ctrl-C from reaching the process twice: once
    # means "save and stop", twice "stop at once".
    process = subprocess.Popen(
      command,
      env=dict(environment),
      start_new_session=True,
      preexec_fn=_die_with_parent(),
      pass_fds=self._pass_fds,
      stdin=subprocess.DEVNULL,
      stdout=stdout,
      stderr=stderr,
    )
    self._running[process.pid] = process, time.perf_counter()
    if self.received:
      _kill(process.pid, self.received)
    return process.pid

  def wait(self) -> Ended:
    """Waits until one of the processes has ended."""
    while True:
      options = 0 if len(self._running) == 1 else os.WNOHANG
      for pid in list(self._running):
        found, status, usage = os.wait4(pid, options)
        if found:
          return self._ended(pid, status, usage)
      time.sleep(_SECONDS_BETWEEN_LOOKS)

  def _ended(self, pid: int, status: int, usage) -> Ended:
    process, start = self._running.pop(pid)
    process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss counts kibibytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    cost = Cost(
      time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit
    )
    return Ended(pid, process.returncode, cost)

  def _receive(self, number: int, unused_frame: FrameType | None) -> None:
    self.received = number
    for pid in list(self._running):
      _kill(pid, number)


def _kill(pid: int, number: int) -> None:
  """Signals the group that a process leads."""
  # There is no such process if it has just ended by itself.
  with contextlib.suppress(ProcessLookupError):
    os.killpg(pid, number)


def python_path(package_parent: str) -> str:
  """The PYTHONPATH with which a new process finds this package, whatever its directory is."""
  return os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH", "")]))


def show_command(command: Sequence[str]) -> str:
  """The command line as a shell takes it, one flag a line if it is long."""
  words = [shlex.quote(word) for word in command]
  line = "$ " + " ".join(words)
  if len(line) <= 100:
    return line
  # The program and its subcommand stay on one line.
  first = next((i for i, word in enumerate(words) if i > 1 and _starts_a_line(word)), len(words))
  return " \\\n    ".join(["$ " + " ".join(words[:first]), *words[first:]])


def _starts_a_line(word: str) -> bool:
  return word.startswith(("--", "'"))


def _die_with_parent() -> Callable[[], None] | None:
  """What a new process does so that it saves and ends where this one is killed.

  Else it would go on alone, and a second start would work beside it.
  """
  if not sys.platform.startswith("linux"):
    return None
  parent, prctl = os.getpid(), ctypes.CDLL(None).prctl

  def ask_for_signal() -> None:
    prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # It was killed in between.
      os.kill(os.getpid(), signal.SIGTERM)

  return ask_for_signal
