from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.export import python_pipeline
from bert_tf.export.graphs import text_inputs
from bert_tf.export.graphs.text_inputs import SequencePacker
from bert_tf.export.options import GraphPlan, TextOptions
from bert_tf.model_dir import Description
from bert_tf.tokenization import AddedToken, TokenizerSettings, load_vocab


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
def test_packing_equals_the_python_pipeline(tokens, static):
  options = TextOptions(tokens, max_seq_length=16, static_length=static)
  first = ["the old house", "", "a " * 40, "a " * 40, "one", "a b c d e f g h"]
  second = ["is new", "", "b " * 3, "b " * 40, "b " * 40, " "]
  expected = python_pipeline.features(first, second, options)
  from bert_tf.tokenization import InGraphTokenizer

  tokenizer = InGraphTokenizer(options.tokens)
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
  options = TextOptions(
    tuple(load_vocab(vocab)), TokenizerSettings(not cased), int(length), static_length=True
  )
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


def test_lengths_that_leave_no_room_are_refused(config, tokens):
  for length, message in ((3, "at least 4"), (129, "128")):
    with pytest.raises(UserError, match=message):
      TextOptions(tokens, max_seq_length=length).check(config)


def test_vocabularies_that_do_not_fit_are_refused(config, tokens):
  for wrong, message in (
    ((), "expected a vocabulary"),
    (tokens[:4], r"found no \[MASK\]|found no \[SEP\]|found no"),
    ((*tokens, "more"), "1200 tokens .* found 1201"),
  ):
    with pytest.raises(UserError, match=message):
      TextOptions(wrong, max_seq_length=64).check(config)
  # A padded table has rows that belong to no token.
  TextOptions(tokens[:-8], max_seq_length=64).check(config)


def parsed(*rows: list[int], length: int | None = None) -> np.ndarray:
  examples = [
    records.encode_example(
      {"input_ids": row, "input_mask": [int(i > 0) for i in row], "segment_ids": [0] * len(row)}
    )
    for row in rows
  ]
  found = text_inputs.parse_examples(tf.constant(examples, tf.string), length)
  assert len({tuple(value.shape) for value in found.values()}) == 1
  return found["input_ids"].numpy()


def test_examples_are_as_wide_as_the_model_takes_them():
  assert parsed([5, 6, 0, 0], [7, 0, 0, 0]).tolist() == [[5, 6], [7, 0]]
  for rows in ([[5, 6, 0, 0, 0]], [[5, 6]], [[5, 6, 0]]):
    assert parsed(*rows, length=3).tolist() == [[5, 6, 0]]
  assert parsed().shape == (0, 1) and parsed(length=3).shape == (0, 3)
  with pytest.raises(tf.errors.InvalidArgumentError, match="examples must have up to 3 ids"):
    parsed([5, 6, 7, 8], length=3)


@pytest.mark.parametrize("length", [None, 4])
def test_examples_with_fewer_ids_than_their_mask_are_refused(length):
  features = {"input_ids": [5], "input_mask": [1, 1], "segment_ids": [0, 0]}
  examples = tf.constant([records.encode_example(features)])
  with pytest.raises(tf.errors.InvalidArgumentError, match="input_ids must have the shape"):
    text_inputs.parse_examples(examples, length)


def test_settings_of_the_tokenizer_reach_graph_and_pipeline(config, tokens):
  from bert_tf.export.graphs.encoder import EncoderModule
  from bert_tf.modeling import BertModel

  # Pieces that are words with an accent and ideographs in a row, and one that is found in words.
  added = ("käse", "的人", "ouse")
  tokens = (*tokens[: -len(added)], *added)
  settings = TokenizerSettings(True, False, False, (AddedToken("ouse", normalized=True),))
  texts = ["Käse 的人", "the HOUSE", "Kase 的 人"]
  plan = GraphPlan(Description(config, tokens, None, settings, head="encoder"))
  assert plan.text.facts()["strip_accents"] is False
  assert plan.text.facts()["added_tokens"] == ["ouse"]
  module = EncoderModule(BertModel(config), plan.text, (-1,))
  found = module.features(tf.constant(texts))
  expected = python_pipeline.features(texts, [""] * 3, plan.text)
  for name, value in expected.items():
    np.testing.assert_array_equal(found[name], value, name)
  first, second = len(tokens) - 3, len(tokens) - 2
  assert expected["input_ids"][0, 1:3].tolist() == [first, second]
  assert len(tokens) - 1 in expected["input_ids"][1]
  plain = python_pipeline.features(texts, [""] * 3, TextOptions(tokens))
  assert first not in plain["input_ids"] and len(tokens) - 1 not in plain["input_ids"]
