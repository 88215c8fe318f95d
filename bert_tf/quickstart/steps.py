"""Runs command lines one after another; started again, it goes on where it was.

A step that has finished leaves a marker with the digest of its command and of the contents of its
input files. It is run again only if that digest has changed, or if one of its outputs is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import glob
import hashlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import IO

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.script import Stopped
from bert_tf.training.output_dir import Lock

MARKERS = ".steps"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOG_LINES_SHOWN = 15
# <linux/prctl.h>
_PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True)
class Step:
  """One command line.

  Attributes:
    name: of the marker and the log.
    title: what it does, for the user.
    command: program and arguments.
    inputs: patterns of files below the output directory that decide its result.
    outputs: files and directories that it alone writes, removed before it starts anew.
    resumes: whether it goes on from the outputs of an unfinished start, so that these stay.
    answers: file that its standard output goes to; the terminal's if None.
    quiet: whether its messages go to a log file rather than to the terminal.
    needs_package: whether its process is told where to find bert_tf.
  """

  name: str
  title: str
  command: tuple[str, ...]
  inputs: tuple[str, ...]
  outputs: tuple[str, ...]
  resumes: bool = False
  answers: str | None = None
  quiet: bool = False
  needs_package: bool = True


@dataclasses.dataclass(frozen=True)
class Cost:
  """What a step took, over all its starts.

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
class _Marker:
  digest: str
  finished: bool
  cost: Cost


class Runner:
  """Runs steps below one output directory."""

  def __init__(
    self, output_dir: str | os.PathLike[str], python_path: str, lock: Lock | None = None
  ):
    """Args: `python_path`, where the steps' processes find this package; `lock`, of the directory,
    which they hold too.
    """
    self._output_dir = pathlib.Path(output_dir)
    self._python_path = python_path
    self._lock = lock

  def run(self, step: Step, label: str) -> Cost:
    """Runs `step` unless an earlier start has finished it; prints `label` and the command line.

    Returns:
      What it took, on this and earlier starts.

    Raises:
      UserError: the command fails.
      Stopped: a signal arrived; the step goes on, or starts anew, the next time.
    """
    digest = self._digest(step)
    marker = self._read_marker(step)
    if marker and marker.digest != digest:
      marker = None
    if marker and marker.finished and all(map(os.path.exists, step.outputs)):
      print(f"\n{label} {step.title}: done before, in {marker.cost.seconds:.0f} s", flush=True)
      return marker.cost
    unfinished = marker if marker and not marker.finished else None
    earlier = unfinished.cost if unfinished else Cost()
    if not (unfinished and step.resumes):
      self._remove(step.outputs)
    print(f"\n{label} {step.title}\n{show_command(step.command)}", flush=True)
    self._write_marker(step, _Marker(digest, False, earlier))
    code, cost, signal_number = self._execute(step)
    cost = earlier + cost
    self._write_marker(step, _Marker(digest, code == 0, cost))
    if signal_number:
      raise Stopped(signal_number, "start the same command again to go on from here")
    if code != 0:
      raise self._failure(step, code)
    print(f"({cost.seconds:.0f} s)", flush=True)
    return cost

  def _execute(self, step: Step) -> tuple[int, Cost, int | None]:
    """Runs the command; returns its exit code, what it took, and a signal that ended it."""
    environment = dict(os.environ)
    if step.needs_package:
      environment["PYTHONPATH"] = self._child_path()
    start = time.perf_counter()
    with contextlib.ExitStack() as files, _Forwarding() as forwarding:
      # A session of its own keeps the terminal's Ctrl-C from reaching the process twice: once
      # means "save and stop", twice "stop at once".
      streams = self._streams(step, files)
      process = subprocess.Popen(
        step.command,
        env=environment,
        start_new_session=True,
        preexec_fn=_die_with_parent(),
        # So that the directory stays locked as long as the process works in it.
        pass_fds=[self._lock.fileno()] if self._lock else [],
        stdin=subprocess.DEVNULL,
        stdout=streams.get("stdout"),
        stderr=streams.get("stderr"),
      )
      forwarding.to(process.pid)
      _, status, usage = os.wait4(process.pid, 0)
      process.returncode = os.waitstatus_to_exitcode(status)
    # ru_maxrss counts kibibytes, except on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    cost = Cost(
      time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit
    )
    if process.returncode == 0 and step.answers:
      os.replace(_unfinished(step.answers), step.answers)
    return process.returncode, cost, forwarding.received

  def _streams(self, step: Step, files: contextlib.ExitStack) -> dict[str, IO[bytes]]:
    """Opens what standard output and standard error go to, where that is not the terminal."""

    def create(path: str | os.PathLike[str]) -> IO[bytes]:
      os.makedirs(os.path.dirname(path), exist_ok=True)
      return files.enter_context(open(path, "wb"))

    streams = {}
    if step.quiet:
      streams["stdout"] = streams["stderr"] = create(self._log(step))
    if step.answers:
      streams["stdout"] = create(_unfinished(step.answers))
    return streams

  def _child_path(self) -> str:
    paths = [self._python_path, os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(filter(None, paths))

  def _log(self, step: Step) -> pathlib.Path:
    return self._output_dir / "logs" / f"{step.name}.log"

  def _failure(self, step: Step, code: int) -> UserError:
    where = "see its message above"
    if step.quiet:
      where = f"see {self._log(step)}"
      lines = self._log(step).read_text(encoding="utf-8", errors="replace").splitlines()
      print("\n".join(lines[-_LOG_LINES_SHOWN:]), file=sys.stderr, flush=True)
    return UserError(f"step {step.name!r}: the command above ended with exit code {code}; {where}")

  def _digest(self, step: Step) -> str:
    """Of the command, apart from where Python and the output directory are, and the inputs."""
    command = "\n".join(step.command[1:]).replace(os.fspath(self._output_dir), "OUTPUT_DIR")
    digest = hashlib.sha256(command.encode())
    for pattern in step.inputs:
      relative = os.path.relpath(pattern, self._output_dir)
      paths = sorted(glob.glob(relative, root_dir=self._output_dir))
      if not paths:
        raise UserError(
          f"step {step.name!r}: expected {pattern}, which an earlier step writes, found none;"
          " remove the output directory and start again"
        )
      for path in paths:
        with open(self._output_dir / path, "rb") as file:
          digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()

  def _marker_path(self, step: Step) -> pathlib.Path:
    return self._output_dir / MARKERS / f"{step.name}.json"

  def _read_marker(self, step: Step) -> _Marker | None:
    try:
      values = json.loads(self._marker_path(step).read_text(encoding="utf-8"))
      return _Marker(values["digest"], values["finished"], Cost(**values["cost"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
      return None

  def _write_marker(self, step: Step, marker: _Marker) -> None:
    with atomic_writer(self._marker_path(step)) as file:
      json.dump(dataclasses.asdict(marker), file)

  def _remove(self, outputs: Sequence[str]) -> None:
    """Removes what an earlier run with other arguments wrote."""
    for output in outputs:
      path = pathlib.Path(output)
      if not path.resolve().is_relative_to(self._output_dir.resolve()):
        raise ValueError(f"an output outside of {self._output_dir}: {output}")
      if path.is_dir():
        shutil.rmtree(path)
      else:
        path.unlink(missing_ok=True)


class _Forwarding:
  """While it is entered, signals that ask this process to stop go to a child instead."""

  def __init__(self):
    self.received: int | None = None
    self._child: int | None = None

  def __enter__(self) -> _Forwarding:
    self._previous = {number: signal.signal(number, self._receive) for number in _SIGNALS}
    return self

  def __exit__(self, *unused: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def to(self, child: int) -> None:
    """Names the child, the leader of its process group."""
    self._child = child
    if self.received:
      self._forward(self.received)

  def _receive(self, number: int, unused_frame: FrameType | None) -> None:
    self.received = number
    self._forward(number)

  def _forward(self, number: int) -> None:
    if self._child is not None:
      # There is no such process if it has just ended by itself.
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._child, number)


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


def _unfinished(path: str) -> str:
  return path + ".unfinished"


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
