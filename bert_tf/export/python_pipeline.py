"""The way from text to features in plain Python, as training goes it: what exports must equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bert_tf.data.records import encode_example
from bert_tf.export.options import TextOptions
from bert_tf.tokenization import FullTokenizer

_NAMES = ("input_ids", "input_mask", "segment_ids")


def features(
  first: Sequence[str], second: Sequence[str], text: TextOptions, masks: bool = False
) -> dict[str, np.ndarray]:
  """Sequences of run_classifier.py, padded to the longest of the batch.

  Args:
    first: B texts.
    second: B second texts; one without tokens is none.
    text: how the model was trained to read.
    masks: whether a literal [MASK] stands for the token.

  Returns:
    `input_ids`, `input_mask` and `segment_ids`, int32 [B, S].
  """
  tokenizer = FullTokenizer(text.tokens, settings=text.tokenizer)

  def tokenize(line: str) -> list[str]:
    tokens: list[str] = []
    for index, part in enumerate(line.split("[MASK]") if masks else [line]):
      tokens += ["[MASK]"] * (index > 0) + tokenizer.tokenize(part)
    return tokens

  rows = [_sequence(tokenize(a), tokenize(b), text) for a, b in zip(first, second, strict=True)]
  return _padded([(tokenizer.convert_tokens_to_ids(t), n) for t, n in rows], text)


def truncated(first: Sequence[str], second: Sequence[str], text: TextOptions) -> np.ndarray:
  """Whether a sequence of `features` lacks pieces of its texts, bool [B]."""
  tokenizer = FullTokenizer(text.tokens, settings=text.tokenizer)
  rows = []
  for a, b in zip(first, second, strict=True):
    tokens = tokenizer.tokenize(a), tokenizer.tokenize(b)
    count = sum(map(len, tokens))
    text.long_text.cut(*tokens, text.max_seq_length)
    rows.append(sum(map(len, tokens)) < count)
  return np.array(rows, bool)


def _sequence(tokens_a: list[str], tokens_b: list[str], text: TextOptions) -> tuple[list[str], int]:
  """[CLS] A [SEP] B [SEP] or [CLS] A [SEP], and the length of its first segment."""
  has_b = bool(tokens_b)
  text.long_text.cut(tokens_a, tokens_b, text.max_seq_length)
  first = ["[CLS]", *tokens_a, "[SEP]"]
  return [*first, *tokens_b, *(["[SEP]"] if has_b else [])], len(first)


def _padded(rows: list[tuple[list[int], int]], text: TextOptions) -> dict[str, np.ndarray]:
  width = text.max_seq_length if text.static_length else max(len(ids) for ids, _ in rows)
  result = {name: np.zeros((len(rows), width), np.int32) for name in _NAMES}
  for i, (ids, first_segment) in enumerate(rows):
    result["input_ids"][i, : len(ids)] = ids
    result["input_mask"][i, : len(ids)] = 1
    result["segment_ids"][i, first_segment : len(ids)] = 1
  return result


def examples(rows: dict[str, np.ndarray]) -> np.ndarray:
  """Serialized tf.Examples of features, object [B]."""
  count = len(rows["input_ids"])
  encoded = [
    encode_example({name: value[i].tolist() for name, value in rows.items()}) for i in range(count)
  ]
  return np.array(encoded, object)
