"""`average`: the mean of several checkpoints of one training."""

from __future__ import annotations

import argparse
import functools
import os

import numpy as np

from bert_tf.checkpoints import conversion, formats, locate
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
    result.change(name, shape, functools.partial(_mean, readers, name))
  return conversion.write(output, to, result, about)


def _mean(readers: list[Reader], name: str) -> np.ndarray:
  total = np.sum([reader.read(name) for reader in readers], axis=0, dtype=np.float64)
  return np.asarray(total / len(readers), np.float32)


def last_checkpoints(directory: str, count: int) -> list[str]:
  """Returns the newest checkpoints that the state file of a training directory lists.

  Raises:
    UserError: there are fewer than `count`.
  """
  paths = locate.listed(directory)
  if len(paths) < count:
    names = ", ".join(map(os.path.basename, paths)) or "none that its state file lists"
    advice = (
      f"lower --last to {len(paths)}, or train"
      if len(paths) > 1
      else "there is nothing to average; train"
    )
    raise UserError(
      f"{directory}: expected the {count} checkpoints that --last asks for, found {len(paths)}"
      f" ({names}); {advice} with --keep_checkpoint_max={count} or more"
    )
  return paths[-count:]


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  parser.add_argument(
    "inputs", nargs="+", help="the checkpoints, or one training directory and --last"
  )
  parser.add_argument("output", help="directory to write; new or empty")
  parser.add_argument(
    "--last", type=int, help="how many of the newest checkpoints to take, 2 at least"
  )
  common.add_arguments(parser, inputs="")


def run(args: argparse.Namespace) -> None:
  """Averages checkpoints."""
  paths = args.inputs
  if args.last is not None:
    if args.last < 2:
      raise UserError(f"--last: expected at least 2 checkpoints to average, found {args.last}")
    if len(paths) != 1 or not os.path.isdir(paths[0]):
      raise UserError(
        f"--last: expected one training directory to take checkpoints from, found {len(paths)}"
        f" inputs: {', '.join(paths)}; name the directory alone, or leave --last out"
      )
    paths = last_checkpoints(paths[0], args.last)
  elif len(paths) == 1:
    raise UserError(
      f"expected at least two checkpoints to average, found {paths[0]}; name more of them, or, of"
      " one training directory, how many of its newest to take with --last"
    )
  _, about, to = common.open_input(args, paths[0])
  readers = [formats.open_checkpoint(path, args.checkpoint_prefix) for path in paths]
  print(average(readers, args.output, to, about))
