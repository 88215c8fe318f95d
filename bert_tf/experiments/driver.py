"""Does the runs of a plan, each in a process of its own; started again, it goes on."""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence

import bert_tf
from bert_tf import progress_bars
from bert_tf.errors import UserError
from bert_tf.experiments import scores
from bert_tf.experiments.plan import FAILED, FINISHED, Records, Result, Run
from bert_tf.processes import Ended, Processes, python_path
from bert_tf.script import Stopped
from bert_tf.training.output_dir import Lock


class Driver:
  """Does runs below one directory, which is its own while it is entered.

  Attributes:
    records: what is known of the directory's runs.
  """

  def __init__(self, output_dir: str, workers: int = 1):
    """Args: `workers`, how many runs are done at the same time."""
    self._output_dir = output_dir
    self._workers = workers
    self._lock: Lock | None = None

  def __enter__(self) -> Driver:
    self._lock = Lock(self._output_dir)
    self.records = Records(self._output_dir)
    return self

  def __exit__(self, *unused: object) -> None:
    if self._lock:
      self._lock.close()

  def path(self, run: Run) -> str:
    """The output directory of a run."""
    return os.path.join(self._output_dir, "runs", run.directory)

  def log(self, run: Run) -> str:
    """Where its messages go."""
    return os.path.join(self._output_dir, "logs", f"{run.name}.log")

  def do(self, runs: Sequence[Run]) -> list[Result]:
    """Does those runs that no earlier start has finished; returns the results of all.

    A run that fails stops nothing but what needs it, unless it is the first of all.

    Raises:
      UserError: the plan is another one, or the first run failed.
      Stopped: a signal arrived; the runs have saved what they had.
    """
    self.records.add(runs)
    waiting = [run for run in runs if not self.records.finished(run)]
    fds = [self._lock.fileno()] if self._lock else []
    done = len(runs) - len(waiting)
    bar = progress_bars.bar(total=len(runs), initial=done, unit=" runs")
    with bar, Processes(fds) as processes:
      running: dict[int, tuple[int, Run]] = {}
      while True:
        self._start(waiting, running, processes)
        if not running:
          break
        ended = processes.wait()
        _, run = running.pop(ended.pid)
        self._note(run, ended, processes.received)
        bar.update()
      if processes.received:
        raise Stopped(processes.received, "start the same command again to go on from here")
    return self.records.of(runs)

  def _start(
    self, waiting: list[Run], running: dict[int, tuple[int, Run]], processes: Processes
  ) -> None:
    """Starts what can be started now."""
    while len(running) < self._workers and processes.received is None:
      run = next((run for run in waiting if self._is_ready(run)), None)
      if run is None:
        return
      waiting.remove(run)
      worker = min(set(range(self._workers)) - {number for number, _ in running.values()})
      os.makedirs(os.path.dirname(self.log(run)), exist_ok=True)
      with open(self.log(run), "ab") as log:
        command = [*program(run.script), *run.flags, f"--output_dir={self.path(run)}"]
        pid = processes.start(command, self.environment(worker), log, log)
      running[pid] = worker, run

  def _is_ready(self, run: Run) -> bool:
    done = self.records.results
    return all(name in done and done[name].status == FINISHED for name in run.needs)

  def environment(self, worker: int = 0) -> dict[str, str]:
    """That of a process, with its share of the machine where there are several workers."""
    package = os.path.dirname(os.path.dirname(bert_tf.__file__))
    environment = {**os.environ, "PYTHONPATH": python_path(package)}
    if self._workers > 1:
      gpus = _gpus()
      if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[worker % len(gpus)]
      threads = max(1, (os.cpu_count() or 1) // self._workers)
      environment.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
      environment.setdefault("OMP_NUM_THREADS", str(threads))
    return environment

  def _note(self, run: Run, ended: Ended, received: int | None) -> None:
    """Records what came of a run, unless a signal ended it."""
    cost = dataclasses.asdict(ended.cost)
    base = Result(run.name, run.flags, FAILED, driver_bytes=_own_peak(), **cost)
    if ended.code and received:
      return
    if ended.code:
      words = self._last_words(run)
      if ended.code < 0:
        words = f"signal {-ended.code} ended it (9 may be a lack of memory) after: {words}"
      if not any(r.status == FINISHED for r in self.records.results.values()):
        raise UserError(
          f"{run.name}, the first of the runs, failed: {words}; see {self.log(run)}, and start the"
          " same command again"
        )
      result = dataclasses.replace(base, error=words)
    else:
      result = self._scored(run, base)
    self.records.record(result)
    print(describe(result), flush=True)

  def _scored(self, run: Run, base: Result) -> Result:
    if not run.scored:
      return dataclasses.replace(base, status=FINISHED)
    metrics = scores.read(self.path(run))
    names = run.metrics or scores.usual(metrics)
    return dataclasses.replace(
      base,
      status=FINISHED,
      score=scores.mean(metrics, names),
      metrics=scores.numbers(metrics),
      baseline=scores.baseline(metrics, names),
    )

  def _last_words(self, run: Run) -> str:
    with open(self.log(run), encoding="utf-8", errors="replace") as file:
      lines = [line.strip() for line in file if line.strip()]
    wanted = [line for line in lines if line.startswith("error: ")] or lines
    return wanted[-1].removeprefix("error: ") if wanted else "it said nothing"


def program(script: str) -> list[str]:
  """How a process starts a script: one of this package by its name, others by their file."""
  if script.endswith(".py"):
    return [sys.executable, os.path.abspath(script)]
  return [sys.executable, "-m", "bert_tf", script]


def describe(result: Result) -> str:
  """One line on a result."""
  if result.status == FAILED:
    return f"{result.name}: failed: {result.error}"
  told = "done" if result.score is None else f"{result.score:.4f}"
  if result.learnt_nothing:
    told += f" (no better than always the same answer, {result.baseline:.4f})"
  return f"{result.name}: {told} in {result.seconds:.0f} s"


def _own_peak() -> int:
  unit = 1 if sys.platform == "darwin" else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _gpus() -> list[str]:
  """Numbers of the GPUs that may be used, as CUDA_VISIBLE_DEVICES has them."""
  if "CUDA_VISIBLE_DEVICES" in os.environ:
    return [number for number in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if number.strip()]
  if not shutil.which("nvidia-smi"):
    return []
  listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
  return [str(n) for n, _ in enumerate(filter(None, listed.stdout.splitlines()))]
