"""Cuts text files into shards at document boundaries, and reads them block by block.

The cut depends on the files and on `shard_bytes` alone, so that a shard holds the same documents
whoever works on it, and whenever.
"""

from __future__ import annotations

import gzip
import itertools
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, TypeAlias

from bert_tf.data.documents import Document, Encode, not_utf8_line, open_input
from bert_tf.data.records import GZIP_SUFFIX
from bert_tf.errors import UserError

# Opens text for reading bytes, see `open_input`.
Opener: TypeAlias = "Callable[[str], BinaryIO | gzip.GzipFile]"

# Text compresses to about a third.
_GZIP_RATIO = 3
_SMALL_SHARE = 4


class Piece(NamedTuple):
  """Bytes [start, end) of a file; compressed files are read whole, their `end` is an estimate.

  `ends_file`: they are its last ones.
  """

  path: str
  start: int
  end: int
  ends_file: bool = True

  @property
  def size(self) -> int:
    """Bytes of text."""
    return self.end - self.start


Shard = list[Piece]


def plan_shards(files: Sequence[str], shard_bytes: int) -> list[Shard]:
  """Cuts the files into shards of about `shard_bytes` of text.

  Large files are cut evenly, small ones share a shard (a shard of few documents would have too few
  others to take random sentences from); a compressed file is never cut.
  """
  shards: list[Shard] = []
  room = 0
  pieces = (piece for path in files for piece in cut_file(path, os.path.getsize(path), shard_bytes))
  for piece in pieces:
    if piece.size > room or not shards:
      shards.append([])
      room = shard_bytes
    shards[-1].append(piece)
    room -= piece.size
  if len(shards) > 1 and text_bytes(shards[-1]) * _SMALL_SHARE < shard_bytes:
    last = shards.pop()
    shards[-1] += last
  return shards


def text_bytes(shard: Shard) -> int:
  """Bytes of text of a shard (compressed: estimated)."""
  return sum(piece.size for piece in shard)


def cut_file(
  path: str,
  size: int,
  shard_bytes: int,
  opener: Opener = open_input,
) -> list[Piece]:
  """Cuts a file of `size` bytes evenly, at document boundaries; see `plan_shards`."""
  if path.endswith(GZIP_SUFFIX):
    return [Piece(path, 0, size * _GZIP_RATIO)] if size else []
  count = -(-size // shard_bytes)
  if count < 2:
    return [Piece(path, 0, size)] if size else []
  with opener(path) as file:
    cuts = [_next_document(file, size * i // count, shard_bytes // 2) for i in range(1, count)]
  bounds = [0, *cuts, size]
  return [
    Piece(path, start, end, end == size) for start, end in itertools.pairwise(bounds) if start < end
  ]


def _next_document(file: BinaryIO | gzip.GzipFile, offset: int, window: int) -> int:
  """Where the first document after the line at `offset` begins.

  If no blank line is near, the next line: a document is then in two shards.  Greater offsets never
  give smaller results.
  """
  file.seek(offset)
  file.readline()
  next_line = position = file.tell()
  while position < next_line + window and (line := file.readline()):
    position += len(line)
    if not line.strip():
      return position
  return next_line


class Block(NamedTuple):
  """Documents that are worked on together.

  Attributes:
    documents: none of them empty.
    num_bytes: of text they were read from.
    num_ended: how many were ended by a blank line or the end of their file, not cut.
  """

  documents: list[Document]
  num_bytes: int
  num_ended: int


def read_blocks(
  shard: Shard,
  encode: Encode,
  block_bytes: int,
  opener: Opener = open_input,
) -> Iterator[Block]:
  """Reads a shard line by line; memory is bounded by `block_bytes`.

  The end of a file ends a document.  One that is longer than a block is cut.  `opener` uncompresses
  by the name, and may know more file systems than the local one.

  Raises:
    UserError: names file and line of what cannot be read.
  """
  documents = [Document()]
  num_bytes = num_ended = 0
  for piece in shard:
    for line, size in _lines(piece, opener):
      num_bytes += size
      if line:
        documents[-1].append(encode(line))
      elif documents[-1]:
        documents.append(Document())
        num_ended += 1
      if num_bytes >= block_bytes and (not line or num_bytes >= 2 * block_bytes):
        yield Block([document for document in documents if document], num_bytes, num_ended)
        documents, num_bytes, num_ended = [Document()], 0, 0
    num_ended += bool(documents[-1]) and piece.ends_file
    documents.append(Document())
  yield Block([document for document in documents if document], num_bytes, num_ended)


def _lines(piece: Piece, opener: Opener) -> Iterator[tuple[str, int]]:
  """Stripped lines and how many bytes they took."""
  compressed = piece.path.endswith(GZIP_SUFFIX)
  position = piece.start
  try:
    with opener(piece.path) as file:
      if position:
        file.seek(position)
      for line in file:
        yield line.decode("utf-8").strip(), len(line)
        position += len(line)
        if position >= piece.end and not compressed:
          return
  except UnicodeDecodeError as error:
    raise not_utf8_line(piece.path, _line_number(opener, piece.path, position), error) from error
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise UserError(
      f"{piece.path}: expected gzip data, found {error}; write the file again"
    ) from error
  except OSError as error:
    raise UserError(f"cannot read {piece.path}: {error.strerror or error}") from error


def _line_number(opener: Opener, path: str, position: int) -> int:
  """The number of the line that begins at `position`."""
  number = 1
  with opener(path) as file:
    for line in file:
      if (position := position - len(line)) < 0:
        break
      number += 1
  return number
