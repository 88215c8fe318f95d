"""What a server refuses, and how the interfaces call it."""

from __future__ import annotations

import re


class RequestError(ValueError):
  """A request that cannot be answered.

  Attributes:
    code: the gRPC status code's name, such as "INVALID_ARGUMENT".
  """

  def __init__(self, message: str, code: str = "INVALID_ARGUMENT"):
    super().__init__(message)
    self.code = code


# Code -> HTTP status, as `ToHTTPStatusCode` of TensorFlow Serving's http_server.cc has it.
HTTP_STATUS = {
  "OK": 200,
  "CANCELLED": 499,
  "UNKNOWN": 500,
  "INVALID_ARGUMENT": 400,
  "DEADLINE_EXCEEDED": 504,
  "NOT_FOUND": 404,
  "ALREADY_EXISTS": 409,
  "PERMISSION_DENIED": 403,
  "RESOURCE_EXHAUSTED": 429,
  "FAILED_PRECONDITION": 400,
  "ABORTED": 409,
  "OUT_OF_RANGE": 400,
  "UNIMPLEMENTED": 501,
  "INTERNAL": 500,
  "UNAVAILABLE": 503,
  "DATA_LOSS": 500,
  "UNAUTHENTICATED": 401,
}

_LONGEST_REASON = 300
_NOISE = ("Graph execution error", "Detected at node", "File ", "[[", "(most recent")


def reason(error: BaseException) -> str:
  """What went wrong in a graph, without the trace of nodes and source lines around it."""
  text = str(getattr(error, "message", None) or error)
  marker = "assertion failed: ["
  if marker in text:
    return text.split(marker, 1)[1].split("]", 1)[0].strip()[:_LONGEST_REASON]
  lines = [line.strip() for line in text.splitlines()]
  coded = re.compile(r"(?:\(\d+\) )?[A-Z_]{5,}: +(.+)")
  reasons = [match.group(1) for line in lines if (match := coded.match(line))]
  others = [line for line in lines if line and not line.startswith(_NOISE)]
  return (reasons or others or [f"{type(error).__name__} without a reason"])[0][:_LONGEST_REASON]
