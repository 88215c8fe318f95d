"""`bert-tf search SCRIPT --grid=paper --flags ...`: tries values of a script's flags."""

from __future__ import annotations

import argparse

from absl import flags

from bert_tf.errors import UserError
from bert_tf.experiments import search, space
from bert_tf.scripts import script_flags

FLAGS = flags.FLAGS


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the command; all others are flags of the script."""
  parser.add_argument("script", help="run_classifier, run_ner or run_squad; then its own flags")
  parser.add_argument(
    "--grid", choices=["paper"],
    help="the paper's: batches of 16 and 32, rates of 5e-5, 3e-5 and 2e-5, 2 to 4 epochs",
  )  # fmt: skip
  parser.add_argument(
    "--values", action="append", default=[], metavar="FLAG=A,B", help="values of a flag; repeat it"
  )
  parser.add_argument(
    "--range", action="append", default=[], metavar="FLAG=A:B[:log|int]",
    help="numbers from A to B, for random and tpe; repeat it",
  )  # fmt: skip
  parser.add_argument(
    "--sampler", choices=search.SAMPLERS, help="default: grid, or random where there is a range"
  )
  parser.add_argument("--trials", type=int, help="how many (default: all of a grid)")
  parser.add_argument(
    "--search_seed", type=int, default=12345, help="of what is drawn (default: 12345)"
  )
  parser.add_argument(
    "--halving", type=int, default=0,
    help="successive halving: of so many trials one goes on at each rung (default: 0, none)",
  )  # fmt: skip
  parser.add_argument("--workers", type=int, default=1, help="trials at a time (default: 1)")
  parser.add_argument(
    "--metric", default="", help="scores in eval_metrics.json, whose mean counts, between commas"
  )


def run(args: argparse.Namespace) -> None:
  """Does the search and prints a table; see `experiments.search.run`."""
  script_flags.check_counts(args)
  wanted = _space(args)
  given = script_flags.check(args.script, args.script_flags, f"bert-tf search {args.script}")
  script_flags.check_scored()
  for name, values in wanted.items():
    _check_flag(name, values)
  export_dir = FLAGS.export_dir
  metrics = script_flags.metrics(args.metric)
  if "task_name" in FLAGS and not metrics:
    metrics = script_flags.official_metrics(FLAGS.task_name)
  search.run(
    search.SearchOptions(
      args.script,
      script_flags.without_export(given),
      FLAGS.output_dir,
      wanted,
      args.sampler or ("random" if args.range else "grid"),
      args.trials,
      args.search_seed,
      args.workers,
      args.halving,
      metrics,
      export_dir,
    )
  )


def _space(args: argparse.Namespace) -> dict[str, space.Choices | space.Range]:
  """What the arguments say to try; a flag's own values come before those of the grid."""
  found: dict[str, space.Choices | space.Range] = {}
  if args.grid:
    found = {name: space.Choices(values) for name, values in space.PAPER.items()}
  named: list[tuple[str, space.Choices | space.Range]] = [
    *map(space.choices, args.values),
    *map(space.range_of, args.range),
  ]
  if repeated := [name for n, (name, _) in enumerate(named) if name in dict(named[:n])]:
    raise UserError(f"expected each flag to be searched once, found {repeated[0]} twice")
  return {**found, **dict(named)}


def _check_flag(name: str, values: space.Choices | space.Range) -> None:
  """Raises UserError where the script has no such flag, or a value of it is wrong."""
  if name not in FLAGS or name in ("output_dir", "export_dir", "stop_at", "seeds"):
    raise UserError(f"expected a flag that can be searched, found {name!r}; see --helpfull")
  if isinstance(values, space.Choices):
    tried = values.values
  else:
    tried = (values.written(values.least), values.written(values.most))
  for value in tried:
    try:
      FLAGS[name].parser.parse(value)
    except (ValueError, TypeError) as error:
      raise UserError(f"`{name}`: {error}; give other values to try") from error
