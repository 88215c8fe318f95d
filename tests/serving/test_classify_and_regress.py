"""Classify and Regress over REST and gRPC."""

from __future__ import annotations

import json

import numpy as np
import pytest
import running_server

pytest.importorskip("aiohttp", reason="needs the extra serving")
pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")

import grpc


@pytest.fixture(scope="module")
def running(exports):
  with running_server.running(exports["classifier"].parent, name="m") as one:
    yield one


def ask(running, method: str, **request):
  return running.request(f"/v1/models/m:{method}", json.dumps(request).encode())


def test_labels_and_scores_of_examples(running):
  texts = ["the old house", "a"]
  rows = [{"text": texts[0], "text_pair": "is new"}, {"text": [texts[1]], "text_pair": "is new"}]
  status, answer = ask(running, "classify", signature_name="classify", examples=rows)
  assert status == 200
  _, expected = ask(
    running, "predict", signature_name="pairs",
    instances=[{"text": text, "text_pair": "is new"} for text in texts],
  )  # fmt: skip
  for row, other in zip(answer["results"], expected["predictions"], strict=True):
    assert [label for label, _ in row] == ["no", "yes"]
    np.testing.assert_allclose([score for _, score in row], other["probabilities"], atol=1e-5)
  # What the context has goes to all; an example's own comes before it.
  context = {"text": {"b64": "dGhlIG9sZCBob3VzZQ"}, "text_pair": "is new"}
  examples = [{}, {"text": "a"}]
  status, again = ask(
    running, "classify", signature_name="classify", context=context, examples=examples
  )
  assert status == 200
  np.testing.assert_allclose(
    [[score for _, score in row] for row in again["results"]],
    [[score for _, score in row] for row in answer["results"]],
    atol=1e-5,
  )


@pytest.mark.parametrize(
  ("method", "request_", "message"),
  [
    ("classify", {"examples": [{"text": "a"}]},
     "Expected classify signature method_name to be tensorflow/serving/classify. Was:"
     " tensorflow/serving/predict; signatures of this model for it: classify"),
    ("regress", {"signature_name": "classify", "examples": [{"text": "a"}]}, "for it: none"),
    ("classify", {"signature_name": "classify"}, 'expected "examples" to be a list'),
    ("classify", {"signature_name": "classify", "examples": []}, 'expected "examples"'),
    ("classify", {"signature_name": "classify", "examples": [{"text": "a"}, 3]},
     "expected an object of features, found 3 in row 1"),
    ("classify", {"signature_name": "classify", "examples": [{"text": ["a", 1]}]},
     'all of a kind, found ["a", 1] in row 0'),
    ("classify", {"signature_name": "classify", "examples": [{}]}, "text"),
    ("classify", {"signature_name": "nothing", "examples": [{}]}, "expected a signature of"),
  ],
)  # fmt: skip
def test_what_cannot_be_classified_gets_a_reason(running, method, request_, message):
  status, answer = ask(running, method, **request_)
  assert status == 400 and message in answer["error"], answer


def test_over_grpc(running):
  import tensorflow as tf
  from tensorflow_serving.apis import (
    classification_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
  )

  example = tf.train.Example()
  example.features.feature["text"].bytes_list.value.append(b"the old house")
  with grpc.insecure_channel(running.target) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "classify"
    request.input.example_list.examples.append(example)
    response = stub.Classify(request, timeout=20)
    [row] = response.result.classifications
    _, answer = ask(running, "classify", signature_name="classify",
                    examples=[{"text": "the old house"}])  # fmt: skip
    assert [one.label for one in row.classes] == ["no", "yes"]
    expected = [score for _, score in answer["results"][0]]
    np.testing.assert_allclose([one.score for one in row.classes], expected, atol=1e-5)
    wrong = regression_pb2.RegressionRequest()
    wrong.model_spec.name, wrong.model_spec.signature_name = "m", "classify"
    with pytest.raises(grpc.RpcError, match="Expected regress signature"):
      stub.Regress(wrong, timeout=20)


def test_numbers_of_a_regression(config, text_options, tmp_path):
  """Exported, served, asked by both ways and compared with the signature on text."""
  import keras
  import tensorflow as tf
  from tensorflow_serving.apis import prediction_service_pb2_grpc, regression_pb2

  from bert_tf.export.exporters import export
  from bert_tf.export.options import ExportOptions, GraphPlan
  from bert_tf.heads import ClassifierModel
  from bert_tf.model_dir import Description

  keras.utils.set_random_seed(3)
  about = Description(
    config, text_options.tokens, None, text_options.tokenizer, (), "regression", max_seq_length=32
  )
  options = ExportOptions(str(tmp_path / "m"), version=1, check=False)
  export(ClassifierModel(config, 1), GraphPlan(about), options)
  with running_server.running(tmp_path / "m") as one:
    texts = ["the old house", "a"]
    _, expected = ask(one, "predict", instances=texts)
    status, answer = ask(
      one, "regress", signature_name="regress", examples=[{"text": text} for text in texts]
    )
    assert status == 200
    scores = [row["score"] for row in expected["predictions"]]
    np.testing.assert_allclose(answer["results"], scores, atol=1e-5)
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "regress"
    example = tf.train.Example()
    example.features.feature["text"].bytes_list.value.append(b"a")
    request.input.example_list.examples.append(example)
    with grpc.insecure_channel(one.target) as channel:
      stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
      [found] = stub.Regress(request, timeout=20).result.regressions
    assert found.value == pytest.approx(scores[1], abs=1e-5)
