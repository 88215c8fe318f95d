"""What the commands on checkpoints have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from bert_tf.checkpoints import conversion, formats
from bert_tf.checkpoints.reader import Reader, Shape, Weights
from bert_tf.errors import UserError
from bert_tf.model_dir import Description, Given, describe

# What a reader says of its format -> the name of that format on the command line.
_FORMAT_NAMES = {
  "TF1": "tf1", "Hugging Face": "huggingface", "Model Garden": "model_garden",
  "KerasHub": "keras_hub", "SavedModel": "tf1",
}  # fmt: skip

PATH_HELP = (
  "prefix of a TensorFlow checkpoint, weight file, directory with either, or"
  " hf://organisation/name[@revision]"
)


class Derived:
  """A checkpoint that is computed from another one, tensor by tensor, when it is read.

  Optimizer slots are left behind: they belong to the old weights.
  """

  def __init__(self, reader: Reader, shapes: dict[str, Shape] | None = None):
    """Args: `reader`, the other one; `shapes`, of the result; default: as in `reader`."""
    self.path = reader.path
    self.format = reader.format
    self.refused = reader.refused
    weights = Weights(reader)
    self.shapes = dict(weights.shapes if shapes is None else shapes)
    self._weights = weights
    self._changes: dict[str, Callable[[], np.ndarray]] = {}

  def change(self, name: str, shape: Shape, compute: Callable[[], np.ndarray]) -> None:
    """Gives a weight another value: `compute()` of the given shape."""
    self.shapes[name] = tuple(shape)
    self._changes[name] = compute

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor, computed or as it was."""
    return self._changes[name]() if name in self._changes else self._weights[name]


def check_shape(reader: Reader, name: str, shape: Shape) -> None:
  """Raises UserError where a weight is missing or is not what the config says."""
  found = reader.shapes.get(name)
  if found != shape:
    raise UserError(
      f"{reader.path}: expected {name} of shape {list(shape)}, found"
      f" {list(found) if found else 'none'}; use the config that belongs to this checkpoint"
    )


def add_arguments(parser: argparse.ArgumentParser, inputs: str = "input") -> None:
  """Adds the arguments that all commands have that write a checkpoint."""
  if inputs == "input":
    parser.add_argument("input", help=PATH_HELP)
    parser.add_argument("output", help="directory to write; new or empty")
  parser.add_argument(
    "--to", choices=conversion.FORMATS, help="format to write; default: that of the input"
  )
  parser.add_argument("--bert_config_file", help="the config; default: the one beside the input")
  parser.add_argument("--vocab_file", help="the vocabulary; default: the one beside the input")
  add_prefix_argument(parser)


def add_prefix_argument(parser: argparse.ArgumentParser) -> None:
  """Adds the argument that all commands have that read a checkpoint."""
  parser.add_argument(
    "--checkpoint_prefix",
    help="what stands before the names of the model in the file, such as module/ or student.;"
    " default: found by itself where there is one model",
  )


def open_input(args: argparse.Namespace, path: str) -> tuple[Reader, Description, str]:
  """Opens a checkpoint; returns it, what it is, and the format to write."""
  reader = formats.open_checkpoint(path, args.checkpoint_prefix)
  about = describe(path, Given(args.bert_config_file, args.vocab_file))
  return reader, about, args.to or _FORMAT_NAMES[reader.format]
