"""`bert-tf quickstart`: from text to a served model in minutes, without a download."""

from __future__ import annotations

import argparse
import os

import bert_tf
from bert_tf.files import atomic_writer
from bert_tf.quickstart import own_text, plan, report, results
from bert_tf.quickstart.size import FAST, FULL
from bert_tf.quickstart.steps import Runner
from bert_tf.training.output_dir import Lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the command."""
  parser.add_argument(
    "--output_dir",
    default="quickstart",
    help="where everything goes; started again on it, finished steps are not done again"
    " (default: quickstart)",
  )
  parser.add_argument(
    "--seed", type=int, default=12345, help="of weights, masks and order (default: 12345)"
  )
  parser.add_argument(
    "--corpus",
    help="a text of your own in any language to do it with, UTF-8, with blank lines between"
    " documents (default: English text of Python itself, with a labelled task)",
  )
  parser.add_argument(
    "--fast",
    action="store_true",
    help="all steps in little more than a minute; the model learns next to nothing",
  )


def run(args: argparse.Namespace) -> None:
  """Runs all steps and prints the summary.

  Raises:
    UserError: a step fails, or something that it needs is missing.
    Stopped: a signal arrived.
  """
  scale = FAST if args.fast else FULL
  layout = plan.Layout(args.output_dir)
  steps = (
    own_text.steps(args.corpus, layout, scale, args.seed)
    if args.corpus
    else plan.steps(layout, scale, args.seed)
  )
  written = {layout.config_file: plan.config_json(scale)}
  if not args.corpus:
    written[layout.classify_script] = plan.classify_source()
  for path, content in written.items():
    with atomic_writer(path) as file:
      file.write(content)
  package = os.path.dirname(os.path.dirname(bert_tf.__file__))
  with Lock(args.output_dir) as lock:
    runner = Runner(args.output_dir, package, lock)
    costs = {
      step.name: runner.run(step, f"[{number}/{len(steps)}]")
      for number, step in enumerate(steps, start=1)
    }
  if args.corpus:
    text = own_text.summary(costs, layout, scale)
    more = own_text.next_steps(layout, scale)
  else:
    found = results.read(layout, scale)
    report.write_curves(layout.path("curves.png"), found, layout)
    text, more = report.summary(found, costs, layout, scale), report.next_steps(layout, scale)
  with atomic_writer(layout.path("summary.txt")) as file:
    file.write(text + "\n")
  print(f"\n{'=' * 80}\n{text}\n\n{more}")
