"""A server in this process, asked over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

from bert_tf.serving import server


class Running:
  """A server on a loop of its own."""

  def __init__(self, options: server.ServerOptions):
    self.server = server.Server(options)
    self._stop = None
    self._started = threading.Event()
    self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
    self._thread.start()
    assert self._started.wait(60)
    self.url = f"http://127.0.0.1:{self.server.port}"
    self.target = f"127.0.0.1:{self.server.grpc_port}"

  async def _run(self):
    self._stop = asyncio.Event()
    self._loop = asyncio.get_running_loop()
    async with self.server:
      self._started.set()
      await self._stop.wait()

  def stop(self):
    self._loop.call_soon_threadsafe(self._stop.set)
    self._thread.join(30)
    assert not self._thread.is_alive()

  def request(self, path: str, body: bytes | None = None) -> tuple[int, dict]:
    try:
      with urllib.request.urlopen(self.url + path, body, timeout=30) as response:
        return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
      return error.code, json.loads(error.read())

  def metric(self, line: str) -> float:
    """The value of a metric, 0 where it has none yet."""
    with urllib.request.urlopen(self.url + "/metrics", timeout=20) as response:
      for found in response.read().decode().splitlines():
        if found.startswith(line + " "):
          return float(found.rsplit(" ", 1)[1])
    return 0.0


@contextlib.contextmanager
def running(model_dir, **options) -> Iterator[Running]:
  """A server of a directory on free ports; stopped at the end."""
  one = Running(server.ServerOptions(model_dir and str(model_dir), port=0, grpc_port=0, **options))
  try:
    yield one
  finally:
    one.stop()
