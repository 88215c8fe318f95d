"""`python -m bert_tf predict DIR [text ...]`: an exported model's answers as JSON lines."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from bert_tf.errors import UserError
from bert_tf.serving import locate

BATCH_SIZE = 32
# Lines read ahead of the model, so that a fast writer cannot fill the memory.
_READ_AHEAD = 4096


class Predictor:
  """A loaded export that answers texts."""

  def __init__(self, saved_model_dir: str):
    """Loads the newest version in `saved_model_dir`, or the version that it is.

    Raises:
      UserError: there is no export, or it cannot be loaded or has no signature for text.
    """
    path = locate.find(saved_model_dir)
    self._facts = locate.facts(path)
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  Registers the ops of the tokenizer.

    self._tf = tf
    try:
      self._signatures = tf.saved_model.load(path).signatures
    except (tf.errors.OpError, OSError, ValueError) as error:
      raise UserError(
        f"{path}: expected a SavedModel, found one that cannot be loaded"
        f" ({str(error).splitlines()[0]}); export it again"
      ) from error
    self._alone = self._signature("serving_default")
    self._pairs = self._signature("pairs") if "pairs" in self._signatures else self._alone

  def _signature(self, name: str):
    if name not in self._signatures:
      raise UserError(
        f"expected a signature {name!r} for text, found {', '.join(sorted(self._signatures))};"
        " export the model with export_model.py"
      )
    return self._signatures[name]

  def predict(self, texts: Sequence[bytes]) -> list[dict[str, Any]]:
    """Answers a batch; a tab in a text separates it from its second text.

    Returns:
      One dictionary for every text, ready for JSON.
    """
    rows = [text.partition(b"\t") for text in texts]
    with_pair = any(tab for _, tab, _ in rows)
    signature = self._pairs if with_pair else self._alone
    names = _text_inputs(signature)
    if with_pair and len(names) < 2:
      raise UserError("expected one text a line, found a tab; this model does not take pairs")
    columns = [[row[0] for row in rows], [row[2] for row in rows]]
    inputs = {name: self._tf.constant(column) for name, column in zip(names, columns, strict=False)}
    outputs = {name: value.numpy() for name, value in signature(**inputs).items()}
    echoes = [
      {name: decode(column[i]) for name, column in zip(names, columns, strict=False)}
      for i in range(len(rows))
    ]
    return [
      {**echo, **readable({name: value[i] for name, value in outputs.items()})}
      for i, echo in enumerate(echoes)
    ]


def _text_inputs(signature) -> list[str]:
  """Names of a signature's inputs in the order of a line's columns."""
  order = ("question", "text", "context", "text_pair")
  names = signature.structured_input_signature[1]
  unknown = [name for name in names if name not in order]
  if unknown:
    raise UserError(f"expected a signature on text, found the input {unknown[0]!r}")
  return sorted(names, key=order.index)


def readable(row: dict[str, Any]) -> dict[str, Any]:
  """One answer in terms of JSON: probabilities by label, strings instead of bytes.

  Raises:
    UserError: a number is NaN or infinite, which JSON has no word for.
  """
  values = {name: _plain(value) for name, value in row.items()}
  for name, value in values.items():
    if not _is_finite(value):
      raise UserError(
        f"expected finite numbers in an answer, found NaN or infinity in {name}; the weights of"
        " this model are damaged: export it again from sound ones"
      )
  labels = values.pop("labels", None)
  if labels and isinstance(values.get("probabilities"), list):
    values["probabilities"] = dict(zip(labels, values["probabilities"], strict=True))
    if isinstance(chosen := values.get("chosen"), list):
      values["chosen"] = [label for label, given in zip(labels, chosen, strict=True) if given]
  return {name: values[name] for name in sorted(values, key=lambda name: (name != "label", name))}


def _plain(value: Any) -> Any:
  value = value.tolist() if hasattr(value, "tolist") else value
  if isinstance(value, list):
    return [_plain(item) for item in value]
  return decode(value) if isinstance(value, bytes) else value


def _is_finite(value: Any) -> bool:
  if isinstance(value, list):
    return all(map(_is_finite, value))
  return not isinstance(value, float) or math.isfinite(value)


def decode(text: bytes) -> str:
  """UTF-8 as JSON can hold it."""
  return text.decode("utf-8", "replace")


def predict(
  saved_model_dir: str, texts: Iterable[str | bytes], batch_size: int = BATCH_SIZE
) -> Iterator[dict[str, Any]]:
  """Yields an answer for every text.

  Args:
    saved_model_dir: what export_model.py wrote.
    texts: a tab separates two texts.
    batch_size: how many texts the model is given at once.
  """
  predictor = Predictor(saved_model_dir)
  encoded = (text.encode() if isinstance(text, str) else text for text in texts)
  while batch := list(itertools.islice(encoded, batch_size)):
    yield from predictor.predict(batch)


def batches_of_lines(file: IO[bytes], batch_size: int) -> Iterator[list[bytes]]:
  """Batches of the lines that have come so far: a slow writer waits for no full batch."""
  lines: queue.Queue[bytes | None] = queue.Queue(_READ_AHEAD)

  def read() -> None:
    for line in file:
      lines.put(line.rstrip(b"\r\n"))
    lines.put(None)

  threading.Thread(target=read, daemon=True).start()
  while (line := lines.get()) is not None:
    batch = [line]
    while len(batch) < batch_size and not lines.empty():
      if (line := lines.get()) is None:
        yield batch
        return
      batch.append(line)
    yield batch


def text_batches(arguments: Sequence[str], batch_size: int) -> Iterator[list[bytes]]:
  """Batches of the texts on the command line, or of standard input if there are none."""
  if not arguments:
    yield from batches_of_lines(sys.stdin.buffer, batch_size)
    return
  for start in range(0, len(arguments), batch_size):
    yield [os.fsencode(text) for text in arguments[start : start + batch_size]]


def print_json_line(value: dict[str, Any]) -> None:
  """Prints one line at once, so that a reader at the other end of a pipe need not wait."""
  sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")
  sys.stdout.flush()


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of `python -m bert_tf predict`."""
  parser.add_argument("saved_model_dir", metavar="DIR", help="exported model, or one version of it")
  parser.add_argument(
    "text", nargs="*", help="text to answer; a tab separates two texts (default: standard input)"
  )
  parser.add_argument(
    "--batch_size", type=int, default=BATCH_SIZE, help="texts given to the model at once"
  )


def run(args: argparse.Namespace) -> None:
  """Answers the texts of the command line or of standard input."""
  if args.batch_size < 1:
    raise UserError(f"expected `batch_size` of at least 1, found {args.batch_size}")
  predictor = Predictor(args.saved_model_dir)
  for batch in text_batches(args.text, args.batch_size):
    for answer in predictor.predict(batch):
      print_json_line(answer)
