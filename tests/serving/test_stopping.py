"""The end of a server, as a process."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

for _module in ("aiohttp", "grpc", "prometheus_client", "tensorflow_serving.apis"):
  pytest.importorskip(_module, reason="needs the extra serving")

PREDICT = "/v1/models/m:predict"


def test_sigterm_ends_it_in_seconds_under_load(exports):
  """While clients ask without pause, one has sent half a request, and one sends nothing."""
  command = [sys.executable, "-m", "bert_tf", "serve", str(exports["classifier"]), "--name=m"]
  process = subprocess.Popen([*command, "--port=0", "--grpc_port=0"], stdout=subprocess.PIPE)
  lines = iter(process.stdout.readline, b"")
  port = int(next(line for line in lines if b"REST" in line).split(b":")[2].split(b"/")[0])
  stop = threading.Event()
  statuses = collections.Counter()

  def ask() -> None:
    body = json.dumps({"instances": ["the old house " * 20] * 64})
    while not stop.is_set():
      connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
      with contextlib.suppress(OSError, http.client.HTTPException):
        while not stop.is_set():
          connection.request("POST", PREDICT, body)
          response = connection.getresponse()
          response.read()
          statuses[response.status] += 1

  try:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
      for _ in range(16):
        pool.submit(ask)
      half, idle = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
      half.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n".encode())
      while statuses[200] < 40:
        time.sleep(0.1)
      process.send_signal(signal.SIGTERM)
      code = process.wait(20)
      stop.set()
  finally:
    stop.set()
    process.kill()
  half.close()
  idle.close()
  assert code == 0
  assert set(statuses) <= {200, 503}, statuses
