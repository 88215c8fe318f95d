"""`inspect`: says what is in a checkpoint."""

from __future__ import annotations

import argparse
import math

import numpy as np

from bert_tf import names
from bert_tf.checkpoints import formats
from bert_tf.checkpoints.tools import common
from bert_tf.errors import UserError, printable
from bert_tf.model_dir import Beside, describe


def inspect(path: str, with_norms: bool = True, prefix: str | None = None) -> str:
  """Describes a checkpoint: format, config, vocabulary, parameters, and a line for each weight.

  Args:
    path: what `bert_tf.checkpoints.load` reads.
    with_norms: whether to read all weights and give their L2 norms.
    prefix: what stands before the names of the model in the file.

  Raises:
    UserError: there is no checkpoint at `path`, or it is damaged.
  """
  reader = formats.open_checkpoint(path, prefix)
  weights = {name: shape for name, shape in reader.shapes.items() if not names.is_slot(name)}
  slots = [n for n in reader.shapes if names.is_slot(n) and n != names.GLOBAL_STEP]
  lines = [f"checkpoint  {reader.path}", f"format      {reader.format}", *_description(path)]
  lines.append(f"parameters  {sum(math.prod(s) for s in weights.values()):,}")
  if slots:
    lines.append(f"optimizer   {sum(math.prod(reader.shapes[n]) for n in slots):,} values in slots")
  if names.GLOBAL_STEP in reader.shapes:
    lines.append(f"step        {int(reader.read(names.GLOBAL_STEP)):,}")
  width = max((len(name) for name in weights), default=0)
  lines.append("")
  for name, shape in weights.items():
    line = f"{printable(name, lines=False):<{width}}  {' x '.join(map(str, shape)):>14}"
    if with_norms:
      line += _norm(reader.read(name))
    lines.append(line + ("  (cannot be used)" if name in reader.refused else ""))
  lines += sorted({f"cannot be used: {reason}" for reason in reader.refused.values()})
  return printable("\n".join(lines))


def _norm(array: np.ndarray) -> str:
  """The L2 norm of a tensor, and how many of its values are no numbers; text has none."""
  if array.dtype.kind not in "fiub":
    return f"  {array.dtype.name:>12}"
  values = array.astype(np.float64)
  wrong = int(np.sum(~np.isfinite(values)))
  note = f"  ({wrong:,} values NaN or infinite)" if wrong else ""
  return f"  {np.linalg.norm(values):>12.5g}{note}"


def _description(path: str) -> list[str]:
  if Beside(path).config_file is None:
    return ["config      none beside the weights"]
  try:
    about = describe(path)
  except UserError as error:
    return [f"config      {error}"]
  config = about.config
  lines = [
    f"config      {config.num_hidden_layers} layers, hidden {config.hidden_size},"
    f" {config.num_attention_heads} heads, intermediate {config.intermediate_size},"
    f" {config.hidden_act}, vocabulary {config.vocab_size:,},"
    f" {config.max_position_embeddings} positions, {config.type_vocab_size} segments"
  ]
  if about.tokens:
    case = "lower-cased" if about.tokenizer.do_lower_case else "cased"
    lines.append(f"vocabulary  {about.vocab_file or f'{len(about.tokens):,} tokens'} ({case})")
  if about.head:
    lines.append(f"head        {about.head}")
  if about.labels:
    lines.append(f"labels      {', '.join(about.labels)}")
  return lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this command."""
  parser.add_argument("input", help=common.PATH_HELP)
  common.add_prefix_argument(parser)
  parser.add_argument("--no_norms", action="store_true", help="do not read the weights")


def run(args: argparse.Namespace) -> None:
  """Prints what is in a checkpoint."""
  print(inspect(args.input, not args.no_norms, args.checkpoint_prefix))
