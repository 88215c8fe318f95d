"""Text files to documents: one sentence a line, documents apart by blank lines."""

from __future__ import annotations

import gzip
import itertools
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Protocol

from bert_tf.data.records import GZIP_SUFFIX
from bert_tf.errors import UserError
from bert_tf.files import GZIP_MAGIC
from bert_tf.tokenization.basic import clean_words
from bert_tf.tokenization.case import case_of_vocabulary, validate_case_matches_checkpoint
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.writing_systems import MUCH_ERASED, erased_share

_SAMPLED_FILES = 10
_SAMPLED_CHARACTERS = 1 << 20
_SHARE_OF_CAPITALS = 0.01

Encode = Callable[[str], list[int]]


class Document:
  """Sentences one after the other, so that any run of them is one slice.

  Attributes:
    ids: pieces of all sentences.
    starts: where in `ids` each sentence begins, and at last where the document ends.
  """

  __slots__ = ("ids", "starts")

  def __init__(self, sentences: Iterable[list[int]] = ()):
    self.ids: list[int] = []
    self.starts = [0]
    for sentence in sentences:
      self.append(sentence)

  def append(self, sentence: list[int]) -> None:
    """Adds a sentence; an empty one is left out."""
    if sentence:
      self.ids += sentence
      self.starts.append(len(self.ids))

  def __len__(self) -> int:
    """How many sentences there are."""
    return len(self.starts) - 1

  def sentences(self, first: int = 0, last: int | None = None) -> list[list[int]]:
    """The sentences [first, last)."""
    starts = self.starts[first : last + 1 if last is not None else None]
    return [self.ids[start:end] for start, end in itertools.pairwise(starts)]


class Tokenizer(Protocol):
  """What is asked of `bert_tf.tokenization.FullTokenizer`."""

  settings: TokenizerSettings

  @property
  def vocab(self) -> Mapping[str, int]:
    """Token -> id."""

  def tokenize(self, text: str) -> list[str]:
    """Splits text into pieces of the vocabulary."""


# Words of ASCII and common typographic marks fall into runs of letters and digits, and marks:
# all of these marks are punctuation to BERT, and lower-casing and accents do not touch them.
_MARKS = "\u2013\u2014\u2018\u2019\u201c\u201d\u2026"
_is_plain = re.compile(f"[!-~{_MARKS}]*").fullmatch
_split_plain = re.compile(f"[0-9A-Za-z]+|[!-~{_MARKS}]").findall


def sentence_encoder(tokenizer: Tokenizer) -> Encode:
  """Returns a function from a line of text to the ids of its pieces.

  White space and controls never belong to a word, nor marks to one piece with letters, so the
  answer for a word or a part of it stands on its own and is remembered: text repeats its words.
  """
  vocab = tokenizer.vocab
  chain = itertools.chain.from_iterable

  def encode_any(text: str) -> list[int]:
    return [vocab[piece] for piece in tokenizer.tokenize(text)]

  # They may stand anywhere, in the middle of a word too.
  if tokenizer.settings.added_tokens:
    return encode_any
  parts_ideographs = tokenizer.settings.tokenize_chinese_chars
  ids_of_part = Memo(encode_any)

  def encode_word(word: str) -> list[int]:
    if not _is_plain(word):
      return encode_any(word)
    return list(chain(map(ids_of_part.__getitem__, _split_plain(word))))

  ids_of_word = Memo(encode_word)

  def encode(line: str) -> list[int]:
    # Printable ASCII holds nothing to clean.
    is_clean = line.isascii() and line.isprintable()
    words = line.split() if is_clean else clean_words(line, parts_ideographs)
    return list(chain(map(ids_of_word.__getitem__, words)))

  return encode


def open_input(path: str) -> BinaryIO | gzip.GzipFile:
  """Opens text for reading bytes, uncompressed if the name ends in `.gz`; may raise OSError."""
  return gzip.open(path, "rb") if path.endswith(GZIP_SUFFIX) else open(path, "rb")


def read_lines(path: str, progress: Callable[[int], object] | None = None) -> Iterator[str]:
  """Yields the lines of a UTF-8 file, stripped of white space at their ends.

  Lines end at line feeds alone.

  Args:
    path: gzip if it ends in `.gz`.
    progress: called now and then with the number of bytes read of the file as stored.

  Raises:
    UserError: the file cannot be read, or names the line that is not UTF-8.
  """
  number = 0
  try:
    with open_input(path) as file:
      raw: Any = file.fileobj if isinstance(file, gzip.GzipFile) else file
      for number, line in enumerate(file, start=1):
        yield line.decode("utf-8").strip()
        if progress and number % 1000 == 0:
          progress(raw.tell())
      if progress:
        progress(os.path.getsize(path))
  except UnicodeDecodeError as error:
    raise not_utf8_line(path, number, error) from error
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise UserError(
      f"{path}, after line {number}: expected gzip data, found {error}; write the file again"
    ) from error
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror}; check the path") from error


def not_utf8_line(path: str, number: int, error: UnicodeDecodeError) -> UserError:
  """What to say of a line that cannot be decoded; `error.object` is the line."""
  if number == 1 and error.object.startswith(GZIP_MAGIC):
    return UserError(
      f"{path}: expected UTF-8 text, found gzip data; give it a name that ends in {GZIP_SUFFIX}"
    )
  return UserError(
    f"{path}, line {number}: expected UTF-8 text, found byte 0x{error.object[error.start]:02x} "
    f"at position {error.start + 1}; convert the file, for example with iconv -t UTF-8"
  )


def check_case(files: Sequence[str], tokenizer: Tokenizer) -> None:
  """Refuses a vocabulary that contradicts `do_lower_case`, as the scripts that train do.

  Here the text itself can tell whether it was lower-cased beforehand, which is the one good reason
  to keep the case with a vocabulary that has none.

  Args:
    files: see `read_lines`; a megabyte of each of a few is looked at.
    tokenizer: of the vocabulary.

  Raises:
    UserError: capitals throughout the vocabulary although text is lower-cased; none in it, although
      the text has them and is not lower-cased.
  """
  if tokenizer.settings.do_lower_case:
    validate_case_matches_checkpoint(True, None, tokenizer.vocab)
    _warn_of_erased(files, tokenizer.settings)
    return
  if not case_of_vocabulary(tokenizer.vocab):
    return
  words = list(sample_of(files))
  capitals = [word for word in words if word != word.lower()]
  if len(capitals) > _SHARE_OF_CAPITALS * len(words):
    raise UserError(
      "expected a vocabulary and a `do_lower_case` that agree, found `do_lower_case=False` with a"
      f" vocabulary without capitals and a text that has them, such as {capitals[0]!r:.40}, which"
      " would become [UNK]; pass `do_lower_case=True`, or the vocabulary of a cased model"
    )


def _warn_of_erased(files: Sequence[str], settings: TokenizerSettings) -> None:
  """Says so where lower-casing takes away what tells words apart."""
  if not settings.strips_accents:
    return
  share = erased_share(sample_of(files))
  if share > MUCH_ERASED:
    logging.getLogger(__name__).warning(
      "`do_lower_case=True` strips marks that tell words apart from %.0f%% of the text's"
      " characters, as in Japanese, Hindi, Thai and Korean; models of these languages are cased:"
      " pass `do_lower_case=False` with a cased vocabulary",
      100 * share,
    )


def sample_of(files: Sequence[str]) -> Iterator[str]:
  """Words of the first megabyte of each of a few files."""
  for path in files[:_SAMPLED_FILES]:
    yield from _first_words(path)


def _first_words(path: str) -> Iterator[str]:
  size = 0
  for line in read_lines(path):
    yield from line.split()
    size += len(line)
    if size > _SAMPLED_CHARACTERS:
      return


def split_documents(lines: Iterable[str], encode: Encode) -> Iterator[Document]:
  """Groups the sentences between blank lines; what encodes to nothing is left out.

  A line of controls only is not blank: it separates nothing, as in the original.
  """
  document = Document()
  for line in lines:
    if line:
      document.append(encode(line))
    elif document:
      yield document
      document = Document()
  if document:
    yield document


def read_documents(
  files: Sequence[str],
  encode: Encode,
  progress: Callable[[int], object] | None = None,
) -> list[Document]:
  """Reads all documents into memory (original: `create_training_instances`, first half).

  The end of a file ends no document: one may run on in the next file, as in the original.

  Args:
    files: paths in order.
    encode: see `sentence_encoder`.
    progress: called with the number of bytes read since the last call.

  Raises:
    UserError: see `read_lines`; or there is no text.
  """
  lines = itertools.chain.from_iterable(
    read_lines(path, _differences(progress) if progress else None) for path in files
  )
  documents = list(split_documents(lines, encode))
  if not documents:
    raise UserError(
      f"expected one sentence a line, found no text in {', '.join(files)}; give files with text"
    )
  return documents


def _differences(progress: Callable[[int], object]) -> Callable[[int], None]:
  last = 0

  def report(position: int) -> None:
    nonlocal last
    progress(position - last)
    last = position

  return report
