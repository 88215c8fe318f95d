"""`strip`: a checkpoint without the slots of the optimizer, a third of its size."""

from __future__ import annotations

import argparse

from bert_tf.checkpoints import conversion
from bert_tf.checkpoints.conversion import Conversion
from bert_tf.checkpoints.reader import Reader
from bert_tf.checkpoints.tools import common
from bert_tf.model_dir import Description


def strip(reader: Reader, output: str, to: str, about: Description) -> Conversion:
  """Writes the weights of a checkpoint without `adam_m`, `adam_v` and `global_step`.

  Args:
    reader: an open checkpoint.
    output: a directory that does not exist or is empty.
    to: one of `conversion.FORMATS`.
    about: config and vocabulary.

  Raises:
    UserError: see `conversion.convert`.
  """
  return conversion.write(output, to, common.Derived(reader), about)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  common.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
  """Strips a checkpoint."""
  reader, about, to = common.open_input(args, args.input)
  print(strip(reader, args.output, to, about))
