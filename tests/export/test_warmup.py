"""Requests that warm a server up, with and without the classes of their messages."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from bert_tf.data.records import read_records
from bert_tf.export import fresh_process_check, warmup

INPUTS = {
  "serving_default": {
    "text": np.array(["ä" * 200, "", b"\xff"], object),
    "text_pair": np.array(["b", "c", "d"], object),
  },
  "tensors": {"input_ids": np.arange(6, dtype=np.int32).reshape(3, 2)},
}  # fmt: skip


def test_requests_equal_those_of_the_message_classes():
  import tensorflow as tf

  apis = pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")
  from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

  assert apis
  expected = []
  for signature, tensors in INPUTS.items():
    for size in (1, 8):
      request = predict_pb2.PredictRequest()
      request.model_spec.name = "model" * 40
      request.model_spec.signature_name = signature
      for name, value in tensors.items():
        rows = np.resize(value, (size, *value.shape[1:]))
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tf.constant(rows)))
      log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
      )
      expected.append(log)
  found = warmup.requests(INPUTS, "model" * 40)
  assert [prediction_log_pb2.PredictionLog.FromString(request) for request in found] == expected
  # Nothing more than the classes would have written.
  assert [len(request) for request in found] == [log.ByteSize() for log in expected]


def test_the_check_reads_them_again(tmp_path):
  from bert_tf.data.records import RecordWriter

  (tmp_path / "assets.extra").mkdir()
  with RecordWriter(tmp_path / warmup.FILE) as writer:
    for request in warmup.requests(INPUTS, "m"):
      writer.write(request)
  found = list(fresh_process_check.warmup_requests(str(tmp_path)))
  assert [signature for signature, _ in found] == ["serving_default"] * 2 + ["tensors"] * 2
  assert found[0][1]["text"].tolist() == ["ä".encode() * 200]
  assert found[3][1]["input_ids"].tolist() == ([[0, 1], [2, 3], [4, 5]] * 3)[:8]


def test_they_are_written_without_the_serving_library(root):
  """The classes of the messages come with an extra that an exporting machine need not have."""
  code = (
    "import sys; sys.modules['tensorflow_serving'] = None\n"
    "import numpy as np\n"
    "from bert_tf.export import warmup\n"
    "print(len(warmup.requests({'s': {'text': np.array(['a'], object)}}, 'm')))\n"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
  )
  assert result.stdout.split()[-1] == "2"


def test_every_signature_of_every_export_is_warmed_up(exports):
  for path in exports.values():
    found = {s for s, _ in fresh_process_check.warmup_requests(str(path))}
    assert {"serving_default", "tensors", "examples", "tokenize"} <= found
    assert sum(1 for _ in read_records(pathlib.Path(path) / warmup.FILE)) == 2 * len(found)
