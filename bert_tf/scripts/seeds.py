"""`bert-tf seeds SCRIPT --seeds=N --flags ...`: one fine-tuning with several seeds."""

from __future__ import annotations

import argparse

from absl import flags

from bert_tf.experiments import seeds
from bert_tf.scripts import script_flags

FLAGS = flags.FLAGS


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the command; all others are flags of the script."""
  parser.add_argument("script", help="run_classifier, run_ner or run_squad; then its own flags")
  parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
  parser.add_argument("--workers", type=int, default=1, help="runs at a time (default: 1)")
  parser.add_argument(
    "--metric", default="", help="scores in eval_metrics.json, whose mean counts, between commas"
  )


def run(args: argparse.Namespace) -> None:
  """Does the runs and prints a table; see `experiments.seeds.run`."""
  script_flags.check_counts(args)
  given = script_flags.check(args.script, args.script_flags, f"bert-tf seeds {args.script}")
  start(args.script, given, args.seeds, args.workers, script_flags.metrics(args.metric))


def start(
  script: str,
  given: tuple[str, ...],
  count: int,
  workers: int = 1,
  metrics: tuple[str, ...] = (),
) -> None:
  """Starts the runs of a script whose flags are parsed.

  Args:
    script: its name, or the file of another one that has the same flags.
    given: the flags that were said.
    count: of seeds.
    workers: see `SeedsOptions`, as `metrics`.
    metrics: default: the official ones of the task.
  """
  script_flags.check_scored()
  export_dir = FLAGS.export_dir
  given = script_flags.without_export(given)
  if "task_name" in FLAGS and not metrics:
    metrics = script_flags.official_metrics(FLAGS.task_name)
  seeds.run(
    seeds.SeedsOptions(script, given, FLAGS.output_dir, count, workers, metrics, export_dir)
  )
