"""HTTP connections: how many there may be, and how long one may be silent.

A connection that waits for its next request, or is still sending one, gives way when there are too
many: who comes later finds room as long as not all of them are being answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import enum
import json
import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bert_tf.serving.metrics import Metrics

# Descriptors that are not for HTTP connections: gRPC, files of versions, libraries.
_OTHER_FILES = 100
_MOST, _FEWEST = 1000, 8
# A client that reads no answer for so long is not waited for.
_WRITE_SECONDS = 30.0
_SLOW_READER = "slow reader"


@dataclasses.dataclass(frozen=True)
class ConnectionLimits:
  """Bounds on connections.

  Attributes:
    most: how many there may be; 0: as many as the process may have files, with room for others.
    header_seconds: from the first byte of a request to the end of its headers.
    idle_seconds: without a request.
  """

  most: int = 0
  header_seconds: float = 10.0
  idle_seconds: float = 60.0

  def count(self) -> int:
    """How many there may be."""
    if self.most:
      return self.most
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(_FEWEST, min(_MOST, files - _OTHER_FILES))


class Phase(enum.Enum):
  """What a connection is at."""

  WAITING = enum.auto()
  HEADERS = enum.auto()
  BODY = enum.auto()
  ANSWERING = enum.auto()


class _Connection(web.RequestHandler):
  """One connection; knows what it is at, and since when it waits or sends headers."""

  def __init__(self, manager: Connections, **options: Any):
    super().__init__(manager, **options)
    self.connections = manager
    self.phase = Phase.WAITING
    self.since = time.monotonic()

  def data_received(self, data: bytes) -> None:
    """Notes that a request has begun."""
    if data and self.phase is Phase.WAITING:
      self.phase, self.since = Phase.HEADERS, time.monotonic()
    super().data_received(data)

  async def finish_response(self, request, resp, start_time):
    """Writes an answer, to a client that reads."""
    try:
      return await asyncio.wait_for(
        super().finish_response(request, resp, start_time), _WRITE_SECONDS
      )
    except asyncio.TimeoutError:
      self.connections.drop(self, _SLOW_READER)
      return resp, True
    finally:
      self.phase, self.since = Phase.WAITING, time.monotonic()

  def handle_error(self, request, status=500, exc=None, message=None) -> web.StreamResponse:
    """Answers what is no HTTP, in the form of all errors; nothing is logged of it but its line."""
    if isinstance(exc, ConnectionError):
      raise exc  # The client has hung up, which has been counted.
    return self.connections.malformed(request, status, str(message or exc or ""))


class Connections(web.Server):
  """All HTTP connections of a server."""

  def __init__(
    self,
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    malformed: Callable[[web.BaseRequest, int, str], web.StreamResponse],
    limits: ConnectionLimits,
    metrics: Metrics,
  ):
    """Args: what answers requests, and what answers bytes that are none; bounds; what counts."""
    # Bodies are unpacked where their size is bounded. A client that hangs up is not worked for.
    super().__init__(handler, handler_cancellation=True)
    self._options: dict[str, Any] = {
      "auto_decompress": False,
      "keepalive_timeout": limits.idle_seconds,
      "lingering_time": 1.0,
      "access_log": None,
    }
    self.malformed = malformed
    self._limits = limits
    self._most = limits.count()
    self._metrics = metrics
    self._sweeper: asyncio.Task | None = None

  def __call__(self) -> web.RequestHandler:
    """A new connection."""
    return _Connection(self, loop=asyncio.get_running_loop(), **self._options)

  def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
    """Makes room for one more, or refuses it."""
    super().connection_made(handler, transport)
    if self._sweeper is None:
      self._sweeper = asyncio.get_running_loop().create_task(self._sweep())
    if len(self.connections) > self._most:
      others = [c for c in self._mine() if c is not handler and c.phase is not Phase.ANSWERING]
      if others:
        self.drop(min(others, key=lambda connection: connection.since), "too many")
      else:
        transport.write(_refusal(self._most))
        self.drop(handler, "too many")
    self._metrics.set_connections(len(self.connections))

  def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
    """See `web.Server`."""
    super().connection_lost(handler, exc)
    self._metrics.set_connections(len(self.connections))

  def drop(self, handler: web.RequestHandler, reason: str) -> None:
    """Closes a connection."""
    self._metrics.dropped(reason)
    transport = handler.transport
    self._connections.pop(handler, None)
    handler.force_close()
    if reason == _SLOW_READER and transport is not None:
      transport.abort()  # What it was sent it will never take.

  def _mine(self) -> list[_Connection]:
    return [c for c in self.connections if isinstance(c, _Connection)]

  async def _sweep(self) -> None:
    """Closes what has been silent for too long."""
    limits = self._limits
    pause = max(0.05, min(1.0, limits.header_seconds / 4, limits.idle_seconds / 4))
    while True:
      await asyncio.sleep(pause)
      now = time.monotonic()
      for connection in self._mine():
        silent = now - connection.since
        if connection.phase is Phase.HEADERS and silent > limits.header_seconds:
          self.drop(connection, "slow headers")
        elif connection.phase is Phase.WAITING and silent > limits.idle_seconds:
          self.drop(connection, "idle")

  async def shutdown(self, timeout: float | None = None) -> None:
    """See `web.Server`."""
    if self._sweeper:
      self._sweeper.cancel()
      with contextlib.suppress(asyncio.CancelledError):
        await self._sweeper
    await super().shutdown(timeout)


def note(request: web.BaseRequest, phase: Phase) -> None:
  """Says what the connection of a request is at."""
  if isinstance(request.protocol, _Connection):
    request.protocol.phase = phase


def _refusal(most: int) -> bytes:
  error = f"the server has {most} connections, all of them busy; try again"
  body = json.dumps({"error": error}).encode()
  return (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
  )
