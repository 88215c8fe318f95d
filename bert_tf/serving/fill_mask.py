"""`python -m bert_tf fill-mask MODEL [text ...]`: the likeliest words for every [MASK]."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.errors import UserError
from bert_tf.export import kinds
from bert_tf.export.options import GraphPlan
from bert_tf.files import existing_checkpoint
from bert_tf.model_dir import Given, describe
from bert_tf.model_dir.head_kinds import PRETRAINING
from bert_tf.serving import locate
from bert_tf.serving.predict import BATCH_SIZE, decode, print_json_line, text_batches
from bert_tf.trained_model import masks

TOP_K = 5


class MaskFiller:
  """A loaded model that fills in masked words."""

  def __init__(
    self,
    model: str,
    top_k: int = TOP_K,
    bert_config_file: str | None = None,
    vocab_file: str | None = None,
    do_lower_case: bool | None = None,
    max_seq_length: int | None = None,
    allow_missing: Sequence[str] = (),
    checkpoint_prefix: str | None = None,
  ):
    """Loads an export of a pretraining model, or a checkpoint with its masked-LM head.

    Args:
      model: directory of an export, or a checkpoint's prefix, file or directory.
      top_k: how many words to give for every mask.
      bert_config_file: for a checkpoint; default: bert_config.json or config.json beside it.
      vocab_file: for a checkpoint; default: vocab.txt beside it.
      do_lower_case: for a checkpoint; default: as tokenizer_config.json beside it says, or else
        the vocabulary.
      max_seq_length: for a checkpoint; default: as long as the model can read.
      allow_missing: for a checkpoint; names of weights, or patterns such as "cls/*", that it may
        lack: they stay random, and what it answers is of no use but for tests.
      checkpoint_prefix: what stands before the names of the model in it; default: found by itself.

    Raises:
      UserError: a file is missing or damaged, or the model has no masked-LM head.
    """
    if top_k < 1:
      raise UserError(f"expected `top_k` of at least 1, found {top_k}")
    self._top_k = top_k
    if locate.is_export(model):
      self._fill = _exported(model, top_k)
    else:
      existing_checkpoint(model)
      given = Given(bert_config_file, vocab_file, do_lower_case, head=PRETRAINING)
      about = describe(model, given, needs_vocabulary=True)
      length = max_seq_length or about.config.max_position_embeddings
      about = dataclasses.replace(about, labels=(), max_seq_length=length)
      plan = GraphPlan(
        about, top_k=top_k, allow_missing=tuple(allow_missing), checkpoint_prefix=checkpoint_prefix
      )
      kinds.check(plan)
      self._fill = _from_checkpoint(model, plan)

  def fill(self, texts: list[bytes]) -> list[dict[str, Any]]:
    """Answers a batch of texts.

    Returns:
      For every text `text`; `masks`, for each [MASK] the `token` and `probability` of the best
      words; and `filled`, the text with the best word in every place.

    Raises:
      UserError: a text has no [MASK], or one that lies beyond the longest sequence.
    """
    lines = [decode(text) for text in texts]
    masks.check_has_masks(lines)
    outputs = {name: value.numpy() for name, value in self._fill(texts).items()}
    return [masks.answer(line, self._words(outputs, row)) for row, line in enumerate(lines)]

  def _words(self, outputs: Mapping[str, np.ndarray], row: int) -> list[list[tuple[str, float]]]:
    """The best words for every mask of a text, and their probabilities."""
    tokens, probabilities = outputs["tokens"][row], outputs["probabilities"][row]
    found = []
    for words, best in zip(tokens[: outputs["num_masks"][row]], probabilities, strict=False):
      pairs = zip(words[: self._top_k].tolist(), best[: self._top_k].tolist(), strict=True)
      found.append([(decode(word), probability) for word, probability in pairs])
    return found


def _exported(model: str, top_k: int):
  path = locate.find(model)
  facts = locate.facts(path)
  if facts.get("task") != "pretraining":
    raise UserError(
      f"{path}: expected the export of a pretraining model, found task"
      f" {facts.get('task', 'unknown')!r}; use `python -m bert_tf predict`"
    )
  if top_k > facts["top_k"]:
    raise UserError(f"expected `top_k` of at most {facts['top_k']}, as exported, found {top_k}")
  import tensorflow as tf
  import tensorflow_text  # noqa: F401  Registers the ops of the tokenizer.

  loaded = tf.saved_model.load(path)
  signature = loaded.signatures["fill_mask"]

  def fill(texts: list[bytes], keep=loaded):
    return signature(text=tf.constant(texts))

  return fill


def _from_checkpoint(model: str, plan: GraphPlan):
  import tensorflow as tf

  from bert_tf.export import exporters

  graph = exporters.graph_of(model, plan)
  return lambda texts: graph.fill_mask(tf.constant(texts))


def fill_mask(
  model: str, texts: Iterable[str | bytes], top_k: int = TOP_K, **options: Any
) -> Iterator[dict[str, Any]]:
  """Yields an answer for every text; arguments as of `MaskFiller`, answers as of its `fill`."""
  filler = MaskFiller(model, top_k, **options)
  for text in texts:
    yield filler.fill([text.encode() if isinstance(text, str) else text])[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of `python -m bert_tf fill-mask`."""
  parser.add_argument("model", metavar="MODEL", help="checkpoint, its directory, or an export")
  parser.add_argument(
    "text", nargs="*", help="text with [MASK] in it (default: lines of standard input)"
  )
  parser.add_argument("--top_k", type=int, default=TOP_K, help="words to give for every [MASK]")
  parser.add_argument("--bert_config_file", help="default: bert_config.json beside the checkpoint")
  parser.add_argument("--vocab_file", help="default: vocab.txt beside the checkpoint")
  parser.add_argument(
    "--do_lower_case",
    action=argparse.BooleanOptionalAction,
    help="default: as tokenizer_config.json beside the checkpoint says, or else the vocabulary",
  )
  parser.add_argument(
    "--max_seq_length", type=int, help="longest sequence (default: all that the model can read)"
  )
  parser.add_argument(
    "--allow_missing",
    type=lambda names: names.split(","),
    default=[],
    help="names or patterns of weights that the checkpoint may lack, by commas; they stay random",
  )
  parser.add_argument(
    "--checkpoint_prefix",
    help="what stands before the names of the model in the checkpoint (default: found by itself)",
  )
  parser.add_argument("--batch_size", type=int, default=BATCH_SIZE, help="texts at once")


def run(args: argparse.Namespace) -> None:
  """Fills in the masks of the texts on the command line or on standard input."""
  if args.batch_size < 1:
    raise UserError(f"expected `batch_size` of at least 1, found {args.batch_size}")
  filler = MaskFiller(
    args.model,
    args.top_k,
    args.bert_config_file,
    args.vocab_file,
    args.do_lower_case,
    args.max_seq_length,
    args.allow_missing,
    args.checkpoint_prefix,
  )
  for batch in text_batches(args.text, args.batch_size):
    for answer in filler.fill(batch):
      print_json_line(answer)
