"""A server under malformed requests. Run by serving.py."""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import random
import tempfile
import time
from typing import Any

from serving_tools import PREDICT, export_classifier, resident_mib, running_server


def malformed(draw: random.Random) -> bytes:
  """A body that is no proper request, or that asks for what the model lacks."""
  good = json.dumps({"instances": ["a good text"]}).encode()
  ids = {"input_ids": [[5, 6]], "input_mask": [[1, 1]], "segment_ids": [[0, 0]]}

  def with_ids(**change) -> bytes:
    return json.dumps({"signature_name": "tensors", "inputs": {**ids, **change}}).encode()

  kind = draw.randrange(12)
  if kind == 0:
    return bytes(draw.randrange(256) for _ in range(draw.randrange(200)))
  if kind == 1:
    return good[: draw.randrange(len(good))]
  if kind == 2:
    place = draw.randrange(len(good))
    return good[:place] + bytes([draw.choice(b'\x00"{}[]\\,:\xff')]) + good[place + 1 :]
  if kind == 3:
    depth = draw.randrange(1, 100_000)
    return draw.choice([b"[", b'{"instances":', b'{"inputs":[']) * (depth // 11)
  if kind == 4:
    return json.dumps({"instances": [draw.choice([None, 1, 1.5, True, [], {}, [[]]])]}).encode()
  if kind == 5:
    return with_ids(input_ids=[[draw.choice([-1, -(1 << 40), 10**6, 1 << 70, 1.5, "x", None]), 6]])
  if kind == 6:
    return with_ids(segment_ids=[[draw.choice([-1, 2, 99]), 0]])
  if kind == 7:
    return with_ids(input_ids=[[5] * draw.randrange(3, 2000)])
  if kind == 8:
    return with_ids(input_mask=draw.choice([[], [[]], [1], [[[1]]], "x", {"b64": "AA=="}]))
  if kind == 9:
    return json.dumps({"instances": ["x"] * draw.randrange(257, 2000)}).encode()
  if kind == 10:
    return json.dumps(
      {"signature_name": "examples", "inputs": ["\0" * draw.randrange(99)]}
    ).encode()
  return json.dumps({"instances": ["z\0" * draw.randrange(1 << 19, 1 << 20)]}).encode()


def fuzz(args: argparse.Namespace) -> dict[str, Any]:
  """Malformed requests: each must get an error in time, or be proper by chance."""
  good = json.dumps({"instances": ["a good text"]}).encode()
  statuses: dict[int, int] = {}
  slowest = 0.0
  with tempfile.TemporaryDirectory() as directory:
    export_classifier(directory, 4, 256)
    with running_server(directory) as (process, port):

      def ask(body: bytes) -> tuple[int, bytes, float]:
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
          connection.request("POST", PREDICT, body)
          response = connection.getresponse()
          return response.status, response.read(), time.monotonic() - started
        except (BrokenPipeError, ConnectionResetError):
          # A body over the limit is refused before it is read to its end.
          return 413, b'{"error": ""}', time.monotonic() - started
        finally:
          connection.close()

      _, before, _ = ask(good)
      memory = resident_mib(process)
      draws = [malformed(random.Random(seed)) for seed in range(args.requests)]
      with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for status, body, seconds in pool.map(ask, draws):
          statuses[status] = statuses.get(status, 0) + 1
          slowest = max(slowest, seconds)
          if status >= 400 and "error" not in json.loads(body):
            raise AssertionError(f"status {status} without a reason: {body[:200]!r}")
      _, after, _ = ask(good)
      grown = resident_mib(process) - memory
      if json.loads(before) != json.loads(after):
        raise AssertionError("the server answers otherwise than before")
  print(f"{args.requests} requests: statuses {dict(sorted(statuses.items()))}")
  print(f"slowest {slowest:.2f} s, memory grew by {grown:.0f} MiB; good ones answered as before")
  if set(statuses) - {200, 400, 413}:
    raise AssertionError(f"unexpected statuses: {statuses}")
  return {"statuses": statuses, "slowest_seconds": slowest, "mib_grown": grown}
