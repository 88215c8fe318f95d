"""`average`: the mean of several checkpoints of one training."""

from __future__ import annotations

import argparse
import os

import numpy as np

from bert_tf.checkpoints import conversion, formats
from bert_tf.checkpoints.conversion import Conversion
from bert_tf.checkpoints.reader import Reader
from bert_tf.checkpoints.tools import common
from bert_tf.errors import UserError
from bert_tf.model_dir import Description


def average(readers: list[Reader], output: str, to: str, about: Description) -> Conversion:
  """Writes the mean of the weights of several checkpoints; optimizer slots are left out.

  Args:
    readers: open checkpoints with the same weights.
    output: a directory that does not exist or is empty.
    to: one of `conversion.FORMATS`.
    about: config and vocabulary.

  Raises:
    UserError: the checkpoints differ in names or shapes; see also `conversion.convert`.
  """
  if len(readers) < 2:
    raise UserError(f"expected at least two checkpoints to average, found {len(readers)}")
  result = common.Derived(readers[0])
  for reader in readers[1:]:
    other = common.Derived(reader).shapes
    differing = sorted(result.shapes.items() ^ other.items())
    if differing:
      name = differing[0][0]
      raise UserError(
        f"{reader.path}: expected the weights of {readers[0].path}, found {name} of shape"
        f" {list(other.get(name, ())) or 'none'} instead of"
        f" {list(result.shapes.get(name, ())) or 'none'}"
      )
  for name, shape in list(result.shapes.items()):
    result.change(name, shape, lambda name=name: _mean(readers, name))
  return conversion.write(output, to, result, about)


def _mean(readers: list[Reader], name: str) -> np.ndarray:
  total = sum(reader.read(name).astype(np.float64) for reader in readers)
  return (total / len(readers)).astype(np.float32)


def last_checkpoints(directory: str, count: int) -> list[str]:
  """Returns the newest checkpoints that the state file of a training directory lists.

  Raises:
    UserError: there are fewer than `count`.
  """
  import tensorflow as tf

  state = tf.train.get_checkpoint_state(directory)
  paths = list(state.all_model_checkpoint_paths) if state else []
  paths = [path for path in paths if os.path.exists(path + ".index")]
  if len(paths) < count:
    raise UserError(
      f"{directory}: expected {count} checkpoints, found {len(paths)}; train with a larger"
      " --keep_checkpoint_max, or lower --last"
    )
  return paths[-count:]


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  parser.add_argument(
    "inputs", nargs="+", help="the checkpoints, or one training directory and --last"
  )
  parser.add_argument("output", help="directory to write; new or empty")
  parser.add_argument("--last", type=int, help="how many of the newest checkpoints to take")
  common.add_arguments(parser, inputs="")


def run(args: argparse.Namespace) -> None:
  """Averages checkpoints."""
  paths = args.inputs
  if args.last:
    if len(paths) != 1 or not os.path.isdir(paths[0]):
      raise UserError("--last: expected one training directory to take checkpoints from")
    paths = last_checkpoints(paths[0], args.last)
  _, about, to = common.open_input(args, paths[0])
  readers = [formats.open_checkpoint(path) for path in paths]
  print(average(readers, args.output, to, about))
