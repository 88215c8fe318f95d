"""`python -m bert_tf COMMAND`: everything that is not a script of the original."""

from __future__ import annotations

import argparse
import importlib
import sys

from bert_tf import script

# Command -> (the module that holds it, what it does). A module has `add_arguments(parser)` and
# `run(args)`; it is imported only when its command is used, so that `--help` answers at once.
COMMANDS = {
  "quickstart": ("bert_tf.quickstart.command", "the whole life of a small BERT, in minutes"),
  "learn-vocab": ("bert_tf.tokenization.command", "learn a WordPiece vocabulary from text"),
  "fill-mask": ("bert_tf.serving.fill_mask", "fill in the [MASK] words of sentences"),
  "predict": ("bert_tf.serving.predict", "classify text with an exported model"),
}


def main() -> None:
  """Finds the command and runs it."""
  parser = argparse.ArgumentParser(prog="python -m bert_tf", description=__doc__)
  commands = parser.add_subparsers(metavar="COMMAND", required=True)
  wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
  for name, (module_name, help_text) in COMMANDS.items():
    command = commands.add_parser(name, help=help_text, description=help_text)
    if name == wanted:
      module = importlib.import_module(module_name)
      module.add_arguments(command)
      command.set_defaults(run=module.run)
  args = parser.parse_args()
  args.run(args)


if __name__ == "__main__":
  script.quiet_tensorflow()
  script.call(main)
