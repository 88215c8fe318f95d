"""The way from text to features in plain Python, as training goes it: what exports must equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
  return shown(first, second, text, masks)[0]


def shown(
  first: Sequence[str], second: Sequence[str], text: TextOptions, masks: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """What texts become, args as of `features`: these, and how much of the texts there is.

  The latter are, int32 [B], `num_tokens`, without padding; `num_pieces` of both texts before any is
  cut off; `num_windows` that the encoder reads.
  """
  tokenizer = FullTokenizer(text.tokens, settings=text.tokenizer)

  def tokenize(line: str) -> list[str]:
    tokens: list[str] = []
    for index, part in enumerate(line.split("[MASK]") if masks else [line]):
      tokens += ["[MASK]"] * (index > 0) + tokenizer.tokenize(part)
    return tokens

  pieces = [(tokenize(a), tokenize(b)) for a, b in zip(first, second, strict=True)]
  counts = [len(a) + len(b) for a, b in pieces]
  rows = [_sequence(a, b, text) for a, b in pieces]
  padded = _padded([(tokenizer.convert_tokens_to_ids(t), n) for t, n in rows], text)
  return padded, {
    "num_tokens": padded["input_mask"].sum(axis=1, dtype=np.int32),
    "num_pieces": np.array(counts, np.int32),
    "num_windows": np.array([_num_windows(len(tokens), text) for tokens, _ in rows], np.int32),
  }


def _num_windows(num_tokens: int, text: TextOptions) -> int:
  """How many sequences the encoder reads for one of so many tokens."""
  if not text.long_text.in_windows:
    return 1
  from bert_tf.document_classifier import num_windows

  longest = text.max_seq_length
  return num_windows(num_tokens - 2, longest - 2, text.long_text.stride(longest))


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


def text_examples(texts: Mapping[str, np.ndarray]) -> np.ndarray:
  """Serialized tf.Examples of columns of texts, object [B]."""
  import tensorflow as tf

  rows = []
  for row in zip(*texts.values(), strict=True):
    example = tf.train.Example()
    for name, text in zip(texts, row, strict=True):
      example.features.feature[name].bytes_list.value.append(text.encode())
    rows.append(example.SerializeToString(deterministic=True))
  return np.array(rows, object)
