"""The server in this process, asked over real sockets."""

from __future__ import annotations

import concurrent.futures
import importlib
import json
import random
import shutil
import socket
import time
import types
import urllib.error
import urllib.request

import numpy as np
import pytest
import running_server
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.serving import client, server

for _module in ("aiohttp", "prometheus_client"):
  pytest.importorskip(_module, reason="needs the extra serving")
grpc = pytest.importorskip("grpc", reason="needs the extra serving")
apis = pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")
apis = types.SimpleNamespace(
  **{
    name: importlib.import_module(f"tensorflow_serving.apis.{name}")
    for name in (
      "classification_pb2",
      "get_model_metadata_pb2",
      "get_model_status_pb2",
      "inference_pb2",
      "model_service_pb2_grpc",
      "predict_pb2",
      "prediction_service_pb2_grpc",
    )
  }
)


PREDICT = "/v1/models/m:predict"


@pytest.fixture(scope="module")
def model_dir(exports, tmp_path_factory):
  path = tmp_path_factory.mktemp("served") / "m"
  shutil.copytree(exports["classifier"], path / "1")
  return path


@pytest.fixture(scope="module")
def running(model_dir):
  options = {"poll_seconds": 0.2, "max_body": 1 << 16, "request_seconds": 20}
  with running_server.running(model_dir, **options) as one:
    yield one


@pytest.fixture(scope="module")
def reference(load):
  """Probabilities by text, each asked alone."""
  signature = load("classifier").signatures["pairs"]

  def ask(text: str, text_pair: str = "") -> np.ndarray:
    pair = {"text": tf.constant([text]), "text_pair": tf.constant([text_pair])}
    return signature(**pair)["probabilities"].numpy()[0]

  return ask


def test_rows_and_columns(running, reference):
  expected = [reference("the house"), reference("old")]
  texts = ["the house", "old"]
  for instances in (texts, [{"text": text} for text in texts], [{"text": {"b64": "dGhlIGhvdXNl"}}]):
    status, answer = running.request(PREDICT, json.dumps({"instances": instances}).encode())
    assert status == 200
    for row, probabilities in zip(answer["predictions"], expected, strict=False):
      np.testing.assert_allclose(row["probabilities"], probabilities, atol=1e-5)
      assert row["labels"] == ["no", "yes"]
  for inputs in (texts, {"text": texts}):
    status, answer = running.request(PREDICT, json.dumps({"inputs": inputs}).encode())
    assert status == 200
    np.testing.assert_allclose(answer["outputs"]["probabilities"], expected, atol=1e-5)


def test_status_and_metadata(running):
  status, answer = running.request("/v1/models/m")
  assert status == 200
  ok = {"error_code": "OK", "error_message": ""}
  assert answer["model_version_status"][0] == {"version": "1", "state": "AVAILABLE", "status": ok}
  status, answer = running.request("/v1/models/m/versions/1/metadata")
  signatures = answer["metadata"]["signature_def"]["signature_def"]
  assert signatures["pairs"]["inputs"]["text"]["dtype"] == "DT_STRING"
  assert answer["model_spec"] == {"name": "m", "signature_name": "", "version": "1"}


def test_grpc_with_nothing_but_the_stubs(running, reference):
  with grpc.insecure_channel(running.target) as channel:
    stub = apis.prediction_service_pb2_grpc.PredictionServiceStub(channel)
    request = apis.predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.model_spec.signature_name = "pairs"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(["the house"]))
    request.inputs["text_pair"].CopyFrom(tf.make_tensor_proto(["is old"]))
    request.output_filter.append("probabilities")
    response = stub.Predict(request, timeout=20)
    assert list(response.outputs) == ["probabilities"]
    found = tf.make_ndarray(response.outputs["probabilities"])
    np.testing.assert_allclose(found, [reference("the house", "is old")], atol=1e-5)
    assert response.model_spec.version.value == 1
    request = apis.get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    signatures = apis.get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request).metadata["signature_def"].Unpack(signatures)
    assert "serving_default" in signatures.signature_def
    request = apis.get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    status = apis.model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    assert status.model_version_status[0].state == 30  # AVAILABLE


def test_our_clients_over_both_ways(running, reference):
  texts = ["the house", "old\tnew", "a b c"]
  with client.GrpcClient(running.target, "m", timeout=20) as grpc_client:
    for one in (client.RestClient(running.url, "m", timeout=20), grpc_client):
      for text, answer in zip(texts, one.answer(texts, batch_size=2), strict=True):
        expected = reference(*text.split("\t"))
        assert list(answer["probabilities"]) == ["no", "yes"]
        np.testing.assert_allclose(list(answer["probabilities"].values()), expected, atol=1e-5)
      with pytest.raises(client.ServerError, match="expected a signature of"):
        one.predict({"text": ["a"]}, "nothing")
      ids = {"input_ids": [[2, 5, 3]], "input_mask": [[1, 1, 1]], "segment_ids": [[0, 0, 0]]}
      assert len(one.predict(ids, "tensors")["probabilities"][0]) == 2


def _tensors(**change):
  inputs = {"input_ids": [[5, 6]], "input_mask": [[1, 1]], "segment_ids": [[0, 0]], **change}
  return {"signature_name": "tensors", "inputs": inputs}


@pytest.mark.parametrize(
  ("body", "message"),
  [
    (b"", "expected JSON"),
    (b"\x00\xff", "expected JSON"),
    (b"[" * 60_000, "expected JSON"),
    (b"[1]", "JSON object"),
    ({}, 'either "instances" or "inputs"'),
    ({"instances": [], "inputs": []}, 'either "instances" or "inputs"'),
    ({"instances": []}, "at least one entry"),
    ({"instances": [{"text": "a"}, {}]}, "same inputs"),
    ({"instances": [{"txt": "a"}]}, "expected the inputs text"),
    ({"instances": ["a", 3]}, "expected text as string of rank 1, found 3 in row 1"),
    ({"instances": [["a"]]}, 'expected text as string of rank 1, found ["a"] in row 0'),
    (
      {"instances": [{"b64": "!"}]},
      'expected text as string of rank 1, found {"b64": "!"} in row 0',
    ),
    (b'{"instances": ["\\ud800"]}', "expected text as string"),
    ({"instances": ["a"], "signature_name": "x"}, "expected a signature of"),
    ({"instances": ["a"], "signature_name": 3}, "signature_name"),
    ({"instances": ["a"] * 257}, "at most 256 rows"),
    ({"signature_name": "pairs", "instances": [{"text": "a"}]}, "expected the inputs text, text_"),
    (_tensors(input_ids=[[5, -1]]), "input_ids must be from 0 to 1199"),
    (_tensors(input_ids=[[5, 1200]]), "input_ids must be from 0 to 1199"),
    (_tensors(input_ids=[[5, 1 << 40]]), "expected input_ids as int32"),
    (_tensors(input_ids=[[5, 1.5]]), "found 1.5 in row 0, place 1"),
    (_tensors(input_ids=[[5, True]]), "expected input_ids as int32"),
    (_tensors(input_ids=[[5], [5, 6]]), "found 2 values where others have 1 in row 1"),
    (_tensors(input_ids=[[5]]), "must have the shape of input_ids"),
    (_tensors(input_ids=[5, 6]), "expected input_ids as int32"),
    ({"signature_name": "examples", "inputs": ["\u0000 no example"]}, "Could not parse example"),
  ],
)
def test_bad_bodies_get_a_reason(running, body, message):
  encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
  status, answer = running.request(PREDICT, encoded)
  assert status == 400 and message in answer["error"], answer


@pytest.mark.parametrize(
  ("path", "body", "status"),
  [
    ("/v1/models/other", None, 404),
    ("/v1/models/m/versions/9", None, 404),
    ("/v1/models/m/versions/9:predict", b"{}", 404),
    ("/v1/models/m/versions/99999999999999999999", None, 400),
    ("/v1/models/m:classify", b"{}", 400),
    ("/v1/models/m:nothing", b"{}", 400),
    ("/v1/models", None, 400),
    ("/v1/models/m/labels/stable", None, 400),
    ("/v1/models/m/labels/stable:predict", b"{}", 400),
    ("/nothing", None, 404),
    (PREDICT, None, 400),
    ("/", b"{}", 405),
    (PREDICT, b"x" * (1 << 17), 413),
  ],
)
def test_bad_paths_and_sizes(running, path, body, status):
  found, answer = running.request(path, body)
  assert found == status and answer["error"]


def test_a_body_that_is_not_compressed_as_it_says(running):
  request = urllib.request.Request(running.url + PREDICT, b"{}", {"Content-Encoding": "gzip"})
  with pytest.raises(urllib.error.HTTPError) as raised:
    urllib.request.urlopen(request, timeout=20)
  assert raised.value.code == 400 and "broken data" in json.loads(raised.value.read())["error"]


def test_errors_of_the_server_have_the_form_of_all_errors(running, monkeypatch):
  monkeypatch.setattr(running.server.models, "get", lambda name: 1 / 0)
  status, answer = running.request(PREDICT, b"{}")
  assert status == 500 and "its log tells more" in answer["error"]
  with grpc.insecure_channel(running.target) as channel:
    stub = apis.prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError, match="its log tells more") as raised:
      stub.Predict(apis.predict_pb2.PredictRequest(model_spec={"name": "m"}), timeout=20)
  assert raised.value.code() == grpc.StatusCode.INTERNAL


def test_bad_grpc_requests(running):
  with grpc.insecure_channel(running.target) as channel:
    stub = apis.prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def code(change) -> grpc.StatusCode:
      request = apis.predict_pb2.PredictRequest()
      request.model_spec.name = "m"
      request.inputs["text"].CopyFrom(tf.make_tensor_proto(["a"]))
      change(request)
      with pytest.raises(grpc.RpcError) as raised:
        stub.Predict(request, timeout=20)
      return raised.value.code()

    bad = grpc.StatusCode.INVALID_ARGUMENT
    huge = tf.make_tensor_proto(["a"])
    huge.tensor_shape.dim[0].size = 1 << 60
    negative = tf.make_tensor_proto(["a"])
    negative.tensor_shape.dim[0].size = -1
    for proto in (huge, negative, tf.make_tensor_proto([1]), tf.make_tensor_proto("a")):
      assert code(lambda request, p=proto: request.inputs["text"].CopyFrom(p)) == bad
    assert code(lambda request: request.inputs["x"].CopyFrom(huge)) == bad
    assert code(lambda request: request.output_filter.append("x")) == bad
    assert code(lambda r: setattr(r.model_spec, "name", "x")) == grpc.StatusCode.NOT_FOUND
    # No version has a label here; to answer with the newest would be to answer for another.
    assert code(lambda r: setattr(r.model_spec, "version_label", "x")) == bad
    with pytest.raises(grpc.RpcError, match="expected text of data type DT_STRING, found DT_INT32"):
      request = apis.predict_pb2.PredictRequest(model_spec={"name": "m"})
      request.inputs["text"].CopyFrom(tf.make_tensor_proto([1]))
      stub.Predict(request, timeout=20)
    with pytest.raises(grpc.RpcError, match="this server has no MultiInference") as raised:
      stub.MultiInference(apis.inference_pb2.MultiInferenceRequest(), timeout=20)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_half_sent_bodies_and_killed_clients_do_no_harm(running, reference):
  head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode()
  for sent in (b"\x16\x03\x01\x00", b"GET", head, head + b'{"instances": ['):
    with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
      connection.sendall(sent)
  _, answer = running.request(PREDICT, json.dumps({"instances": ["a"]}).encode())
  np.testing.assert_allclose(answer["predictions"][0]["probabilities"], reference("a"), atol=1e-5)


def test_no_answer_is_mixed_up_under_concurrency(running, reference):
  draw = random.Random(1)
  words = ["the", "house", "is", "old", "new", "a", "river", "and"]
  texts = [" ".join(draw.choices(words, k=draw.choice((1, 3, 20, 90)))) for _ in range(40)]
  expected = {text: reference(text) for text in texts}
  rest = client.RestClient(running.url, "m", timeout=30)
  with client.GrpcClient(running.target, "m", timeout=30) as grpc_client:

    def ask(seed: int) -> None:
      mine = random.Random(seed)
      for _ in range(6):
        text = mine.choice(texts)
        one = mine.choice((rest, grpc_client))
        if mine.random() < 0.1:
          with pytest.raises(client.ServerError):
            one.predict({"input_ids": [[-1]], "input_mask": [[1]], "segment_ids": [[0]]}, "tensors")
        found = one.predict({"text": [text, text]})["probabilities"]
        np.testing.assert_allclose(found, [expected[text]] * 2, atol=1e-5)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
      list(pool.map(ask, range(32)))


def test_metrics(running):
  status, _ = running.request(PREDICT, json.dumps({"instances": [{"text": "the house"}]}).encode())
  assert status == 200
  with urllib.request.urlopen(running.url + "/metrics", timeout=20) as response:
    text = response.read().decode()
  assert 'bert_tf_requests_total{api="rest",code="200",method="POST"}' in text
  assert 'bert_tf_batch_rows_count{model="m",signature="serving_default"}' in text


def test_the_page_lets_no_other_script_run(running):
  with urllib.request.urlopen(running.url + "/", timeout=20) as response:
    page, policy = response.read().decode(), response.headers["Content-Security-Policy"]
  nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
  assert f'<script nonce="{nonce}">' in page and "@NONCE@" not in page
  with urllib.request.urlopen(running.url + "/about.json", timeout=20) as response:
    assert json.loads(response.read())["task"] == "classification"


def test_a_newer_version_takes_over_and_a_broken_one_does_not(running, model_dir, exports):
  """Runs last: it leaves version 2 behind."""
  broken = model_dir / "3"
  broken.mkdir()
  (broken / "saved_model.pb").write_bytes(b"not a model")
  body = b'{"inputs": {"text": ["a"], "text_pair": ["b"]}}'
  head = (
    f"POST {PREDICT} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
  )
  slow = socket.create_connection(("127.0.0.1", running.server.port), timeout=20)
  slow.sendall(head + body[:5])
  staged = model_dir / "staged"
  shutil.copytree(exports["bfloat16"], staged)
  staged.rename(model_dir / "2")
  until = time.monotonic() + 60
  while running.request("/v1/models/m/versions/2")[0] != 200:
    assert time.monotonic() < until
    status, _ = running.request(PREDICT, body)
    assert status in (200, 400)  # Version 1 takes one text, version 2 takes two.
    time.sleep(0.1)
  status, _ = running.request(PREDICT, body)
  assert status == 200
  with slow:  # A request that came before the swap and ends after it.
    slow.sendall(body[5:])
    assert b" 200 OK" in slow.recv(1 << 16)
  states = {
    s["version"]: s["state"] for s in running.request("/v1/models/m")[1]["model_version_status"]
  }
  assert states == {"2": "AVAILABLE", "3": "END"}
  # What was seen half copied is looked at again when it is complete.
  shutil.copytree(exports["bfloat16"], broken, dirs_exist_ok=True)
  until = time.monotonic() + 60
  while running.request("/v1/models/m/versions/3")[1]["model_version_status"][0]["state"] == "END":
    assert time.monotonic() < until
    time.sleep(0.1)
  assert running.request(PREDICT, body)[0] == 200


def test_a_directory_without_a_sound_version_is_refused(tmp_path):
  (tmp_path / "1").mkdir()
  (tmp_path / "1" / "saved_model.pb").write_bytes(b"not a model")
  with pytest.raises(UserError, match="expected a version that can be loaded"):
    server.Server(server.ServerOptions(str(tmp_path)))
