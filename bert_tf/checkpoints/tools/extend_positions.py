"""`extend-positions`: a BERT for longer texts."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from bert_tf.checkpoints import conversion
from bert_tf.checkpoints.conversion import Conversion
from bert_tf.checkpoints.reader import Reader
from bert_tf.checkpoints.tools import common
from bert_tf.errors import UserError
from bert_tf.model_dir import Description

_TABLE = "bert/embeddings/position_embeddings"


def extend_positions(
  reader: Reader, output: str, to: str, about: Description, max_position_embeddings: int
) -> Conversion:
  """Writes a model whose position embeddings reach further, by repeating them.

  Texts that fitted before get the same outputs. The repeated rows keep the local structure that
  attention has learned, so that a short training suffices (Longformer, arXiv:2004.05150, 5).

  Args:
    reader: an open checkpoint.
    output: a directory that does not exist or is empty.
    to: one of `conversion.FORMATS`.
    about: config and vocabulary of the model as it is.
    max_position_embeddings: the new length.

  Raises:
    UserError: the new length is not larger; see also `conversion.convert`.
  """
  old, width = about.config.max_position_embeddings, about.config.hidden_size
  if max_position_embeddings <= old:
    raise UserError(
      f"--max_position_embeddings: expected more than the {old} that the model has, found"
      f" {max_position_embeddings}"
    )
  common.check_shape(reader, _TABLE, (old, width))
  result = common.Derived(reader)
  rows = np.arange(max_position_embeddings) % old
  result.change(_TABLE, (max_position_embeddings, width), lambda: reader.read(_TABLE)[rows])
  config = dataclasses.replace(about.config, max_position_embeddings=max_position_embeddings)
  return conversion.write(output, to, result, dataclasses.replace(about, config=config))


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  common.add_arguments(parser)
  parser.add_argument(
    "--max_position_embeddings", type=int, required=True, help="the new longest sequence"
  )


def run(args: argparse.Namespace) -> None:
  """Extends a checkpoint."""
  reader, about, to = common.open_input(args, args.input)
  print(extend_positions(reader, args.output, to, about, args.max_position_embeddings))
