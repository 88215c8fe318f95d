from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.export import python_pipeline
from bert_tf.export.graphs import text_inputs
from bert_tf.export.graphs.text_inputs import SequencePacker
from bert_tf.export.options import TextOptions


def truncate_seq_pair(tokens_a, tokens_b, max_length):
  """The rule as the original words it."""
  while len(tokens_a) + len(tokens_b) > max_length:
    (tokens_a if len(tokens_a) > len(tokens_b) else tokens_b).pop()


def test_truncation_equals_the_original_for_all_lengths():
  for room in range(1, 12):
    pairs = [(a, b) for a in range(15) for b in range(15)]
    expected = []
    for a, b in pairs:
      tokens = [0] * a, [0] * b
      truncate_seq_pair(*tokens, room)
      expected.append([len(tokens[0]), len(tokens[1])])
    a, b = np.array(pairs).T
    found = text_inputs.truncated_lengths(
      tf.constant(a), tf.constant(b), tf.constant(room, tf.int64)
    )
    np.testing.assert_array_equal(np.stack(found, 1), expected)


@pytest.mark.parametrize("static", [False, True])
def test_packing_equals_the_python_pipeline(golden, static):
  options = TextOptions(str(golden / "vocab.txt"), True, 16, static)
  first = ["the old house", "", "a " * 40, "a " * 40, "one", "a b c d e f g h"]
  second = ["is new", "", "b " * 3, "b " * 40, "b " * 40, " "]
  expected = python_pipeline.features(first, second, options)
  from bert_tf.tokenization import InGraphTokenizer

  tokenizer = InGraphTokenizer(options.vocab_file, True)
  packer = SequencePacker(
    tokenizer.vocab["[CLS]"], tokenizer.vocab["[SEP]"], options.max_seq_length, static
  )
  found = packer(tokenizer(tf.constant(first)), tokenizer(tf.constant(second)))
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, name)


@pytest.mark.parametrize(
  "name", ["MRPC_24_cased", "MRPC_64", "CoLA_64"]
)  # Rows of one and of two texts, most of them cut at 24.
def test_python_pipeline_equals_the_original(golden, name):
  _task, length, *cased = name.split("_")
  vocab = golden / ("vocab_cased.txt" if cased else "vocab.txt")
  options = TextOptions(str(vocab), not cased, int(length), True)
  with gzip.open(golden / "classifier" / f"features_{name}.jsonl.gz", "rt") as file:
    rows = [json.loads(line) for line in file]
  rows = [row for row in rows if "input_ids" in row]
  assert len(rows) > 20
  found = python_pipeline.features(
    [row["text_a"] for row in rows], [row["text_b"] or "" for row in rows], options
  )
  for key in ("input_ids", "input_mask", "segment_ids"):
    expected = [(row[key] + [0] * int(length))[: int(length)] for row in rows]
    np.testing.assert_array_equal(found[key], expected, key)


def test_an_empty_batch_has_features():
  packer = SequencePacker(2, 3, 16)
  empty = tf.RaggedTensor.from_row_splits(tf.zeros([0], tf.int32), tf.zeros([1], tf.int64))
  assert packer(empty, empty)["input_ids"].shape == (0, 1)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"input_ids": [[5, 1200]]}, "input_ids must be from 0 to 1199"),
    ({"input_ids": [[5, -1]]}, "input_ids must be from 0 to 1199"),
    ({"segment_ids": [[0, 2]]}, "segment_ids must be from 0 to 1"),
    ({"input_mask": [[1, 2]]}, "input_mask must be from 0 to 1"),
    ({"input_mask": [[1]]}, "input_mask must have the shape of input_ids"),
  ],
)
def test_ids_that_the_model_lacks_are_refused(config, change, message):
  features = {"input_ids": [[5, 6]], "input_mask": [[1, 1]], "segment_ids": [[0, 0]], **change}
  tensors = {name: tf.constant(value, tf.int32) for name, value in features.items()}
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    text_inputs.checked_features(tensors, config)


def test_sequences_longer_than_the_model_are_refused(config):
  ids = tf.ones([1, config.max_position_embeddings + 1], tf.int32)
  features = {"input_ids": ids, "input_mask": ids, "segment_ids": 0 * ids}
  with pytest.raises(tf.errors.InvalidArgumentError, match="up to 128 ids"):
    text_inputs.checked_features(features, config)


def test_lengths_that_leave_no_room_are_refused(config):
  for length, message in ((3, "at least 4"), (129, "128")):
    with pytest.raises(UserError, match=message):
      TextOptions("vocab.txt", max_seq_length=length).check(config)
