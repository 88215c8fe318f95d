"""The way from text to features in plain Python, as training goes it: what exports must equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bert_tf.data.records import encode_example
from bert_tf.serving.text_inputs import TextOptions
from bert_tf.tokenization import FullTokenizer


def features(
  first: Sequence[str], second: Sequence[str], text: TextOptions
) -> dict[str, np.ndarray]:
  """Sequences of run_classifier.py, padded to the longest of the batch.

  Args:
    first: B texts.
    second: B second texts; one without tokens is none.
    text: how the model was trained to read.

  Returns:
    `input_ids`, `input_mask` and `segment_ids`, int32 [B, S].
  """
  tokenizer = FullTokenizer(text.vocab_file, text.do_lower_case)
  rows = []
  for a, b in zip(first, second, strict=True):
    tokens_a, tokens_b = tokenizer.tokenize(a), tokenizer.tokenize(b)
    room = text.max_seq_length - (3 if tokens_b else 2)
    while len(tokens_a) + len(tokens_b) > room:
      (tokens_a if len(tokens_a) > len(tokens_b) else tokens_b).pop()
    tokens = ["[CLS]", *tokens_a, "[SEP]"]
    tail = [*tokens_b, "[SEP]"] if tokens_b else []
    rows.append((tokenizer.convert_tokens_to_ids(tokens + tail), len(tokens)))
  width = text.max_seq_length if text.static_length else max(len(ids) for ids, _ in rows)
  shape = (len(rows), width)
  result = {name: np.zeros(shape, np.int32) for name in ("input_ids", "input_mask", "segment_ids")}
  for i, (ids, first_segment) in enumerate(rows):
    result["input_ids"][i, : len(ids)] = ids
    result["input_mask"][i, : len(ids)] = 1
    result["segment_ids"][i, first_segment : len(ids)] = 1
  return result


def examples(rows: dict[str, np.ndarray]) -> np.ndarray:
  """Serialized tf.Examples of `features`, object [B]."""
  count = len(rows["input_ids"])
  encoded = [
    encode_example({name: value[i].tolist() for name, value in rows.items()}) for i in range(count)
  ]
  return np.array(encoded, object)
