from __future__ import annotations

import numpy as np
import pytest

from bert_tf import checkpoints
from bert_tf.errors import UserError
from bert_tf.heads import ClassifierModel
from bert_tf.serving import lite, python_pipeline
from bert_tf.serving.modules import ClassifierModule
from bert_tf.serving.options import TextOptions


def test_all_kinds_answer_like_the_model(golden, config, tmp_path):
  pytest.importorskip("ai_edge_litert", reason="needs the extra litert")
  model = ClassifierModel(config, 2)
  checkpoints.load(model, str(golden / "tiny_heads_ckpt"))
  text = TextOptions(str(golden / "vocab.txt"), True, 32, static_length=True)
  module = ClassifierModule(model, text, ["no", "yes"])
  features = python_pipeline.features(["the old house", "a b c"], ["", "d"], text)
  reports = {report.kind: report for report in lite.export_lite(module, str(tmp_path), features)}
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    "model_float16.tflite", "model_float32.tflite", "model_int8.tflite",
  ]  # fmt: skip
  # Logits of up to 3: single precision, 11 bits, 8 bits.
  for kind, tolerance in (("float32", 1e-4), ("float16", 1e-2), ("int8", 0.5)):
    assert reports[kind].difference < tolerance, str(reports[kind])
    assert reports[kind].milliseconds > 0
  assert reports["float16"].size < 0.7 * reports["float32"].size
  assert np.array_equal(features["input_ids"].shape, [2, 32])


def test_unknown_kinds_are_refused(tmp_path):
  with pytest.raises(UserError, match="float32, float16, int8"):
    lite.export_lite(None, str(tmp_path), {}, ["int4"])
