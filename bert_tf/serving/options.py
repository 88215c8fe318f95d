"""What `serve` is told: flags, their help and their bounds. Needs no TensorFlow."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
from typing import Any

from bert_tf.errors import UserError

_MIB = 1 << 20
# Threads can wait no longer than some hundred years.
_LONGEST = 1e9
LOG_FORMATS = ("text", "json")


def _flag(default: Any, what: str, least: float | None = None, most: float | None = None) -> Any:
  """A field that is a flag. `least` is not among decimals that must be more."""
  return dataclasses.field(default=default, metadata={"help": what, "least": least, "most": most})


@dataclasses.dataclass(frozen=True)
class ServerOptions:
  """What to serve and how; every field but the first is a flag of `serve`."""

  model_dir: str | None = None
  models_config: str | None = _flag(
    None, "a models.config as of TensorFlow Serving, in place of DIR: several models, with labels"
  )
  name: str | None = _flag(None, "the model's name in requests (default: the directory's)")
  host: str = _flag("127.0.0.1", "address to listen on; nobody is asked who they are")
  port: int = _flag(8501, "of HTTP; 0: any free one", 0, 65535)
  grpc_port: int = _flag(8500, "of gRPC; 0: any free one; -1: none", -1, 65535)
  tls_certificate: str | None = _flag(
    None, "PEM file with the certificate chain: encrypt both ports"
  )
  tls_key: str | None = _flag(None, "PEM file with the key of --tls_certificate")
  allowed_hosts: str = _flag(
    "", "names, between commas, that requests may ask for besides those of this machine"
  )
  max_batch_size: int = _flag(32, "most rows in a run", 1)
  batch_timeout_ms: float = _flag(2.0, "how long a batch waits for more requests", 0)
  max_queue: int = _flag(1024, "most rows that wait; further requests are refused", 1)
  max_body: int = _flag(_MIB, "most bytes of a request", 1)
  max_pieces: int = _flag(1 << 16, "most word pieces of the texts of a request", 1)
  max_windows: int = _flag(256, "most windows that the texts of a request are read in", 1)
  request_seconds: float = _flag(60.0, "longest time for a request; then its run is stopped", 0.001)
  max_connections: int = _flag(
    0, "most HTTP connections; 0: as many as there may be files, but 100, and at most 1000", 0
  )
  header_seconds: float = _flag(10.0, "longest time for the headers of a request", 0.001)
  idle_seconds: float = _flag(60.0, "longest time between two requests of a connection", 0.001)
  stall_seconds: float = _flag(
    10.0, "not ready where all workers have been in one run each for so long", 0.001
  )
  poll_seconds: float = _flag(2.0, "how often to look for new versions", 0.001)
  log_format: str = _flag(
    "text", "json: a line of JSON for every request and every error, with its id"
  )

  def check(self) -> None:
    """Raises UserError for what cannot be."""
    if (self.model_dir is None) == (self.models_config is None):
      found = "both" if self.model_dir else "neither"
      raise UserError(f"expected DIR or `models_config`, found {found}; give one of them")
    if self.models_config and self.name:
      raise UserError(
        "expected no `name` with `models_config`, which names its models; leave it out"
      )
    if self.log_format not in LOG_FORMATS:
      raise UserError(
        f"`log_format`: expected one of {', '.join(LOG_FORMATS)}, found {self.log_format!r}"
      )
    for field in dataclasses.fields(self):
      _check_bounds(field, getattr(self, field.name))
    self._check_tls()

  def _check_tls(self) -> None:
    if bool(self.tls_certificate) != bool(self.tls_key):
      raise UserError("expected `tls_certificate` and `tls_key`, found one of them; give both")
    for name in ("tls_certificate", "tls_key"):
      path = getattr(self, name)
      if path and not os.path.isfile(path):
        raise UserError(f"`{name}`: expected a PEM file, found none at {path!r}")

  @property
  def host_names(self) -> tuple[str, ...]:
    """`allowed_hosts` one by one."""
    return tuple(name.strip() for name in self.allowed_hosts.split(",") if name.strip())


def _check_bounds(field: dataclasses.Field, value: Any) -> None:
  least, most = field.metadata.get("least"), field.metadata.get("most")
  if least is None:
    return
  if isinstance(value, float) and not (math.isfinite(value) and least <= value < _LONGEST):
    wanted = "more than 0" if least else "at least 0"
    raise UserError(f"`{field.name}`: expected {wanted}, found {value}")
  if value < least or (most is not None and value > most):
    bounds = f"at least {least}" if most is None else f"from {least} to {most}"
    raise UserError(f"`{field.name}`: expected {bounds}, found {value}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of `python -m bert_tf serve`."""
  parser.add_argument("model_dir", metavar="DIR", nargs="?", help="what export_model.py wrote")
  for field in dataclasses.fields(ServerOptions):
    if not field.metadata:
      continue
    kind = type(field.default) if isinstance(field.default, (int, float)) else str
    shown = "" if field.default in (None, "") else " (default: %(default)s)"
    parser.add_argument(
      f"--{field.name}", type=kind, default=field.default, help=field.metadata["help"] + shown
    )


def of_arguments(args: argparse.Namespace) -> ServerOptions:
  """The options of a command line; raises UserError for what cannot be."""
  names = {field.name for field in dataclasses.fields(ServerOptions)}
  options = ServerOptions(**{k: v for k, v in vars(args).items() if k in names})
  options.check()
  return options
