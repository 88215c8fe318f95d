"""All tasks of a benchmark: trained, scored, predicted, packed for its site."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.experiments import report, seeds
from bert_tf.experiments.driver import Driver
from bert_tf.experiments.plan import FINISHED, Result, Run, name_of, without
from bert_tf.files import atomic_writer
from bert_tf.processes import show_command
from bert_tf.tasks.benchmarks import data_check
from bert_tf.tasks.benchmarks.contract import Benchmark, BenchmarkTask

SUBMISSION_DIR = "submission"
_PREDICTIONS = "predictions.jsonl"
# A run needs no other checkpoint than its last.
_DEFAULTS = {"keep_checkpoint_max": "1"}


@dataclasses.dataclass(frozen=True)
class SuiteOptions:
  """What is done.

  Attributes:
    benchmark: its tasks and files.
    data_dir: with a directory for every task.
    output_dir: of the suite.
    flags: of the scripts, for all tasks: the model, and how it is trained.
    tasks: names of those that are done; none: all.
    seeds: how many trainings of each task.
    workers: how many runs at a time.
    intermediate: `task_name` of the task whose weights those start from that are known to gain by
      it; None: all start from the initial checkpoint.
    predicts: whether the test sets are answered.
  """

  benchmark: Benchmark
  data_dir: str
  output_dir: str
  flags: tuple[str, ...]
  tasks: tuple[str, ...] = ()
  seeds: int = 1
  workers: int = 1
  intermediate: str | None = None
  predicts: bool = True


class Suite:
  """The runs of a benchmark."""

  def __init__(self, options: SuiteOptions):
    """Looks at all files that are needed.

    Raises:
      UserError: a file is missing or damaged, or there is no such task.
    """
    self._options = options
    self._tasks = chosen_tasks(options.benchmark, options.tasks, options.intermediate)
    reports = data_check.check(self._tasks, options.data_dir)
    if found := data_check.problems(reports):
      names = ", ".join(sorted({r.task for r in reports if r.problem}))
      raise UserError(
        f"`data_dir`: {len(found)} files cannot be used: {'; '.join(found)}. Download them, or"
        f" leave out {names} with `tasks`"
      )
    for each in reports:
      if each.note:
        logging.warning("%s", each.note)
    # In the order of `chosen_tasks`: what others start from comes before them.
    self._runs: dict[str, list[Run]] = {}
    for task in self._tasks:
      if task.weights_of is None:
        self._runs[task.task_name] = self._runs_of(task)
      elif task.metrics:
        self._runs[task.task_name] = self._scoring(task)

  @property
  def runs(self) -> list[Run]:
    """Trainings and their scores; predictions follow from which is best."""
    return [run for runs in self._runs.values() for run in runs]

  def commands(self) -> list[str]:
    """The command lines of `runs`, as a shell takes them."""
    return [
      show_command(["bert-tf", run.script, *run.flags, f"--output_dir={self._output_dir(run)}"])
      for run in self.runs
    ]

  def do(self) -> dict[str, Any]:
    """Does all runs, and writes tables, a picture and the submission.

    Returns:
      What summary.json holds.

    Raises:
      UserError: runs failed; the others are reported all the same.
      Stopped: a signal arrived; started again, it goes on.
    """
    with Driver(self._options.output_dir, self._options.workers) as driver:
      results = driver.do(self.runs)
      found = self._report(results)
      answered = self._predict(driver) if self._options.predicts else []
    seeds.refuse_failed([*results, *answered])
    return found

  def _flags(self, task: BenchmarkTask, *more: str) -> tuple[str, ...]:
    given = self._options.flags
    known = {name_of(word) for word in given}
    wanted = {**_DEFAULTS, **task.flags}
    own = [f"--{name}={value}" for name, value in wanted.items() if name not in known]
    if task.script == "run_classifier":
      own = [f"--task_name={task.task_name}", f"--data_dir={self._data_dir(task)}", *own]
    return (*own, *given, *more)

  def _data_dir(self, task: BenchmarkTask) -> str:
    return os.path.join(self._options.data_dir, task.directory)

  def _runs_of(self, task: BenchmarkTask) -> list[Run]:
    """A training and its scores, for each seed."""
    flags = self._flags(task, "--do_train", "--do_eval")
    runs = seeds.runs_of(task.script, flags, self._options.seeds, task.task_name, task.metrics)
    source = self._options.intermediate
    if source is None or not task.takes_intermediate:
      return runs
    return [
      dataclasses.replace(
        run,
        flags=(
          *without(run.flags, "init_checkpoint"),
          f"--init_checkpoint={self._output_dir(before)}",
        ),
        needs=(before.name,),
      )
      for run, before in zip(runs, self._runs[source], strict=True)
    ]

  def _scoring(self, task: BenchmarkTask) -> list[Run]:
    """The scores of another task's models, for each seed."""
    source = self._runs[str(task.weights_of)]
    return [self._answering(task, before, "--do_eval") for before in source]

  def _answering(self, task: BenchmarkTask, before: Run, what: str) -> Run:
    """A run that answers with the weights of another one."""
    flags = without(self._flags(task, what), "init_checkpoint")
    own = task.task_name == before.group
    name = f"{task.task_name}.seed-{before.seed}" + (".predict" if what == "--do_predict" else "")
    return Run(
      name,
      task.script,
      flags if own else (*flags, f"--init_checkpoint={self._output_dir(before)}"),
      before.directory if own else f"{task.task_name}.seed-{before.seed}",
      task.task_name,
      before.seed,
      metrics=task.metrics,
      scored=what == "--do_eval",
      needs=(before.name,),
    )

  def _output_dir(self, run: Run) -> str:
    return os.path.join(self._options.output_dir, "runs", run.directory)

  def _report(self, results: Sequence[Result]) -> dict[str, Any]:
    text = report.of_seeds(self._options.output_dir, self.runs, results)
    found = report.groups_of(self.runs, results)
    average = average_of(self._options.benchmark, {n: v.get("mean") for n, v in found.items()})
    if average is not None:
      text += f"\n{self._options.benchmark.name} average: {average:.4f}"
    print(text, flush=True)
    report.write(self._options.output_dir, text, {**found, "average": average})
    return {**found, "average": average}

  def _predict(self, driver: Driver) -> list[Result]:
    """Answers the test sets with the best weights of each task, and packs the answers."""
    wanted = {}
    for task in self._tasks:
      trained = self._runs[task.weights_of or task.task_name]
      results = driver.records.of(trained)
      if task.submission and any(r.status == FINISHED for r in results):
        wanted[task.task_name] = self._answering(task, seeds.best(trained, results), "--do_predict")
    results = driver.do(list(wanted.values()))
    done = {r.name for r in results if r.status == FINISHED}
    directory = os.path.join(self._options.output_dir, SUBMISSION_DIR)
    for task in self._tasks:
      run = wanted.get(task.task_name)
      if run and task.submission and run.name in done:
        predictions = os.path.join(driver.path(run), _PREDICTIONS)
        task.submission.write(predictions, os.path.join(directory, task.submission.file_name))
    print(pack(self._options.benchmark, directory), flush=True)
    return results


def chosen_tasks(
  benchmark: Benchmark, names: Iterable[str], intermediate: str | None
) -> list[BenchmarkTask]:
  """The tasks of a suite, sources of weights first.

  Raises:
    UserError: there is no such task, or the one whose weights another needs is not among them.
  """
  wanted = [benchmark.task(name) for name in names] or list(benchmark.tasks)
  by_name = {task.task_name: task for task in wanted}
  for task in wanted:
    if task.weights_of and task.weights_of not in by_name:
      raise UserError(
        f"`tasks`: expected {task.weights_of} with {task.task_name}, which its model answers, found"
        f" {', '.join(by_name)}"
      )
  if intermediate and (intermediate not in by_name or by_name[intermediate].weights_of):
    raise UserError(
      f"`intermediate`: expected a task that is trained, of {', '.join(by_name)}, found"
      f" {intermediate!r}; name it among `tasks`"
    )
  first = [task for task in by_name.values() if task.task_name == intermediate]
  last = [task for task in by_name.values() if task.weights_of]
  return [*first, *(t for t in by_name.values() if t not in first and t not in last), *last]


def average_of(benchmark: Benchmark, means: Mapping[str, float | None]) -> float | None:
  """The benchmark's score, of its tasks' scores by `task_name`; None where one is missing."""
  averages = []
  for names in benchmark.averages:
    members = [means.get(benchmark.task(name).task_name) for name in names]
    if None in members:
      return None
    averages.append(math.fsum(m for m in members if m is not None) / len(members))
  return math.fsum(averages) / len(averages)


def pack(benchmark: Benchmark, directory: str) -> str:
  """Zips the files of a submission if the site would take them; says what was done."""
  problems = validate(benchmark, directory)
  if problems:
    return (
      f"{directory}: no {benchmark.archive}, as its site would refuse it: {'; '.join(problems)}"
    )
  path = os.path.join(directory, benchmark.archive)
  with (
    atomic_writer(path, "wb") as file,
    zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
  ):
    for task in benchmark.tasks:
      if task.submission:
        name = task.submission.file_name
        archive.write(os.path.join(directory, name), name)
  return f"{path}: complete, as its site takes it"


def validate(benchmark: Benchmark, path: str) -> list[str]:
  """What a site would refuse of a directory or a zip, a line each; nothing: it takes it.

  Raises:
    UserError: there is no such directory or zip.
  """
  if os.path.isdir(path):
    names = [n for n in os.listdir(path) if n != benchmark.archive and not n.startswith(".")]
    return _problems(benchmark, path, names)
  if not zipfile.is_zipfile(path):
    raise UserError(f"expected a directory or a zip with a submission, found neither at {path!r}")
  with tempfile.TemporaryDirectory() as directory, zipfile.ZipFile(path) as archive:
    wanted = {task.submission.file_name for task in benchmark.tasks if task.submission}
    for name in wanted & set(archive.namelist()):
      archive.extract(name, directory)
    return _problems(benchmark, directory, archive.namelist())


def _problems(benchmark: Benchmark, directory: str, names: Sequence[str]) -> list[str]:
  found = []
  wanted = {task.submission.file_name: task for task in benchmark.tasks if task.submission}
  if missing := [name for name in wanted if name not in names]:
    found.append(f"expected {', '.join(missing)}, found none")
  if unknown := sorted(set(names) - wanted.keys()):
    found.append(f"expected none but the names of the site, found {', '.join(unknown)}")
  for name, task in wanted.items():
    if name in names and task.submission:
      try:
        task.submission.check(os.path.join(directory, name))
      except UserError as error:
        found.append(str(error))
  return found
