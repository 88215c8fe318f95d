"""`python -m bert_tf serve DIR`: TensorFlow Serving's interfaces for the desk and for tests."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import ipaddress
import os
import signal
import sys

from bert_tf.errors import UserError
from bert_tf.export import deployment
from bert_tf.serving import locate

_MIB = 1 << 20
# After a signal to stop, the requests that wait get so long to be answered; the others are refused.
_GRACE_SECONDS = 3.0
# And so long to be written to their clients.
_LAST_SECONDS = 1.0
# Threads can wait no longer than some hundred years.
_LONGEST_PAUSE = 1e9


@dataclasses.dataclass(frozen=True)
class ServerOptions:
  """What to serve and how.

  Attributes:
    model_dir: a directory with numbered versions, or one version.
    name: the model's name in requests; default: the directory's.
    host: address to listen on; loopback unless told otherwise, since there is no authentication.
    port: of HTTP; 0 picks a free one.
    grpc_port: of gRPC; 0 picks a free one, -1 leaves gRPC out.
    max_body: most bytes of a request.
    request_seconds: longest time for a request, reading it included.
    poll_seconds: how often to look for new versions.
    max_batch_size: see `BatchingOptions`, like the next two.
    batch_timeout_ms: see `BatchingOptions.timeout_ms`.
    max_queue: see `BatchingOptions`.
  """

  model_dir: str
  name: str | None = None
  host: str = "127.0.0.1"
  port: int = 8501
  grpc_port: int = 8500
  max_body: int = _MIB
  request_seconds: float = 60.0
  poll_seconds: float = 2.0
  max_batch_size: int = 32
  batch_timeout_ms: float = 2.0
  max_queue: int = 1024


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
    port: of HTTP.
    grpc_port: of gRPC; None without.
    ended: after the end, whether no run of the model is left that could not be waited for.
  """

  def __init__(self, options: ServerOptions):
    """Loads the model; raises UserError where that is impossible."""
    _import_all()
    from bert_tf.serving.batching import BatchingOptions
    from bert_tf.serving.metrics import Metrics
    from bert_tf.serving.versions import VersionManager

    self._options = options
    self.name = options.name or deployment.model_name(options.model_dir)
    self._metrics = Metrics()
    self.versions = VersionManager(
      options.model_dir,
      BatchingOptions(options.max_batch_size, options.batch_timeout_ms, options.max_queue),
      self._metrics.batch,
    )
    self.port, self.grpc_port = options.port, None
    self.ended = True

  async def __aenter__(self) -> Server:
    from aiohttp import web

    from bert_tf.serving.rest import RestApi

    options = self._options
    api = RestApi(
      self.name, self.versions, self._metrics, options.max_body, options.request_seconds
    )
    # The grace is for requests under way, not for connections that idle.
    self._runner = web.AppRunner(
      api.app, access_log=None, shutdown_timeout=_GRACE_SECONDS + _LAST_SECONDS
    )
    await self._runner.setup()
    site = web.TCPSite(self._runner, options.host, options.port)
    try:
      await site.start()
      self.port = self._runner.addresses[0][1]
      await self._start_grpc()
    except (OSError, RuntimeError) as error:
      await self._runner.cleanup()
      self.versions.close()
      raise UserError(
        f"cannot listen on {options.host}, ports {options.port} and {options.grpc_port}:"
        f" {error}; give other --port and --grpc_port"
      ) from error
    self.versions.watch(options.poll_seconds)
    return self

  async def _start_grpc(self) -> None:
    self._grpc = None
    if self._options.grpc_port < 0:
      return
    import grpc

    from bert_tf.serving.grpc_api import GrpcApi

    limits = [
      ("grpc.max_receive_message_length", self._options.max_body),
      ("grpc.so_reuseport", 0),
    ]
    self._grpc = grpc.aio.server(options=limits)
    api = GrpcApi(self.name, self.versions, self._metrics, self._options.request_seconds)
    api.add_to(self._grpc)
    address = f"{_in_url(self._options.host)}:{self._options.grpc_port}"
    self.grpc_port = self._grpc.add_insecure_port(address)
    await self._grpc.start()

  async def __aexit__(self, *unused) -> None:
    """Stops taking requests, answers those under way for a few seconds, frees the model."""
    grace = _GRACE_SECONDS + _LAST_SECONDS
    self.ended, *_ = await asyncio.gather(
      asyncio.to_thread(self.versions.close, _GRACE_SECONDS),
      self._runner.cleanup(),
      *([self._grpc.stop(grace)] if self._grpc else []),
    )


async def _serve(options: ServerOptions) -> bool:
  """Serves until a signal comes; returns whether everything has come to its end."""
  stop = asyncio.Event()
  loop = asyncio.get_running_loop()
  for number in (signal.SIGINT, signal.SIGTERM):
    loop.add_signal_handler(number, stop.set)
  async with Server(options) as server:
    version = server.versions.batcher().servable.version
    print(f"serving {server.name}, version {version}; stop with Ctrl-C", flush=True)
    host = _in_url(options.host)
    print(f"  page   http://{host}:{server.port}/", flush=True)
    print(f"  REST   http://{host}:{server.port}/v1/models/{server.name}:predict", flush=True)
    if server.grpc_port:
      print(f"  gRPC   {host}:{server.grpc_port}", flush=True)
    await stop.wait()
    print("stopping: answering the requests under way", flush=True)
  return server.ended


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of `python -m bert_tf serve`."""
  default = ServerOptions("")
  parser.add_argument("model_dir", metavar="DIR", help="what export_model.py wrote")
  parser.add_argument("--name", help="the model's name in requests (default: the directory's)")
  parser.add_argument(
    "--host", default=default.host, help="address to listen on (default: %(default)s)"
  )
  parser.add_argument("--port", type=int, default=default.port, help="of HTTP; 0: any free one")
  parser.add_argument(
    "--grpc_port", type=int, default=default.grpc_port, help="of gRPC; 0: any; -1: none"
  )
  parser.add_argument(
    "--max_batch_size", type=int, default=default.max_batch_size, help="most rows in a run"
  )
  parser.add_argument(
    "--batch_timeout_ms",
    type=float,
    default=default.batch_timeout_ms,
    help="how long a batch waits for more requests (default: %(default)s)",
  )
  parser.add_argument(
    "--max_queue", type=int, default=default.max_queue, help="most rows that wait"
  )
  parser.add_argument(
    "--max_body", type=int, default=default.max_body, help="most bytes of a request"
  )
  parser.add_argument(
    "--poll_seconds",
    type=float,
    default=default.poll_seconds,
    help="how often to look for new versions (default: %(default)s)",
  )


def run(args: argparse.Namespace) -> None:
  """Serves until a signal comes."""
  for name in ("max_batch_size", "max_queue", "max_body"):
    if getattr(args, name) < 1:
      raise UserError(f"expected --{name} of at least 1, found {getattr(args, name)}")
  for name in ("port", "grpc_port"):
    lowest = -1 if name == "grpc_port" else 0
    if not lowest <= getattr(args, name) <= 65535:
      raise UserError(f"expected --{name} from {lowest} to 65535, found {getattr(args, name)}")
  if not 0 < args.poll_seconds < _LONGEST_PAUSE:
    raise UserError(f"expected --poll_seconds of more than 0, found {args.poll_seconds}")
  if not 0 <= args.batch_timeout_ms < _LONGEST_PAUSE:
    raise UserError(f"expected --batch_timeout_ms of at least 0, found {args.batch_timeout_ms}")
  locate.find(args.model_dir)
  _import_all()
  if not _is_loopback(args.host):
    print(
      f"note: listening on {args.host}: whoever can reach it can use the model", file=sys.stderr
    )
  import tensorflow as tf

  # The session loader, which is the one to test with, is marked as deprecated.
  tf.get_logger().setLevel("ERROR")
  names = {field.name for field in dataclasses.fields(ServerOptions)}
  options = ServerOptions(**{k: v for k, v in vars(args).items() if k in names})
  if not asyncio.run(_serve(options)):
    # A thread is in the model, where nothing can stop it; Python's own end may wait for it.
    print("stopped in the middle of a run of the model", file=sys.stderr, flush=True)
    os._exit(0)


def _in_url(host: str) -> str:
  return f"[{host}]" if ":" in host else host


def _is_loopback(host: str) -> bool:
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"
