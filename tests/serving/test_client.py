"""The client where there is no model server, or one that is not ready."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

import pytest

from bert_tf import __main__ as commands
from bert_tf.errors import UserError
from bert_tf.serving import client


@contextlib.contextmanager
def answering(*answers: bytes):
  """A socket that gives every connection the next of some answers, the last one for ever."""
  with socket.create_server(("127.0.0.1", 0)) as listener:

    def answer() -> None:
      with contextlib.suppress(OSError):
        for number in range(100):
          connection, _ = listener.accept()
          with connection:
            connection.recv(1 << 16)
            connection.sendall(answers[min(number, len(answers) - 1)])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(20)


def http_answer(status: str, body: str) -> bytes:
  return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_a_client_asks_again_while_the_server_is_unavailable():
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  one = client.RestClient(f"http://127.0.0.1:{port}", "m", timeout=5, retries=2)
  started = time.monotonic()
  with pytest.raises(client.ServerError, match="UNAVAILABLE"):
    one.predict({"text": ["a"]})
  assert time.monotonic() - started > 0.1, "there was no second attempt"


SIGNATURES = """{"metadata": {"signature_def": {"signature_def": {
  "serving_default": {"inputs": {"text": {}}}}}}}"""


def test_a_server_that_starts_just_now_is_asked_again_for_its_signatures():
  busy = http_answer("503 Service Unavailable", '{"error": "wait"}')
  with answering(busy, busy, http_answer("200 OK", SIGNATURES)) as url:
    one = client.RestClient(url, "m", timeout=20)
    assert one.signatures() == {"serving_default": ["text"]}


@pytest.mark.parametrize(
  "answer",
  [
    b"\x00\x00\x18\x04\x00\x00\x00\x00\x00\r\n",  # What a gRPC port says first.
    http_answer("200 OK", "<html>"),
    http_answer("200 OK", "{}"),
    http_answer("200 OK", "[]"),
  ],
)
def test_what_is_no_model_server_is_named_so(answer):
  with answering(answer) as url, pytest.raises(client.ServerError, match="REST port"):
    client.RestClient(url, "m", timeout=20).signatures()


@pytest.mark.parametrize(
  ("url", "options", "message"),
  [
    ("http://127.0.0.1:abc", {}, "expected a URL"),
    ("http://[1", {}, "expected a URL"),
    ("http://", {}, "expected a URL"),
    ("127.0.0.1:8501", {}, "expected a URL"),
    ("http://127.0.0.1", {"retries": -1}, "expected retries to be at least 0"),
    ("http://127.0.0.1", {"timeout": 0.0}, "expected a timeout of more than 0"),
    ("http://127.0.0.1", {"timeout": float("nan")}, "expected a timeout of more than 0"),
  ],
)
def test_bad_arguments_are_refused(url, options, message):
  with pytest.raises(UserError, match=message):
    client.RestClient(url, "m", **options)


@pytest.mark.parametrize(
  "arguments",
  [
    ["m", "--rest", "{url}", "a text"],
    ["--rest", "{url}", "m", "a text"],
    ["m", "a text", "--rest", "{url}"],
    ["m", "--rest", "{url}", "--", "a text"],
  ],
)
def test_options_stand_where_one_likes(arguments, monkeypatch, capsys):
  answers = http_answer("200 OK", SIGNATURES), http_answer("200 OK", '{"outputs": {"y": [1]}}')
  with answering(*answers) as url:
    words = [word.format(url=url) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["bert_tf", "client", *words])
    commands.main()
  assert capsys.readouterr().out == '{"text": "a text", "y": 1}\n'
