"""`truncate-layers`: a smaller BERT from some layers of a larger one."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import re

from bert_tf.checkpoints import conversion
from bert_tf.checkpoints.conversion import Conversion
from bert_tf.checkpoints.reader import Reader
from bert_tf.checkpoints.tools import common
from bert_tf.errors import UserError
from bert_tf.model_dir import Description

_LAYER = re.compile(r"^bert/encoder/layer_(\d+)/")


def truncate_layers(
  reader: Reader, output: str, to: str, about: Description, layers: list[int]
) -> Conversion:
  """Writes a model that has, in this order, the given layers of another one.

  Everything else, embeddings, pooler and heads, is kept; optimizer slots are left out. It is a
  start for training, as of DistilBERT (arXiv:1910.01108, 3), not a model that is good at once.

  Args:
    reader: an open checkpoint.
    output: a directory that does not exist or is empty.
    to: one of `conversion.FORMATS`.
    about: config and vocabulary of the larger model.
    layers: which ones to keep, counted from 0.

  Raises:
    UserError: the model has no such layer; see also `conversion.convert`.
  """
  count = about.config.num_hidden_layers
  wrong = [layer for layer in layers if not 0 <= layer < count]
  if wrong or not layers:
    raise UserError(
      f"layers: expected numbers from 0 to {count - 1}, found {wrong[0] if wrong else 'none'}"
    )
  shapes = {n: s for n, s in common.Derived(reader).shapes.items() if not _LAYER.match(n)}
  result = common.Derived(reader, shapes)
  for name, shape in common.Derived(reader).shapes.items():
    match = _LAYER.match(name)
    for new, old in enumerate(layers):
      if match and int(match[1]) == old:
        target = f"bert/encoder/layer_{new}/{name[match.end() :]}"
        result.change(target, shape, functools.partial(reader.read, name))
  config = dataclasses.replace(about.config, num_hidden_layers=len(layers))
  return conversion.write(output, to, result, dataclasses.replace(about, config=config))


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  common.add_arguments(parser)
  which = parser.add_mutually_exclusive_group(required=True)
  which.add_argument("--num_layers", type=int, help="keep this many, from the lowest")
  which.add_argument("--layers", help="keep these, counted from 0, such as 0,2,4,6,8,10")


def run(args: argparse.Namespace) -> None:
  """Truncates a checkpoint."""
  try:
    layers = [int(n) for n in args.layers.split(",")] if args.layers else range(args.num_layers)
  except ValueError as error:
    raise UserError(f"--layers: expected numbers and commas, found {args.layers!r}") from error
  reader, about, to = common.open_input(args, args.input)
  print(truncate_layers(reader, args.output, to, about, list(layers)))
