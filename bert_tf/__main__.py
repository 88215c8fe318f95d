"""`bert-tf COMMAND`, or `python -m bert_tf COMMAND`: the scripts and everything besides.

`bert-tf COMMAND --help` shows the options of a command.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import sys
from typing import NoReturn

import bert_tf
from bert_tf import script

# Command -> (the script that it starts, what it does). They take the flags of the files of these
# names that the original has, so that `bert-tf classify --flag` is `run_classifier.py --flag`.
SCRIPTS = {
  "pretraining-data": ("create_pretraining_data", "make pretraining records from text"),
  "pretrain": ("run_pretraining", "pretrain by masked LM and next sentence prediction"),
  "classify": ("run_classifier", "fine-tune on sentences or pairs: labels or numbers"),
  "ner": ("run_ner", "fine-tune on words with tags, such as names"),
  "squad": ("run_squad", "fine-tune on questions and answers"),
  "features": ("extract_features", "write the vectors of every token"),
  "export": ("export_model", "export a model that takes text, to serve"),
  "convert": ("convert_checkpoint", "rewrite weights in another format"),
}
# Command -> (the module that holds it, what it does). A module has `add_arguments(parser)` and
# `run(args)`; it is imported only when its command is used, so that `--help` answers at once.
COMMANDS = {
  "quickstart": ("bert_tf.quickstart.command", "the whole life of a small BERT, in minutes"),
  "suite": ("bert_tf.scripts.suite", "run all tasks of a benchmark, and write its submission"),
  "seeds": ("bert_tf.scripts.seeds", "do a fine-tuning with several seeds"),
  "search": ("bert_tf.scripts.search", "try values of a script's flags"),
  "recipe": ("bert_tf.recipes.command", "show or do an experiment of the papers"),
  "learn-vocab": ("bert_tf.tokenization.command", "learn a WordPiece vocabulary from text"),
  "fill-mask": ("bert_tf.serving.fill_mask", "fill in the [MASK] words of sentences"),
  "predict": ("bert_tf.serving.predict", "classify text with an exported model"),
  "serve": ("bert_tf.serving.server", "serve exports on this machine as TensorFlow Serving does"),
  "client": ("bert_tf.serving.client", "ask a model server, over gRPC or REST"),
  "inspect": ("bert_tf.checkpoints.tools.inspect", "show what a checkpoint holds"),
  "strip": ("bert_tf.checkpoints.tools.strip", "drop the optimizer's moments from a checkpoint"),
  "average": ("bert_tf.checkpoints.tools.average", "average the last checkpoints of a run"),
  "add-tokens": ("bert_tf.checkpoints.tools.add_tokens", "add words to a model's vocabulary"),
  "truncate-layers": ("bert_tf.checkpoints.tools.truncate_layers", "make a model of fewer layers"),
  "extend-positions": (
    "bert_tf.checkpoints.tools.extend_positions",
    "make a model for longer texts",
  ),
}
# What they do not know, they pass on to the scripts that they start, in `script_flags`.
STARTING_SCRIPTS = ("suite", "seeds", "search")
# Among the names of options: whatever an error names is one, or a flag of a script.
_ALL = "*"


def main(options: set[str] | None = None) -> None:
  """Finds the command and runs it.

  Args: `options`, is given the names of the command's options, so that errors name no others.
  """
  words = sys.argv[1:]
  by_file = {file: command for command, (file, _) in SCRIPTS.items()}
  if words and (command := by_file.get(words[0], words[0])) in SCRIPTS:
    _start_script(command, words[1:])
  args = _parse(words)
  if options is not None:
    options.update(vars(args))
    if hasattr(args, "script_flags"):
      options.add(_ALL)
  args.run(args)


def _start_script(command: str, arguments: list[str]) -> NoReturn:
  from bert_tf.scripts.start import start

  sys.argv = [f"{_program()} {command}", *arguments]
  start(importlib.import_module(f"bert_tf.scripts.{SCRIPTS[command][0]}"))


def _program() -> str:
  """How the user started this."""
  name = os.path.basename(sys.argv[0])
  return "python -m bert_tf" if name == "__main__.py" else name


def _parse(arguments: list[str]) -> argparse.Namespace:
  """The arguments of a command, and `run`, the function that takes them."""
  parser = argparse.ArgumentParser(
    prog=_program(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--version", action="version", version=_versions())
  commands = parser.add_subparsers(metavar="COMMAND", required=True)
  wanted = next((word for word in arguments if not word.startswith("-")), None)
  for name, (_, help_text) in SCRIPTS.items():
    commands.add_parser(name, help=help_text)
  for name, (module_name, help_text) in COMMANDS.items():
    # A script's flag is not taken for the beginning of one of the command's own.
    command = commands.add_parser(
      name, help=help_text, description=help_text, allow_abbrev=name not in STARTING_SCRIPTS
    )
    if name == wanted:
      module = importlib.import_module(module_name)
      module.add_arguments(command)
      command.set_defaults(run=module.run)
      if name in STARTING_SCRIPTS:
        args, flags = command.parse_known_args(arguments[1:])
        args.script_flags = flags
        return _from_home(args)
      if wanted == arguments[0]:
        # parse_args would let no option stand between a model's name and the texts for it.
        return _from_home(command.parse_intermixed_args(arguments[1:]))
  return _from_home(parser.parse_args(arguments))


def _versions() -> str:
  """Of what decides how this behaves, read without importing it."""

  def version(package: str) -> str:
    try:
      return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      return "not installed"

  python = ".".join(map(str, sys.version_info[:3]))
  others = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras"))
  return f"bert_tf {bert_tf.__version__} (Python {python}, {others})"


def _from_home(args: argparse.Namespace) -> argparse.Namespace:
  for name, value in vars(args).items():
    if script.is_path(name) and isinstance(value, str):
      setattr(args, name, script.from_home(value))
  return args


def console() -> None:
  """What the console command `bert-tf` calls."""
  script.quiet_tensorflow()
  known: set[str] = set()
  script.call(lambda: main(known), lambda name: name in known or _ALL in known)


if __name__ == "__main__":
  console()
