"""What a server writes on standard error: lines of text or JSON, and never too many of a kind."""

from __future__ import annotations

import contextvars
import json
import logging
import re
import secrets
import sys
import time
from typing import IO, Any

FORMATS = ("text", "json")
# So many lines of a kind in so many seconds are written; the others are counted.
_BURST, _SECONDS = 10, 10.0
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_ACCESS = logging.getLogger("bert_tf.access")

# The request that is being answered.
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


def take_request_id(given: str | None) -> str:
  """The id that a client or a proxy has given its request, or else a new one; sets `request_id`."""
  known = given if given and _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
  request_id.set(known)
  return known


class RateLimit(logging.Filter):
  """Lets a few lines of a kind through in a while; the next one says how many were left out.

  Lines are of a kind that come from the same place of the code.
  """

  def __init__(self, burst: int = _BURST, seconds: float = _SECONDS):
    super().__init__()
    self._burst = burst
    self._seconds = seconds
    self._kinds: dict[tuple[str, int], list[float]] = {}

  def filter(self, record: logging.LogRecord) -> bool:
    """See `logging.Filter`."""
    if record.name == _ACCESS.name:
      return True
    now = time.monotonic()
    kind = self._kinds.setdefault((record.pathname, record.lineno), [now, 0.0, 0.0])
    began, written, left_out = kind
    if now - began > self._seconds:
      if left_out:
        record.msg = f"{record.getMessage()} ({left_out:.0f} lines like this were left out)"
        record.args = ()
      kind[:] = now, 1.0, 0.0
      return True
    if written < self._burst:
      kind[1] += 1
      return True
    kind[2] += 1
    return False


class JsonFormatter(logging.Formatter):
  """One JSON object a line: time, severity, message, request_id, and the facts of a request."""

  def format(self, record: logging.LogRecord) -> str:
    """See `logging.Formatter`."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    line: dict[str, Any] = {
      "time": f"{seconds}.{int(record.msecs):03d}Z",
      "severity": record.levelname,
      "message": record.getMessage(),
    }
    if known := request_id.get():
      line["request_id"] = known
    line.update(getattr(record, "facts", {}))
    if record.exc_info:
      line["exception"] = self.formatException(record.exc_info)
    return json.dumps(line, ensure_ascii=False, default=str)


def configure(log_format: str, stream: IO[str] | None = None) -> None:
  """Sends all logs of this process to standard error, in one of `FORMATS`."""
  handler = logging.StreamHandler(stream or sys.stderr)
  text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
  handler.setFormatter(JsonFormatter() if log_format == "json" else text)
  handler.addFilter(RateLimit())
  root = logging.getLogger()
  for other in list(root.handlers):
    root.removeHandler(other)
  root.addHandler(handler)
  for name in ("absl", "aiohttp.server", "asyncio"):
    logger = logging.getLogger(name)
    logger.propagate = True
    for other in list(logger.handlers):
      logger.removeHandler(other)
  logging.getLogger("absl").setLevel(logging.INFO)
  # Every request is a line where a machine reads them; people look at the metrics.
  _ACCESS.setLevel(logging.INFO if log_format == "json" else logging.CRITICAL)


def access(api: str, method: str, path: str, code: str, seconds: float, client: str) -> None:
  """Writes the line of a request that has been answered."""
  facts = {
    "api": api, "method": method, "path": path[:200], "code": code,
    "seconds": round(seconds, 6), "client": client,
  }  # fmt: skip
  _ACCESS.info("%s %s %s", method, path[:200], code, extra={"facts": facts})
