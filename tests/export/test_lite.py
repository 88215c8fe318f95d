from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import checkpoints
from bert_tf.errors import UserError
from bert_tf.export import lite, python_pipeline
from bert_tf.export.graphs.text import ClassifierModule
from bert_tf.export.options import TextOptions, signature_lengths
from bert_tf.heads import ClassifierModel


@pytest.fixture
def module(golden, config, tokens):
  pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
  model = ClassifierModel(config, 2)
  checkpoints.load(model, str(golden / "tiny_heads_ckpt"))
  text = TextOptions(tokens, max_seq_length=32, static_length=True)
  return ClassifierModule(model, text, ["no", "yes"])


@pytest.fixture
def features(module):
  return python_pipeline.features(["the old house", "a b c"], ["", "d"], module.text)


def test_all_kinds_answer_like_the_model(module, features, tmp_path):
  reports = {report.kind: report for report in lite.export_lite(module, str(tmp_path), features)}
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    "model_float16.tflite", "model_float32.tflite", "model_int8.tflite",
  ]  # fmt: skip
  # Logits of up to 3: single precision, 11 bits, 8 bits.
  for kind, tolerance in (("float32", 1e-4), ("float16", 1e-2), ("int8", 0.5)):
    assert reports[kind].difference < tolerance, str(reports[kind])
    assert reports[kind].milliseconds[32] > 0
  assert reports["float16"].size < 0.7 * reports["float32"].size
  assert np.array_equal(features["input_ids"].shape, [2, 32])


def test_each_sequence_takes_the_shortest_signature_that_holds_it(module, features, tmp_path):
  [alone] = lite.export_lite(module, str(tmp_path / "alone"), features, ["float32"])
  [several] = lite.export_lite(module, str(tmp_path), features, ["float32"], [8, 16, 32])
  assert several.difference < 1e-4 and list(several.milliseconds) == [8, 16, 32]
  # One copy of the weights; a graph of two layers takes some kilobytes.
  assert several.size < 1.5 * alone.size
  model = lite.LiteModel(several.path)
  assert model.lengths == (8, 16, 32)
  # Only the shortest signature is left: a sequence that it holds needs no other.
  model._runners = {8: model._runners[8]}
  for i in range(2):
    row = {name: value[i : i + 1] for name, value in features.items()}
    expected = module.answers({name: tf.constant(value) for name, value in row.items()})
    # Cut off at 8, at its own length or not at all: the same answer.
    used = int(row["input_mask"].sum())
    assert used <= 8
    for shown in (row, {name: value[:, :used] for name, value in row.items()}):
      np.testing.assert_allclose(model(shown)["logits"], expected["logits"], atol=1e-4)
  with pytest.raises(ValueError, match="at most 8 tokens, found 32"):
    model({**row, "input_mask": np.ones_like(row["input_mask"])})


def test_lengths_of_signatures():
  assert signature_lengths((), 128) == [16, 32, 64, 128]
  assert signature_lengths((), 100) == [16, 32, 64, 100]
  assert signature_lengths((), 8) == [8]
  assert signature_lengths((48, 24), 64) == [24, 48, 64]
  for wrong in (0, 65):
    with pytest.raises(UserError, match=rf"`lite_lengths`.*max_seq_length \(64\), found {wrong}"):
      signature_lengths((wrong,), 64)


def test_unknown_kinds_are_refused(tmp_path):
  with pytest.raises(UserError, match="float32, float16, int8"):
    lite.export_lite(None, str(tmp_path), {}, ["int4"])
