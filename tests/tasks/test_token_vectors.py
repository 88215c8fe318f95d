"""extract_features against the original's output (tests/golden/cli/extract_*)."""

from __future__ import annotations

import gzip
import json
import random

import numpy as np
import pytest

from bert_tf.config import BertConfig
from bert_tf.data.report import TokenizationReport
from bert_tf.errors import UserError
from bert_tf.tasks.vectors import token_vectors
from bert_tf.tokenization import FullTokenizer

RUNS = {
  "tiny": ("bert_config.json", "tiny_ckpt/bert_model.ckpt", "-1,-2", 24),
  "relu": ("config_relu_large_type.json", "relu_ckpt/model.ckpt", "-1,-2,-3,-4", 32),
}


def golden_lines(golden, run):
  with gzip.open(golden / "cli" / f"extract_{run}.jsonl.gz", "rt", encoding="utf-8") as file:
    return [json.loads(line) for line in file]


def features_of(golden, max_seq_length):
  tokenizer = FullTokenizer(golden / "vocab.txt", do_lower_case=True)
  examples = token_vectors.read_examples(str(golden / "extract_input.txt"))
  return token_vectors.convert_examples_to_features(examples, tokenizer, max_seq_length)


@pytest.mark.parametrize("run", RUNS)
def test_tokens_are_the_originals(golden, run):
  features = list(features_of(golden, RUNS[run][3]))
  assert [(line.unique_id, line.tokens) for line in features] == [
    (line["linex_index"], [entry["token"] for entry in line["features"]])
    for line in golden_lines(golden, run)
  ]
  for line in features:
    first = line.tokens.index("[SEP]") + 1
    assert line.input_type_ids == [0] * first + [1] * (len(line.tokens) - first)


@pytest.mark.parametrize("run", RUNS)
def test_vectors_are_the_originals(golden, run):
  config_file, checkpoint, layers, max_seq_length = RUNS[run]
  config = BertConfig.from_json_file(str(golden / config_file))
  indexes = token_vectors.parse_layers(layers, config.num_hidden_layers)
  encode = token_vectors.create_encode(config, str(golden / checkpoint), indexes)
  lines = token_vectors.extract(
    features_of(golden, max_seq_length), encode, indexes, 5, max_seq_length
  )
  found, expected = [json.loads(line) for line in lines], golden_lines(golden, run)
  assert len(found) == len(expected)
  for ours, theirs in zip(found, expected, strict=True):
    assert list(ours) == list(theirs) == ["linex_index", "features"]
    assert ours["linex_index"] == theirs["linex_index"]
    for entry, reference in zip(ours["features"], theirs["features"], strict=True):
      assert list(entry) == list(reference)
      assert entry["token"] == reference["token"]
      for layer, wanted in zip(entry["layers"], reference["layers"], strict=True):
        assert list(layer) == list(wanted)
        assert layer["index"] == wanted["index"]
        # Both are rounded to six digits: 1e-5 is ten units of the last one.
        np.testing.assert_allclose(layer["values"], wanted["values"], rtol=0, atol=1e-5)


def test_values_are_rounded_as_the_original_rounds_them():
  rng = np.random.default_rng(1)
  values = np.concatenate([
    rng.normal(size=20000), rng.normal(size=2000) * 1e-6, rng.normal(size=2000) * 1e4,
    # Odd multiples of 1/128 end in a 5 at the seventh digit: ties.
    np.arange(-1001, 1001, 2) / 128, [0.0, -0.0, 1e-9, -1e-9, 5e-7, 1e30, -3e38],
  ]).astype(np.float32)  # fmt: skip
  features = token_vectors.InputFeatures(0, ["[CLS]"], [0], [0])
  line = json.loads(token_vectors.json_line(features, [-1], values[None, None]))
  found = line["features"][0]["layers"][0]["values"]
  assert list(map(repr, found)) == [repr(round(float(value), 6)) for value in values]


def test_order_and_padding_of_batches(monkeypatch):
  """Lines come out in order, whatever the batches; batches are no longer than they need be."""
  monkeypatch.setattr(token_vectors, "_CHUNK_TOKENS", 1600)
  rng = random.Random(1)
  lengths = [rng.randint(2, 60) for _ in range(100)]
  shapes = []

  def encode(input_ids, input_mask, input_type_ids):
    shapes.append(input_ids.shape)
    assert (input_mask == (input_ids > 0)).all()
    assert (input_type_ids == input_mask * (input_ids % 2)).all()
    return np.stack([input_ids, input_ids + 0.5], dtype=np.float32)[..., None]

  features = (
    token_vectors.InputFeatures(
      i, ["x"] * n, list(range(1, n + 1)), [k % 2 for k in range(1, n + 1)]
    )
    for i, n in enumerate(lengths)
  )
  lines = [json.loads(line) for line in token_vectors.extract(features, encode, [-1, 0], 7, 60)]
  assert [line["linex_index"] for line in lines] == list(range(100))
  for line, length in zip(lines, lengths, strict=True):
    assert [entry["layers"] for entry in line["features"]] == [
      [{"index": -1, "values": [k]}, {"index": 0, "values": [k + 0.5]}]
      for k in range(1, length + 1)
    ]
  assert all(length % 8 == 0 or length == 60 for unused_rows, length in shapes)
  assert sum(rows for rows, unused_length in shapes) == 100
  assert sum(rows * length for rows, length in shapes) < 1.35 * sum(lengths)


def test_lines(tmp_path):
  path = tmp_path / "input.txt"
  path.write_bytes("a ||| b\r\n\n ||| b\na ||| b ||| c\na|||b\nx\u2028y\rz ||| \nlast".encode())
  assert [(e.unique_id, e.text_a, e.text_b) for e in token_vectors.read_examples(str(path))] == [
    (0, "a", "b"), (1, "", None), (2, "||| b", None), (3, "a ||| b", "c"), (4, "a|||b", None),
    (5, "x\u2028y\rz |||", None), (6, "last", None),
  ]  # fmt: skip


def test_truncation(golden):
  tokenizer = FullTokenizer(golden / "vocab.txt", do_lower_case=True)

  def lengths(a, b, max_seq_length):
    example = token_vectors.InputExample(0, "the " * a, "the " * b)
    [line] = token_vectors.convert_examples_to_features([example], tokenizer, max_seq_length)
    assert len(line.tokens) == len(line.input_ids) == len(line.input_type_ids)
    return line.input_type_ids.count(0) - 2, max(line.input_type_ids.count(1) - 1, 0)

  assert lengths(9, 3, 11) == (5, 3)
  assert lengths(4, 9, 11) == (4, 4)
  assert lengths(9, 9, 10) == (4, 3)
  assert lengths(9, 0, 7) == (5, 0)
  # No room for the second text: it vanishes with its [SEP].
  assert lengths(1, 1, 4) == (1, 0)
  assert lengths(1, 1, 3) == (0, 0)


def test_what_is_cut_and_unknown_is_counted(golden):
  tokenizer = FullTokenizer(golden / "vocab.txt", do_lower_case=True)
  report = TokenizationReport()
  lines = [("the " * 9, "the " * 3), ("the " * 9, None), ("the \u9f98", None), ("", None)]
  examples = [token_vectors.InputExample(i, *line) for i, line in enumerate(lines)]
  list(token_vectors.convert_examples_to_features(examples, tokenizer, 9, report))
  # 6 of 12 pieces fit beside three marks, 7 of 9 beside two.
  assert report == TokenizationReport(texts=4, pieces=23, unknown=1, empty=1, cut=2, lost=8)


def test_bad_input(tmp_path, golden):
  with pytest.raises(UserError, match=r"`input_file`: .*nothing\.txt"):
    next(token_vectors.read_examples(str(tmp_path / "nothing.txt")))
  (tmp_path / "latin1.txt").write_bytes("fine\ncafé\n".encode("latin-1"))
  with pytest.raises(UserError, match=r"latin1\.txt: line 2: expected UTF-8"):
    list(token_vectors.read_examples(str(tmp_path / "latin1.txt")))
  with pytest.raises(UserError, match="`max_seq_length` of at least 3"):
    next(features_of(golden, 2))
  with pytest.raises(UserError, match=r"`layers`: expected layers from -2 to 1 .* found -3"):
    token_vectors.parse_layers("-1,-2,-3,-4", 2)
  with pytest.raises(UserError, match="found 2 in"):
    token_vectors.parse_layers("2", 2)
  with pytest.raises(UserError, match="`layers`: expected integers"):
    token_vectors.parse_layers("-1,last", 2)
  assert token_vectors.parse_layers("-1, 0", 2) == [-1, 0]
