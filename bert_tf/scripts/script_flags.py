"""Flags of a script that another command starts: checked now, passed on later."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from absl import flags

from bert_tf.errors import UserError
from bert_tf.experiments import plan
from bert_tf.scripts import command_line
from bert_tf.tasks.benchmarks import registry

FLAGS = flags.FLAGS
FINE_TUNING = ("run_classifier", "run_ner", "run_squad")
# Those of the driver: never passed on.
_OWN = {"output_dir", "seeds", "workers", "metric", "flagfile", "undefok"}


def check(script: str, words: Sequence[str], command: str) -> tuple[str, ...]:
  """Parses the flags of a script as it would itself; returns them as it is to be given them.

  Args:
    script: of FINE_TUNING.
    words: the flags.
    command: as the user started it.

  Raises:
    UserError: there is no such script or flag, or a value is wrong.
  """
  if script not in FINE_TUNING:
    raise UserError(f"expected a script of {', '.join(FINE_TUNING)}, found {script!r}")
  module = importlib.import_module(f"bert_tf.scripts.{script}")
  command_line.parse(module, [command, *words])
  if FLAGS.dry_run:
    raise UserError(
      f"`dry_run`: expected none, as runs without training have no scores; give it to {script}"
    )
  return said()


def said() -> tuple[str, ...]:
  """The flags that were given on the command line, but for those of a driver."""
  given = {}
  for name in FLAGS:
    flag = FLAGS[name]
    if flag.present and name == flag.name and name not in _OWN:
      given[name] = flag.serialize()
  return tuple(word for word in given.values() if word)


def without_export(given: tuple[str, ...]) -> tuple[str, ...]:
  """The flags without `export_dir`: the best run alone is exported."""
  return plan.without(given, "export_dir")


def check_scored() -> None:
  """Raises UserError where the runs of the script whose flags are parsed would leave no scores."""
  for name in ("do_train", "do_eval" if "do_eval" in FLAGS else "do_predict"):
    if not FLAGS[name].value:
      raise UserError(f"`{name}`: expected it, so that each run has a score, found none; add it")


def check_counts(args: argparse.Namespace) -> None:
  """Raises UserError where there would be no run or no worker."""
  for name in ("seeds", "workers", "trials"):
    if getattr(args, name, None) is not None and getattr(args, name) < 1:
      raise UserError(f"`{name}`: expected at least 1, found {getattr(args, name)}")


def metrics(text: str) -> tuple[str, ...]:
  """Names of scores between commas."""
  return tuple(part.strip() for part in text.split(",") if part.strip())


def official_metrics(task_name: str) -> tuple[str, ...]:
  """The scores of a task that a benchmark has; none where no benchmark has it."""
  for benchmark in registry.BENCHMARKS.values():
    for task in benchmark.tasks:
      if task.task_name == task_name.lower() and task.script == "run_classifier":
        return task.metrics
  return ()
