"""Many HTTP clients in one cheap process: each sends its next request when it has its answer.

  python benchmarks/serving_clients.py < job.json > result.json

Run by serving.py. A job names port, path, bodies, clients, seconds and a seed; the result lists for
every answer the number of its body, its status, its seconds and its text. Nothing is parsed while
time runs, so that what is measured on a machine of few cores is the server.
"""

from __future__ import annotations

import json
import random
import re
import selectors
import socket
import subprocess
import sys
import time
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class _Client:
  """One connection."""

  def __init__(self, port: int, seed: int):
    self.socket = socket.create_connection(("127.0.0.1", port))
    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self.draw = random.Random(seed)
    self.number = 0
    self.started = 0.0
    self._received = b""

  def send(self, requests: list[bytes]) -> None:
    """Sends one of the requests."""
    self.number = self.draw.randrange(len(requests))
    self._received = b""
    self.started = time.perf_counter()
    self.socket.sendall(requests[self.number])

  def receive(self) -> bytes | None:
    """Reads what has come; returns the answer when it is complete."""
    part = self.socket.recv(1 << 16)
    if not part:
      raise ConnectionError("the server has closed the connection")
    self._received += part
    head, found, body = self._received.partition(b"\r\n\r\n")
    if not found:
      return None
    length = int(_LENGTH.search(head + b"\r\n").group(1))
    return self._received if len(body) >= length else None


def drive(job: dict[str, Any]) -> list[tuple[int, int, float, str]]:
  """Runs the clients; returns number of the body, status, seconds and text of every answer."""
  requests = [
    b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (job["path"].encode(), len(body.encode()), body.encode())
    for body in job["bodies"]
  ]
  selector = selectors.DefaultSelector()
  clients = [_Client(job["port"], job["seed"] + i) for i in range(job["clients"])]
  for client in clients:
    selector.register(client.socket, selectors.EVENT_READ, client)
    client.send(requests)
  answers = []
  until = time.perf_counter() + job["seconds"]
  waiting = len(clients)
  while waiting:
    for key, _ in selector.select():
      client = key.data
      answer = client.receive()
      if answer is None:
        continue
      now = time.perf_counter()
      answers.append((client.number, now - client.started, answer))
      if now < until:
        client.send(requests)
      else:
        waiting -= 1
        selector.unregister(client.socket)
        client.socket.close()
  return [
    (number, int(answer[9:12]), seconds, answer.partition(b"\r\n\r\n")[2].decode())
    for number, seconds, answer in answers
  ]


def run(job: dict[str, Any]) -> list[tuple[int, int, float, str]]:
  """Does what `drive` does in a process of its own."""
  result = subprocess.run(
    [sys.executable, __file__], input=json.dumps(job), capture_output=True, text=True, check=True
  )
  return json.loads(result.stdout)


if __name__ == "__main__":
  json.dump(drive(json.load(sys.stdin)), sys.stdout)
