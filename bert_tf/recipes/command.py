"""`bert-tf recipe NAME`: shows a recipe, or does it."""

from __future__ import annotations

import argparse
import os
import sys

import bert_tf
from bert_tf.errors import UserError
from bert_tf.processes import Processes, python_path, show_command
from bert_tf.recipes import fine_tuning, pretraining
from bert_tf.recipes.recipe import PLACES, Recipe
from bert_tf.script import Stopped

RECIPES: dict[str, Recipe] = {
  recipe.name: recipe for recipe in (*pretraining.RECIPES, *fine_tuning.RECIPES)
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the command."""
  parser.add_argument("name", nargs="?", help="of the recipe; without it all are listed")
  for name, help_text in PLACES.items():
    parser.add_argument(f"--{name}", help=help_text)
  parser.add_argument("--dry_run", action="store_true", help="only show what it would do")


def run(args: argparse.Namespace) -> None:
  """Lists, shows or does.

  Raises:
    UserError: there is no such recipe, a place is not given, or a command fails.
    Stopped: a signal arrived; the script that was running has saved.
  """
  if args.name is None:
    width = max(map(len, RECIPES))
    print("\n".join(f"{name.ljust(width)}  {recipe.title}" for name, recipe in RECIPES.items()))
    return
  if args.name not in RECIPES:
    raise UserError(f"expected a recipe of {', '.join(RECIPES)}, found {args.name!r}")
  recipe = RECIPES[args.name]
  places = {name: value for name in PLACES if (value := getattr(args, name))}
  print(describe(recipe, places), flush=True)
  if args.dry_run:
    return
  recipe.check(places)
  for step in recipe.steps:
    _start([step.script, *step.words(places)])


def describe(recipe: Recipe, places: dict[str, str]) -> str:
  """All that there is to know of a recipe, with its commands."""
  lines = [
    recipe.title,
    f"  paper     {recipe.paper}",
    f"  data      {recipe.data}",
    f"  expected  {recipe.expected} ({recipe.source})",
    f"  cost      {recipe.cost}",
  ]
  for step in recipe.steps:
    # A place that is not known stays a variable, which no quotes shall keep from the shell.
    command = show_command(["bert-tf", step.script, *step.words(places)])
    lines += ["", _unquoted(command)]
  return "\n".join(lines)


def _unquoted(command: str) -> str:
  words = command.split(" ")
  return " ".join(w.strip("'") if w.startswith("'--") and "$" in w else w for w in words)


def _start(words: list[str]) -> None:
  package = os.path.dirname(os.path.dirname(bert_tf.__file__))
  environment = {**os.environ, "PYTHONPATH": python_path(package)}
  with Processes() as processes:
    processes.start([sys.executable, "-m", "bert_tf", *words], environment)
    ended = processes.wait()
  if processes.received:
    raise Stopped(processes.received, "start the same command again to go on from here")
  if ended.code:
    raise UserError(f"{words[0]} ended with exit code {ended.code}; see its message above")
