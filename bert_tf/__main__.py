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


def main(options: set[str] | None = None) -> None:
  """Finds the command and runs it.

  Args: `options`, is given the names of the command's options, so that errors name no others.
  """
  args = _parse(sys.argv[1:])
  if options is not None:
    options.update(vars(args))
  args.run(args)


def _parse(arguments: list[str]) -> argparse.Namespace:
  """The arguments of a command, and `run`, the function that takes them."""
  parser = argparse.ArgumentParser(prog="python -m bert_tf", description=__doc__)
  commands = parser.add_subparsers(metavar="COMMAND", required=True)
  wanted = next((word for word in arguments if not word.startswith("-")), None)
  for name, (module_name, help_text) in COMMANDS.items():
    command = commands.add_parser(name, help=help_text, description=help_text)
    if name == wanted:
      module = importlib.import_module(module_name)
      module.add_arguments(command)
      command.set_defaults(run=module.run)
      if wanted == arguments[0]:
        # parse_args would let no option stand between a model's name and the texts for it.
        return command.parse_intermixed_args(arguments[1:])
  return parser.parse_args(arguments)


if __name__ == "__main__":
  script.quiet_tensorflow()
  known: set[str] = set()
  script.call(lambda: main(known), known.__contains__)
