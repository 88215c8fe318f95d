"""Lines of the server's log."""

from __future__ import annotations

import io
import json
import logging

import pytest

from bert_tf.serving import logs


@pytest.fixture
def configured():
  """Configures the process's logs into a stream, and puts them back."""
  names = ("", "absl", "aiohttp.server", "asyncio", "bert_tf.access")
  before = {n: (list((g := logging.getLogger(n)).handlers), g.level, g.propagate) for n in names}

  def configure(log_format: str) -> io.StringIO:
    stream = io.StringIO()
    logs.configure(log_format, stream)
    return stream

  yield configure
  for name, (handlers, level, propagate) in before.items():
    logger = logging.getLogger(name)
    logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
    logger.setLevel(level)


def test_a_request_is_a_line_of_json(configured):
  stream = configured("json")
  assert logs.take_request_id("given") == "given"
  logs.access("rest", "POST", "/v1/models/m:predict", "200", 0.01234567, "127.0.0.1")
  line = json.loads(stream.getvalue())
  assert line["request_id"] == "given" and line["severity"] == "INFO" and line["time"][-1] == "Z"
  assert {k: line[k] for k in ("api", "method", "code", "seconds", "path", "client")} == {
    "api": "rest", "method": "POST", "code": "200", "seconds": 0.012346,
    "path": "/v1/models/m:predict", "client": "127.0.0.1",
  }  # fmt: skip


def test_an_error_is_a_line_with_its_traceback_and_request(configured):
  from absl import logging as absl_logging

  stream = configured("json")
  known = logs.take_request_id(None)
  try:
    raise ValueError("no\nnewline")
  except ValueError:
    absl_logging.exception("what %s", "failed")
  [line] = stream.getvalue().splitlines()
  found = json.loads(line)
  assert found["message"] == "what failed" and found["severity"] == "ERROR"
  assert "ValueError: no\nnewline" in found["exception"] and found["request_id"] == known


def test_text_has_no_line_for_a_request(configured):
  stream = configured("text")
  logs.access("rest", "GET", "/", "200", 0.1, "")
  logging.getLogger("x").error("a %s", "b")
  assert stream.getvalue().endswith(" ERROR a b\n") and stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("given", ["", "a b", "é", "x" * 129, 'a"b', "a\nb"])
def test_ids_that_could_spoil_a_log_are_replaced(given):
  assert logs.take_request_id(given) != given


def test_lines_of_a_kind_are_few(monkeypatch):
  now = [100.0]
  monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
  limit = logs.RateLimit(burst=3, seconds=10)

  def record(line: int) -> logging.LogRecord:
    return logging.LogRecord("x", logging.ERROR, "file.py", line, "accept: %s", ("full",), None)

  assert [limit.filter(record(1)) for _ in range(50)] == [True] * 3 + [False] * 47
  assert limit.filter(record(2)), "another kind"
  now[0] += 11
  again = record(1)
  assert limit.filter(again)
  assert again.getMessage() == "accept: full (47 lines like this were left out)"
