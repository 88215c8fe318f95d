"""Runs command lines one after another; started again, it goes on where it was.

A step that has finished leaves a marker with the digest of its command and of the contents of its
input files. It is run again only if that digest has changed, or if one of its outputs is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence
from typing import IO

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.processes import Cost, Processes, python_path, show_command
from bert_tf.script import Stopped
from bert_tf.training.output_dir import Lock

MARKERS = ".steps"
_LOG_LINES_SHOWN = 15


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
      environment["PYTHONPATH"] = python_path(self._python_path)
    # So that the directory stays locked as long as the process works in it.
    held = [self._lock.fileno()] if self._lock else []
    with contextlib.ExitStack() as files, Processes(held) as processes:
      streams = self._streams(step, files)
      processes.start(step.command, environment, streams.get("stdout"), streams.get("stderr"))
      ended = processes.wait()
    if ended.code == 0 and step.answers:
      os.replace(_unfinished(step.answers), step.answers)
    return ended.code, ended.cost, processes.received

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


def _unfinished(path: str) -> str:
  return path + ".unfinished"
