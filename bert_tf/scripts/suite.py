"""`bert-tf suite NAME`: all tasks of a benchmark by one command; see docs/experiments.md."""

from __future__ import annotations

import argparse

from bert_tf.errors import UserError
from bert_tf.experiments import plan, suite
from bert_tf.scripts import script_flags
from bert_tf.tasks.benchmarks import registry

# What the suite gives each run itself.
_FIXED = ("task_name", "do_train", "do_eval", "do_predict", "export_dir")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the command; all others are flags of run_classifier.py."""
  parser.add_argument(
    "benchmark", help=f"{', '.join(registry.BENCHMARKS)}; then flags of run_classifier.py, too"
  )
  parser.add_argument("--data_dir", help="with a directory for each task")
  parser.add_argument("--output_dir", help="where everything goes; started again, it goes on")
  parser.add_argument("--tasks", default="", help="some of them, between commas (default: all)")
  parser.add_argument("--seeds", type=int, default=1, help="trainings of a task (default: 1)")
  parser.add_argument("--workers", type=int, default=1, help="runs at a time (default: 1)")
  parser.add_argument(
    "--intermediate",
    help="a task whose weights others start from that gain by it, such as mnli for rte",
  )
  parser.add_argument("--no_predict", action="store_true", help="only score, predict no test set")
  parser.add_argument(
    "--dry_run", action="store_true", help="only look at the data, and show the runs"
  )
  parser.add_argument(
    "--validate", metavar="PATH", help="only check a submission, a directory or a zip"
  )


def run(args: argparse.Namespace) -> None:
  """Does what the arguments say; see `experiments.suite`.

  Raises:
    UserError: data are missing, a submission is wrong, or runs failed.
  """
  benchmark = registry.find(args.benchmark)
  if args.validate:
    if found := suite.validate(benchmark, args.validate):
      raise UserError(f"{args.validate}: the site would refuse it: {'; '.join(found)}")
    print(f"{args.validate}: as its site takes it")
    return
  script_flags.check_counts(args)
  for name in ("data_dir", "output_dir"):
    if not getattr(args, name):
      raise UserError(f"expected `{name}`, found none; see --help")
  for word in args.script_flags:
    if plan.name_of(word) in _FIXED:
      raise UserError(
        f"`{plan.name_of(word)}`: expected none, as each run gets its own; leave it out"
      )
  needed = (f"--output_dir={args.output_dir}", "--task_name=any")
  flags = script_flags.check(
    "run_classifier", [*args.script_flags, *needed], f"bert-tf suite {benchmark.name}"
  )
  options = suite.SuiteOptions(
    benchmark,
    args.data_dir,
    args.output_dir,
    plan.without(flags, "task_name"),
    script_flags.metrics(args.tasks),
    args.seeds,
    args.workers,
    args.intermediate,
    not args.no_predict,
  )
  made = suite.Suite(options)
  if args.dry_run:
    print("\n".join(made.commands()))
  else:
    made.do()
