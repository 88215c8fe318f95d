"""Sentences in files such as CoNLL's: a word and its tag a line, blank lines between sentences."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence

from bert_tf.errors import UserError
from bert_tf.files import carriage_returns, existing_file, not_utf8
from bert_tf.tokenization import segmenters

OUTSIDE = "O"
# IOB1, IOB2, BIOES, and BMES, whose M is an I.
_TAG = re.compile(r"O|[BIMES]-.+")
_DOCUMENT = "-DOCSTART-"

# What files of each split are called: CoNLL's testa and testb, and more.
_SPLITS = {
  "train": "train|training",
  "dev": "dev|devel|development|valid|validation|testa",
  "test": "test|testb",
}
# Of other content, or written by a training.
_OTHER_FILES = re.compile(
  r"\.(json|jsonl|csv|gz|zip|md|py|log|parquet|arrow|tf_?records?)$|predictions|results"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
  """Words in their order.

  Attributes:
    words: as they stand in the file.
    tags: one for each word, such as B-PER; None where they are not known.
    path: the file.
    first_line: where in it the first word is, from 1; the others follow line by line.
  """

  words: list[str]
  tags: list[str] | None
  path: str
  first_line: int

  def text(self, first: int, last: int) -> str:
    """The words first .. last (inclusive) as they stand in running text.

    There is no space beside an ideograph, nor where every word is a single character.
    """
    words = self.words[first : last + 1]
    if all(len(word) == 1 for word in self.words):
      return "".join(words)
    return segmenters.joined(word for word in words if word.strip())[0]

  def where(self, index: int) -> str:
    """File and line of a word, for messages."""
    return f"{self.path}: line {self.first_line + index}"


@dataclasses.dataclass(frozen=True)
class Columns:
  """Which columns hold the words and their tags: numbers from 0, or from -1 at the end."""

  token: int = 0
  label: int = -1


def find_file(data_dir: str | None, split: str, given: str | None = None) -> str:
  """Returns the file of "train", "dev" or "test".

  Args:
    data_dir: is searched for a name such as train.txt or, where there is none, wnut17train.conll.
    split: see above.
    given: a file, in `data_dir` or elsewhere, that goes before.

  Raises:
    UserError: there is none, or several.
  """
  if given:
    inside = os.path.join(data_dir or "", given)
    return inside if os.path.exists(inside) and not os.path.exists(given) else given
  if not data_dir or not os.path.isdir(data_dir):
    missing = f"nothing at {data_dir!r}" if data_dir else "none"
    raise UserError(
      f"`data_dir`: expected a directory, found {missing}; name it, or the file with `{split}_file`"
    )
  names = [
    name
    for name in sorted(os.listdir(data_dir))
    if os.path.isfile(os.path.join(data_dir, name))
    and not name.startswith(".")
    and not _OTHER_FILES.search(name.lower())
  ]
  exact = [n for n in names if re.fullmatch(_SPLITS[split], n.split(".")[0].lower())]
  word = re.compile(rf"(?<![a-z])({_SPLITS[split]})(?![a-z])")
  found = exact or [n for n in names if word.search(n.lower())]
  if len(found) != 1:
    raise UserError(
      f"expected one file such as {split}.txt in {data_dir}, found {', '.join(found) or 'none'};"
      f" name it with `{split}_file`"
    )
  return os.path.join(data_dir, found[0])


def read_sentences(path: str, columns: Columns, labelled: bool = True) -> list[Sentence]:
  """Reads a file.

  Columns are separated by tabs or, in lines without one, by spaces. Lines that begin with
  -DOCSTART- separate sentences as blank ones do.

  Args:
    path: UTF-8, with or without a byte order mark.
    columns: see there.
    labelled: whether tags must be there; otherwise a file that lacks their column has none.

  Raises:
    UserError: the file is not to be read, empty, or a line is wrong; names file and line.
  """
  existing_file(path, "data file")
  sentences: list[Sentence] = []
  current: Sentence | None = None
  reader: _Row | None = None
  for number, line in _lines(path):
    cells = _cells(line)
    if not cells or cells[0].startswith(_DOCUMENT):
      current = None
      continue
    reader = reader or _Row(path, number, len(cells), columns, labelled)
    word, tag = reader.read(number, reader.with_blank(line, cells))
    if current is None:
      current = Sentence([], None if tag is None else [], path, number)
      sentences.append(current)
    current.words.append(word)
    if tag is not None and current.tags is not None:
      current.tags.append(tag)
  if not sentences:
    raise UserError(f"{path}: expected a word and its tag a line, found blank lines; add sentences")
  return sentences


def digest(sentences: Iterable[Sentence]) -> str:
  """What tells sentences from others where there is no file."""
  rows = [(sentence.words, sentence.tags) for sentence in sentences]
  return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def tags_of(sentences: Iterable[Sentence]) -> list[str]:
  """All tags that occur: O first, then type by type, beginnings before what they begin."""
  found = {tag for sentence in sentences for tag in sentence.tags or ()}
  return sorted(found, key=lambda tag: (tag != OUTSIDE, tag[2:], "BIMES".find(tag[0])))


def check_tags(tags: Sequence[str], source: str) -> None:
  """Raises UserError, which names `source`, unless a model can have these outputs."""
  wrong = [tag for tag in tags if not _TAG.fullmatch(tag)]
  if wrong or len(set(tags)) < len(tags):
    raise UserError(
      f"{source}: expected every tag once, O, B-PER, I-PER and so on (also M-, E- and S-), found"
      f" {wrong[0] if wrong else 'repetitions in ' + ', '.join(tags)!r}; mend the list"
    )
  if len(tags) < 2 or OUTSIDE not in tags:
    raise UserError(
      f"{source}: expected O and at least one tag of entities, found {', '.join(tags) or 'none'};"
      " is `label_column` right?"
    )


class _Row:
  """Reads the lines of one file, which have as many columns as its first."""

  def __init__(self, path: str, number: int, width: int, columns: Columns, labelled: bool):
    self._path = path
    self._first = number
    self._width = width
    self._token = self._index(columns.token, "token_column")
    label = columns.label + width * (columns.label < 0)
    # Of a single column the last is that of the words.
    if not labelled and (not 0 <= label < width or (width == 1 and columns.label < 0)):
      self._label = None
      return
    self._label = self._index(columns.label, "label_column")
    if self._label == self._token:
      raise UserError(
        f"{path}: line {number}: expected a word and its tag, found"
        f" {'a single column' if width == 1 else 'both in one column'}; separate them by a tab or"
        " a space, or correct `token_column` and `label_column`"
      )

  def _index(self, column: int, flag: str) -> int:
    index = column + self._width * (column < 0)
    if not 0 <= index < self._width:
      raise UserError(
        f"{self._path}: line {self._first}: expected a column {column} (`{flag}`, from 0 at the"
        f" left or -1 at the right), found {self._width}"
      )
    return index

  def with_blank(self, line: str, cells: list[str]) -> list[str]:
    """The cells of a line, whose word may be a blank: in files of characters that is one."""
    is_short = self._token == 0 and "\t" not in line and len(cells) == self._width - 1
    return [" ", *cells] if is_short and line.startswith(" ") else cells

  def read(self, number: int, cells: list[str]) -> tuple[str, str | None]:
    """Word and tag of a line."""
    where = f"{self._path}: line {number}"
    if len(cells) != self._width:
      raise UserError(
        f"{where}: expected {self._width} columns as in line {self._first}, found {len(cells)};"
        " correct the line"
      )
    word = cells[self._token]
    if not word:
      raise UserError(f"{where}: expected a word, found an empty column; correct the line")
    if self._label is None:
      return word, None
    tag = cells[self._label]
    if not _TAG.fullmatch(tag):
      raise UserError(
        f"{where}: expected a tag such as O, B-PER or I-PER (M-, E- and S- as in BMES and BIOES),"
        f" found {tag!r}; correct it, or `label_column`"
      )
    return word, tag


def _lines(path: str) -> Iterator[tuple[int, str]]:
  """Yields (number from 1, line). Of all characters only a line feed ends a line."""
  with open(path, encoding="utf-8-sig", newline="\n") as file:
    try:
      for number, line in enumerate(file, start=1):
        # White space to everything else, it would hide all lines but one.
        if "\r" in line.rstrip("\r\n"):
          raise carriage_returns(path, number)
        yield number, line
    except UnicodeDecodeError as error:
      raise not_utf8(path, error) from error


def _cells(line: str) -> list[str]:
  """The columns of a line; none of a blank one."""
  if not line.strip():
    return []
  line = line.rstrip("\r\n")
  if "\t" in line:
    # A word may be a blank, which stays.
    cells = line.rstrip("\t ").split("\t")
    return [cell.strip(" ") or cell[:1] for cell in cells]
  return re.split(" +", line.strip(" "))
