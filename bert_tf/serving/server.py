"""`python -m bert_tf serve DIR`: TensorFlow Serving's interfaces, with bounds on what they take."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import sys
from typing import TYPE_CHECKING

from bert_tf.errors import UserError
from bert_tf.serving import hosts, locate
from bert_tf.serving.options import ServerOptions, add_arguments, of_arguments

if TYPE_CHECKING:
  from bert_tf.serving.models import Models

__all__ = ["Server", "ServerOptions", "add_arguments", "run"]

# After a signal to stop, the requests that wait get so long to be answered; the others are refused.
_GRACE_SECONDS = 3.0
# And so long to be written to their clients.
_LAST_SECONDS = 1.0


def _import_all() -> None:
  """Raises UserError naming the extra where a library is missing."""
  try:
    import aiohttp  # noqa: F401
    import grpc  # noqa: F401
    import prometheus_client  # noqa: F401
    import tensorflow_serving.apis  # noqa: F401
  except ImportError as error:
    raise UserError(
      f"expected the libraries of the server, found no {error.name}; pip install 'bert_tf[serving]'"
    ) from error


class Server:
  """A running server; `async with` starts and stops it.

  Attributes:
    models: what it serves.
    port: of HTTP.
    grpc_port: of gRPC; None without.
    ended: after the end, whether no run of a model is left that could not be waited for.
  """

  models: Models

  def __init__(self, options: ServerOptions):
    """Loads the models; raises UserError where that is impossible."""
    options.check()
    _import_all()
    from bert_tf.serving import models
    from bert_tf.serving.batching import BatchingOptions
    from bert_tf.serving.metrics import Metrics

    self._options = options
    self._tls = _tls(options)
    self._metrics = Metrics(options.max_queue)
    if options.models_config:
      specs = models.of_config(options.models_config)
    else:
      specs = [models.of_directory(str(options.model_dir), options.name)]
    batching = BatchingOptions(
      options.max_batch_size,
      options.batch_timeout_ms,
      options.max_queue,
      max_pieces=options.max_pieces,
      max_windows=options.max_windows,
      request_seconds=options.request_seconds,
    )
    self.models = models.Models(specs, batching, self._metrics, options.stall_seconds)
    self.port, self.grpc_port = options.port, None
    self.ended = True

  async def __aenter__(self) -> Server:
    from aiohttp import web

    from bert_tf.serving.connections import ConnectionLimits, Connections
    from bert_tf.serving.rest import RestApi

    options = self._options
    asyncio.get_running_loop().set_exception_handler(_note)
    allowed = hosts.expected(options.host, options.host_names)
    api = RestApi(self.models, self._metrics, options.max_body, options.request_seconds, allowed)
    limits = ConnectionLimits(options.max_connections, options.header_seconds, options.idle_seconds)
    connections = Connections(api.handle, api.malformed, limits, self._metrics)
    # The grace is for requests under way, not for connections that idle.
    self._runner = web.ServerRunner(connections, shutdown_timeout=_GRACE_SECONDS + _LAST_SECONDS)
    await self._runner.setup()
    site = web.TCPSite(self._runner, options.host, options.port, ssl_context=self._tls)
    try:
      await site.start()
      self.port = self._runner.addresses[0][1]
      await self._start_grpc(limits)
    except (OSError, RuntimeError) as error:
      await self._runner.cleanup()
      self.models.close()
      raise UserError(
        f"cannot listen on {options.host}, ports {options.port} and {options.grpc_port}:"
        f" {error}; give other `port` and `grpc_port`"
      ) from error
    self.models.watch(options.poll_seconds)
    return self

  async def _start_grpc(self, limits) -> None:
    self._grpc = None
    options = self._options
    if options.grpc_port < 0:
      return
    import grpc

    from bert_tf.serving.grpc_api import GrpcApi

    settings = [
      ("grpc.max_receive_message_length", options.max_body),
      ("grpc.so_reuseport", 0),
      ("grpc.server_handshake_timeout_ms", int(1000 * limits.header_seconds)),
      ("grpc.max_connection_idle_ms", int(1000 * limits.idle_seconds)),
      ("grpc.max_allowed_incoming_connections", limits.count()),
    ]
    api = GrpcApi(self.models, self._metrics, options.request_seconds)
    self._grpc = grpc.aio.server(
      options=settings, interceptors=[api.reader()], compression=grpc.Compression.NoCompression
    )
    api.add_to(self._grpc)
    address = f"{_in_url(options.host)}:{options.grpc_port}"
    if options.tls_certificate:
      pair = _read(options.tls_key), _read(options.tls_certificate)
      self.grpc_port = self._grpc.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    else:
      self.grpc_port = self._grpc.add_insecure_port(address)
    await self._grpc.start()

  async def __aexit__(self, *unused) -> None:
    """Stops taking requests, answers those under way for a few seconds, frees the models."""
    grace = _GRACE_SECONDS + _LAST_SECONDS
    self.models.stopping = True
    self.ended, *_ = await asyncio.gather(
      asyncio.to_thread(self.models.close, _GRACE_SECONDS),
      self._runner.cleanup(),
      *([self._grpc.stop(grace)] if self._grpc else []),
    )


def _note(unused_loop: asyncio.AbstractEventLoop, context: dict) -> None:
  """Logs in a line what went wrong in the event loop, such as a lack of descriptors."""
  import logging

  error = context.get("exception")
  if isinstance(error, ConnectionError):
    return
  logging.getLogger("bert_tf").error("%s: %s", context.get("message"), error)


def _tls(options: ServerOptions) -> ssl.SSLContext | None:
  if not options.tls_certificate:
    return None
  context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
  try:
    context.load_cert_chain(options.tls_certificate, options.tls_key)
  except (ssl.SSLError, OSError) as error:
    raise UserError(
      f"`tls_certificate`: expected a certificate and its key in PEM, found {error.args[-1]}"
    ) from error
  return context


def _read(path: str | None) -> bytes:
  with open(str(path), "rb") as file:
    return file.read()


async def _serve(options: ServerOptions) -> bool:
  """Serves until a signal comes; returns whether everything has come to its end."""
  stop = asyncio.Event()
  loop = asyncio.get_running_loop()
  for number in (signal.SIGINT, signal.SIGTERM):
    loop.add_signal_handler(number, stop.set)
  async with Server(options) as server:
    host = _in_url(options.host)
    scheme = "https" if options.tls_certificate else "http"
    for name in server.models.names:
      version = server.models.get(name).batcher().servable.version
      print(f"serving {name}, version {version}; stop with Ctrl-C", flush=True)
      print(f"  REST   {scheme}://{host}:{server.port}/v1/models/{name}:predict", flush=True)
    print(f"  page   {scheme}://{host}:{server.port}/", flush=True)
    if server.grpc_port:
      print(f"  gRPC   {host}:{server.grpc_port}", flush=True)
    await stop.wait()
    print("stopping: answering the requests under way", flush=True)
  return server.ended


def run(args: argparse.Namespace) -> None:
  """Serves until a signal comes."""
  options = of_arguments(args)
  if options.model_dir:
    locate.find(options.model_dir)
  _import_all()
  from bert_tf.serving import logs

  logs.configure(options.log_format)
  if not hosts.is_loopback(options.host):
    print(
      f"note: listening on {options.host}: whoever can reach it can use the model", file=sys.stderr
    )
  import tensorflow as tf

  # The session loader, which is the one to test with, is marked as deprecated.
  tf.get_logger().setLevel("ERROR")
  if not asyncio.run(_serve(options)):
    # A thread is in the model, where nothing can stop it; Python's own end may wait for it.
    print("stopped in the middle of a run of the model", file=sys.stderr, flush=True)
    os._exit(0)


def _in_url(host: str) -> str:
  return f"[{host}]" if ":" in host else host
