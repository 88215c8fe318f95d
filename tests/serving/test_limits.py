"""What a server does about those who ask too much, too slowly, or not at all."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import http.client
import json
import logging
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
import running_server

pytest.importorskip("aiohttp", reason="needs the extra serving")
pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")

import grpc

from bert_tf.serving import connections
from bert_tf.serving.connections import Phase
from bert_tf.serving.errors import RequestError

PREDICT = "/v1/models/m:predict"
BODY = json.dumps({"instances": ["the house"]}).encode()


@pytest.fixture(scope="module")
def running(exports):
  limits = {"header_seconds": 0.5, "idle_seconds": 1.5, "max_connections": 12}
  more = {"name": "m", "max_body": 1 << 20, "stall_seconds": 0.3, "request_seconds": 20.0}
  with running_server.running(exports["questions"].parent, **limits, **more) as one:
    yield one


def question(context: str, rows: int = 1) -> bytes:
  return json.dumps({"instances": [{"question": "who?", "context": context}] * rows}).encode()


def connect(running) -> socket.socket:
  return socket.create_connection(("127.0.0.1", running.server.port), timeout=20)


def ask(running, body: bytes, **headers) -> http.client.HTTPResponse:
  """Sends a body with headers; the response is read by who asks."""
  connection = http.client.HTTPConnection("127.0.0.1", running.server.port, timeout=30)
  connection.request("POST", PREDICT, body, {k.replace("_", "-"): v for k, v in headers.items()})
  return connection.getresponse()


def closed_after(connection: socket.socket) -> float:
  """Seconds until the other side has closed."""
  started = time.monotonic()
  with contextlib.suppress(ConnectionResetError):
    while connection.recv(1 << 16):
      pass
  return time.monotonic() - started


@pytest.mark.parametrize(
  ("body", "message"),
  [
    (question("the house is old. " * 50_000), "expected at most 65536 word pieces"),
    (question("the house is old. " * 3000), "expected at most 256 windows"),
    (question("the house is old. " * 100, 40), "expected at most 256 windows"),
  ],
)
def test_what_is_too_long_is_refused_at_once(running, body, message):
  started = time.monotonic()
  status, answer = running.request(PREDICT, body)
  assert status == 400 and message in answer["error"], answer
  # The answers to these would take a minute.
  assert time.monotonic() - started < 10


def test_pieces_and_windows_are_those_of_the_scripts(exports, golden):
  from bert_tf.serving.servable import Servable
  from bert_tf.tokenization import FullTokenizer

  servable = Servable(str(exports["questions"]), 1)
  context = "The house, unbelievably, is old. " * 90
  inputs = {"question": np.array([b"who is it?"], object),
            "context": np.array([context.encode()], object)}  # fmt: skip
  tokenize = FullTokenizer(str(golden / "vocab.txt")).tokenize
  pieces = len(tokenize("who is it?")) + len(tokenize(context))
  servable.refuse_long(inputs, pieces, 1000, 20)
  with pytest.raises(RequestError, match=f"at most {pieces - 1} word pieces in a.*found {pieces};"):
    servable.refuse_long(inputs, pieces - 1, 1000, 20)
  # max_seq_length 64, doc_stride 16: see exported_models.py.
  room = 64 - 3 - len(tokenize("who is it?"))
  windows = 1 + -(-max(0, len(tokenize(context)) - room) // 16)
  servable.refuse_long(inputs, pieces, windows, 20)
  with pytest.raises(RequestError, match=f"at most {windows - 1} windows"):
    servable.refuse_long(inputs, pieces, windows - 1, 20)
  servable.close()


def test_a_run_stops_at_its_deadline(exports):
  from bert_tf.serving.servable import Servable

  servable = Servable(str(exports["questions"]), 1)
  contexts = np.array([b"the house is old. " * 40_000], object)
  inputs = {"question": np.array([b"who?"], object), "context": contexts}
  started = time.monotonic()
  with pytest.raises(RequestError, match=r"expected an answer within 0\.5 s") as raised:
    servable.run("serving_default", inputs, 0.5)
  assert raised.value.code == "DEADLINE_EXCEEDED" and time.monotonic() - started < 5
  short = {**inputs, "context": np.array([b"the house is old."], object)}
  assert servable.run("serving_default", short, 20)["answers"].shape[0] == 1
  servable.close()


def test_a_request_that_takes_too_long_is_stopped_and_others_are_answered(exports):
  options = {"name": "m", "request_seconds": 0.7, "max_windows": 1 << 20, "max_pieces": 1 << 20}
  with running_server.running(exports["questions"].parent, **options) as one:
    assert one.request(PREDICT, question("the house"))[0] == 200
    long = question("the house is old. " * 40_000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
      answers = list(pool.map(lambda _: one.request(PREDICT, long), range(4)))
    assert {status for status, _ in answers} == {504}
    until = time.monotonic() + 10
    while one.request(PREDICT, question("the house"))[0] != 200:
      assert time.monotonic() < until, "the workers are not free again"


def test_a_server_whose_workers_are_stuck_is_not_ready(running, monkeypatch):
  health = "/grpc.health.v1.Health/Check"
  servable = running.server.models.get("m").batcher().servable
  gate = threading.Event()
  run = servable.run

  def held_up(*args):
    gate.wait(20)
    return run(*args)

  def status(service: str) -> bytes:
    with grpc.insecure_channel(running.target) as channel:
      request = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
      return channel.unary_unary(health)(request, timeout=20)

  assert running.request("/readyz")[0] == 200 and status("m") == status("") == b"\x08\x01"
  monkeypatch.setattr(servable, "run", held_up)
  bodies = [question(f"{'the house ' * 40 * n}") for n in range(1, 3)]
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    answers = [pool.submit(running.request, PREDICT, body) for body in bodies]
    until = time.monotonic() + 20
    while running.request("/readyz")[0] == 200:
      assert time.monotonic() < until
      time.sleep(0.05)
    answer = running.request("/readyz")
    assert answer[0] == 503 and "all workers of m have been in one run" in answer[1]["error"]
    assert status("m") == status("") == b"\x08\x02"
    assert running.request("/healthz")[0] == 200
    gate.set()
    assert [future.result(20)[0] for future in answers] == [200, 200]
  assert running.request("/readyz")[0] == 200 and status("m") == b"\x08\x01"
  with pytest.raises(grpc.RpcError) as raised:
    status("other")
  assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_clients_that_hang_up_are_counted_apart_and_quietly(running, monkeypatch, caplog):
  caplog.set_level(logging.INFO)
  servable = running.server.models.get("m").batcher().servable
  gate = threading.Event()
  run = servable.run
  monkeypatch.setattr(servable, "run", lambda *args: gate.wait(20) and run(*args))
  before = running.metric('bert_tf_requests_total{api="rest",code="499",method="POST"}')
  head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
  whole = f"{head}{len(question('a'))}\r\n\r\n".encode() + question("a")
  for sent in (f"{head}1000\r\n\r\n".encode(), f"{head}1000\r\n\r\n{{".encode(), whole):
    with connect(running) as connection:
      connection.sendall(sent)
      time.sleep(0.2)
  until = time.monotonic() + 20
  name = 'bert_tf_requests_total{api="rest",code="499",method="POST"}'
  while running.metric(name) < before + 3:
    assert time.monotonic() < until, running.metric(name)
    time.sleep(0.1)
  gate.set()
  assert running.metric('bert_tf_requests_total{api="rest",code="500",method="POST"}') == 0
  assert "Traceback" not in caplog.text and "ERROR" not in caplog.text


@pytest.mark.parametrize(
  "sent", [b"\x16\x03\x01\x00\x01", b"GET / HTTP/9\r\n\r\n", b"nonsense\r\n\r\n"]
)
def test_what_is_no_http_is_answered_in_json_and_counted(running, caplog, sent):
  name = 'bert_tf_requests_total{api="rest",code="400",method="other"}'
  before = running.metric(name)
  with connect(running) as connection:
    connection.sendall(sent)
    answer = connection.makefile("rb").read()
  head, _, body = answer.partition(b"\r\n\r\n")
  assert b" 400 " in head and b"application/json" in head
  assert json.loads(body)["error"].startswith("expected HTTP, found: ")
  assert running.metric(name) == before + 1 and "Traceback" not in caplog.text


def test_broken_messages_over_grpc_are_refused_and_counted(running):
  name = 'bert_tf_requests_total{api="grpc",code="INVALID_ARGUMENT",method="Predict"}'
  before = running.metric(name)
  with grpc.insecure_channel(running.target) as channel:
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with pytest.raises(grpc.RpcError, match="bytes that are none") as raised:
      call(b"\xff\xff\xff", timeout=20)
  assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
  assert running.metric(name) == before + 1


def test_half_headers_and_idle_connections_are_closed(running):
  slow, idle = connect(running), connect(running)
  slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
  with slow, idle:
    assert 0.3 < closed_after(slow) < 1.5
    assert closed_after(idle) < 5
  assert running.metric('bert_tf_dropped_connections_total{reason="slow headers"}') >= 1
  # A body may take its time.
  with connect(running) as connection:
    body = question("a")
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode())
    time.sleep(1.0)
    connection.sendall(body)
    assert b" 200 OK" in connection.recv(1 << 16)


def test_idle_connections_make_room_for_others(running):
  with contextlib.ExitStack() as stack:
    held = [stack.enter_context(connect(running)) for _ in range(40)]
    assert running.request("/healthz") == (200, {"status": "ok"})
    assert running.request(PREDICT, question("the house"))[0] == 200
    assert sum(closed_after(one) < 0.5 for one in held[:5]) >= 1
  assert running.metric('bert_tf_dropped_connections_total{reason="too many"}') >= 28


def test_connections_that_are_all_busy_are_left_in_peace(running, monkeypatch):
  servable = running.server.models.get("m").batcher().servable
  gate = threading.Event()
  run = servable.run
  monkeypatch.setattr(servable, "run", lambda *args: gate.wait(20) and run(*args))
  with concurrent.futures.ThreadPoolExecutor(12) as pool:
    answers = [pool.submit(running.request, PREDICT, question("the house")) for _ in range(12)]
    until = time.monotonic() + 20
    while sum(c.phase is Phase.ANSWERING for c in running.server._runner.server.connections) < 12:
      assert time.monotonic() < until
      time.sleep(0.05)
    status, answer = running.request("/healthz")
    gate.set()
    assert status == 503 and "all of them busy" in answer["error"]
    assert [future.result(20)[0] for future in answers] == [200] * 12


def test_a_bomb_is_unpacked_no_further_than_a_body_may_be_long(running):
  bomb = zlib.compressobj(9, wbits=31)
  packed = b"".join(bomb.compress(bytes(1 << 24)) for _ in range(16)) + bomb.flush()
  assert len(packed) < 1 << 19
  started = time.monotonic()
  response = ask(running, packed, Content_Encoding="gzip")
  assert response.status == 413 and "at most 1048576 bytes" in json.loads(response.read())["error"]
  assert response.getheader("Connection") == "close" and time.monotonic() - started < 2


def test_a_client_that_waits_to_be_told_is_told(running):
  body = question("a")
  head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
  with connect(running) as connection:
    connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body)
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")
  with connect(running) as connection:
    connection.sendall(f"{head}Expect: tea\r\n\r\n".encode())
    assert b" 417 " in connection.recv(1 << 16)


def test_connections_of_grpc_that_do_not_speak_are_closed(running):
  with socket.create_connection(("127.0.0.1", running.server.grpc_port), timeout=20) as one:
    assert closed_after(one) < 5


@pytest.mark.parametrize(("files", "most"), [(300, 200), (100, 8), (1 << 20, 1000)])
def test_connections_leave_files_for_others(monkeypatch, files, most):
  monkeypatch.setattr(connections.resource, "getrlimit", lambda which: (files, files))
  assert connections.ConnectionLimits().count() == most
  assert connections.ConnectionLimits(most=7).count() == 7


@pytest.mark.parametrize(
  ("code", "status"),
  [("RESOURCE_EXHAUSTED", 429), ("UNAVAILABLE", 503), ("INTERNAL", 500), ("ABORTED", 409)],
)
def test_statuses_are_those_of_tensorflow_serving(running, monkeypatch, code, status):
  servable = running.server.models.get("m").batcher().servable

  def refuse(*unused):
    raise RequestError("no", code)

  monkeypatch.setattr(servable, "run", refuse)
  assert running.request(PREDICT, question("a")) == (status, {"error": "no"})


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_packed_bodies_are_read(running, packing):
  body = question("the house")
  packed = gzip.compress(body[:9]) + gzip.compress(body[9:])
  packed = packed if packing == "gzip" else zlib.compress(body)
  assert ask(running, packed, Content_Encoding=packing).status == 200


@pytest.mark.parametrize(
  ("body", "packing", "status", "message"),
  [
    (b"{}", "gzip", 400, "broken data"),
    (gzip.compress(question("a"))[:-9], "gzip", 400, "broken data"),
    (b"{}", "br", 415, "expected Content-Encoding gzip or none, found 'br'"),
  ],
)
def test_bodies_that_cannot_be_unpacked(running, body, packing, status, message):
  response = ask(running, body, Content_Encoding=packing)
  assert response.status == status and message in json.loads(response.read())["error"]


def test_answers_are_packed_for_who_takes_that(running):
  body = question("the house is old. " * 20, 8)
  plain = ask(running, body)
  packed = ask(running, body, Accept_Encoding="br, gzip;q=0.5")
  assert (
    packed.getheader("Content-Encoding") == "gzip" and plain.getheader("Content-Encoding") is None
  )
  assert json.loads(gzip.decompress(packed.read())) == json.loads(plain.read())
  assert ask(running, body, Accept_Encoding="gzip;q=0").getheader("Content-Encoding") is None


@pytest.mark.parametrize(
  ("headers", "status"),
  [
    ({"Host": "evil.example"}, 403),
    ({"Host": "evil.example:8501"}, 403),
    ({"Host": "[::1"}, 403),
    ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
    ({"Host": "LOCALHOST:1"}, 200),
    ({"Host": "[::1]:8501"}, 200),
    ({"Host": "127.0.0.1", "Origin": "http://localhost:3000"}, 200),
  ],
)
def test_a_server_on_loopback_is_for_this_machine(running, headers, status):
  response = ask(running, question("a"), **headers)
  assert response.status == status
  if status == 403:
    assert "expected a" in json.loads(response.read())["error"]


def test_other_names_can_be_allowed():
  from bert_tf.serving import hosts

  assert hosts.expected("0.0.0.0", ()) is None
  allowed = hosts.expected("0.0.0.0", ("Models.example",))
  assert not hosts.refuse("models.example:80", None, allowed)
  assert "found 'other'" in hosts.refuse("other", None, allowed)
  assert not hosts.refuse(None, None, allowed)


def test_requests_have_an_id(running):
  given = ask(running, question("a"), X_Request_Id="abc-1")
  assert given.getheader("X-Request-Id") == "abc-1"
  made = [ask(running, question("a"), X_Request_Id="no\tid") for _ in range(2)]
  ids = {response.getheader("X-Request-Id") for response in made}
  assert len(ids) == 2 and all(len(known) == 16 for known in ids)


def test_encrypted(exports, tmp_path):
  """REST, gRPC and who asks without."""
  key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
  made = subprocess.run(
    ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
     "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
    capture_output=True, check=False,
  )  # fmt: skip
  if made.returncode:
    pytest.skip("needs openssl")
  files = {"tls_certificate": str(certificate), "tls_key": str(key)}
  with running_server.running(exports["questions"].parent, name="m", **files) as one:
    context = ssl.create_default_context(cafile=str(certificate))
    url = f"https://localhost:{one.server.port}/v1/models/m"
    with urllib.request.urlopen(url, timeout=20, context=context) as response:
      assert response.status == 200
    with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
      urllib.request.urlopen(url.replace("https", "http"), timeout=20)
    credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{one.server.grpc_port}", credentials) as channel:
      assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=20) == b"\x08\x01"
