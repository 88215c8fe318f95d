"""Bodies of HTTP: read and unpacked no further than they may be long, answers packed."""

from __future__ import annotations

import zlib

from aiohttp import web

from bert_tf.serving.errors import RequestError

# zlib's way to say: gzip's header or its own, whichever comes.
_EITHER_HEADER = 32 + zlib.MAX_WBITS
_PACKED = ("gzip", "x-gzip", "deflate")
# Answers under a network packet do not travel faster for being smaller.
_SMALL_ANSWER = 1400
# More bytes are packed in a thread.
_SMALL_WORK = 1 << 16


class HttpError(Exception):
  """A request that HTTP itself has a status for.

  Attributes:
    status: of the answer.
  """

  def __init__(self, status: int, message: str):
    super().__init__(message)
    self.status = status


async def read(request: web.BaseRequest, most: int) -> bytes:
  """The body of a request, unpacked.

  Raises:
    HttpError: it is longer than `most` bytes, packed or unpacked, or packed in an unknown way, or
      its client expects what no server does.
    RequestError: it is not packed as its headers say.
  """
  packing = request.headers.get("Content-Encoding", "identity").strip().lower()
  if packing not in ("identity", "", *_PACKED):
    raise HttpError(415, f"expected Content-Encoding gzip or none, found {packing[:40]!r}")
  if (request.content_length or 0) > most:
    raise _too_long(most)
  await _encourage(request)
  body = bytearray()
  unpacker = _Unpacker(most) if packing in _PACKED else None
  while chunk := await request.content.readany():
    body += unpacker(chunk, len(body)) if unpacker else chunk
    if len(body) > most:
      raise _too_long(most)
  if unpacker:
    unpacker.finish()
  return bytes(body)


async def _encourage(request: web.BaseRequest) -> None:
  """Tells a client that waits for it, as curl does with a long body, to send it."""
  expected = request.headers.get("Expect")
  if expected is None:
    return
  if expected.lower() != "100-continue":
    raise HttpError(417, f"expected Expect: 100-continue or none, found {expected[:40]!r}")
  await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
  request.writer.output_size = 0  # The answer is still to come.


def _too_long(most: int) -> HttpError:
  return HttpError(413, f"expected a body of at most {most} bytes, found more")


class _Unpacker:
  """Unpacks gzip or deflate, one member after the other, up to a number of bytes."""

  def __init__(self, most: int):
    self._most = most
    self._inner = zlib.decompressobj(_EITHER_HEADER)
    self._begun = False

  def __call__(self, chunk: bytes, found: int) -> bytes:
    """What a chunk becomes; one byte more than is allowed where it becomes more."""
    unpacked = bytearray()
    try:
      while chunk and found + len(unpacked) <= self._most:
        if self._inner.eof:
          self._inner = zlib.decompressobj(_EITHER_HEADER)
        self._begun = True
        unpacked += self._inner.decompress(chunk, self._most - found - len(unpacked) + 1)
        chunk = self._inner.unused_data or self._inner.unconsumed_tail
    except zlib.error as error:
      raise _broken() from error
    return bytes(unpacked)

  def finish(self) -> None:
    """Raises RequestError where the end is missing."""
    if self._begun and not self._inner.eof:
      raise _broken()


def _broken() -> RequestError:
  return RequestError("expected a body packed as Content-Encoding says, found broken data")


def answer(
  request: web.BaseRequest, body: bytes, content_type: str, status: int = 200
) -> web.Response:
  """An answer, packed with gzip where its client takes that and it is worth the while."""
  response = web.Response(
    body=body, status=status, headers={"Content-Type": content_type}, zlib_executor_size=_SMALL_WORK
  )
  if len(body) > _SMALL_ANSWER:
    response.headers["Vary"] = "Accept-Encoding"
    if _takes_gzip(request.headers.get("Accept-Encoding", "")):
      response.enable_compression(web.ContentCoding.gzip)
  return response


def _takes_gzip(accepted: str) -> bool:
  """Whether a list such as `gzip;q=0.5, br` has gzip in it."""
  for item in accepted.lower().split(","):
    coding, _, rest = item.partition(";")
    if coding.strip() in ("gzip", "x-gzip", "*"):
      return rest.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
  return False
