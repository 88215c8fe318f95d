"""Words of text that is written without spaces: from the text itself, a list, or a segmenter.

A segmenter takes a line and returns its words, which make up the line in their order; white space
between them may be left out.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable

from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.tokenization.basic import is_punctuation
from bert_tf.tokenization.writing_systems import UNSPACED_BLOCKS, count_unspaced

Segmenter = Callable[[str], Iterable[str]]

_RANGES = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED_BLOCKS)
_run_or_rest = re.compile(f"[{_RANGES}]+|[^\\s{_RANGES}]+").findall


@dataclasses.dataclass(frozen=True)
class WordBorders:
  """Where words begin in text without spaces; at most one of these is given.

  Attributes:
    segmented: the text has a space between any two words; those beside ideographs, Kana, Thai and
      the like are not kept.
    words_file: a list of words, one a line; the longest that fits is taken, from left to right.
    segmenter: `jieba`, or `module:function`.
  """

  segmented: bool = False
  words_file: str = ""
  segmenter: str = ""

  def __post_init__(self) -> None:
    given = [field.name for field in dataclasses.fields(self) if getattr(self, field.name)]
    if len(given) > 1:
      raise UserError(f"expected one source of words, found {' and '.join(map(_quoted, given))}")

  def __bool__(self) -> bool:
    """Whether any is given."""
    return bool(self.segmented or self.words_file or self.segmenter)

  def load(self) -> Segmenter:
    """The function from a line to its words.

    Raises:
      UserError: a file or a function that is not there.
    """
    if self.words_file:
      return longest_match(read_words(self.words_file))
    return named_segmenter(self.segmenter) if self.segmenter else str.split


def _quoted(name: str) -> str:
  return f"`{name}`"


def named_segmenter(name: str) -> Segmenter:
  """`jieba`, or a function by `module:function`.

  Raises:
    UserError: it cannot be imported.
  """
  if name == "jieba":
    try:
      import jieba
    except ImportError as error:
      raise UserError(
        "`segmenter=jieba`: expected the package jieba, found none; pip install 'bert_tf[chinese]'"
      ) from error
    jieba.setLogLevel(logging.WARNING)
    return jieba.lcut
  module_name, colon, function_name = name.partition(":")
  if not colon or not module_name or not function_name:
    raise UserError(f"`segmenter`: expected jieba or module:function, found {name!r}")
  # A console command does not look where it is started.
  if os.getcwd() not in sys.path:
    sys.path.append(os.getcwd())
  try:
    function = getattr(importlib.import_module(module_name), function_name)
  except (ImportError, AttributeError) as error:
    raise UserError(f"`segmenter={name}`: expected a function, found none: {error}") from error
  if not callable(function):
    raise UserError(f"`segmenter={name}`: expected a function, found {type(function).__name__}")
  return function


def read_words(path: str) -> frozenset[str]:
  """Reads a list of words, one a line; what follows a tab or a space, such as a count, is left out.

  Raises:
    UserError: no such file, no UTF-8, or no words.
  """
  existing_file(path, "words_file")
  try:
    with open(path, encoding="utf-8-sig") as file:
      words = frozenset(line.split()[0] for line in file if line.strip())
  except UnicodeDecodeError as error:
    raise UserError(f"{path}: expected UTF-8, found {error.reason}; convert the file") from error
  if not words:
    raise UserError(f"{path}: expected a word a line, found none")
  return words


def longest_match(words: frozenset[str]) -> Segmenter:
  """Segments by taking the longest of `words` that fits, from left to right.

  What is not of a script without spaces is left whole; other characters are words by themselves.

  >>> longest_match(frozenset(["北京", "大学", "北京大学"]))("我在北京大学 BERT")
  ['我', '在', '北京大学', 'BERT']
  """
  longest = max(map(len, words))

  def segment(line: str) -> list[str]:
    found: list[str] = []
    for run in _run_or_rest(line):
      if not count_unspaced(run[0]):
        found.append(run)
        continue
      start = 0
      while start < len(run):
        end = min(len(run), start + longest)
        while end > start + 1 and run[start:end] not in words:
          end -= 1
        found.append(run[start:end])
        start = end
    return found

  return segment


def joined(words: Iterable[str]) -> tuple[str, set[int]]:
  """The text of pre-segmented words, and the characters at which they begin.

  A space is kept between two words neither of which has a character of a script without spaces at
  the border.

  >>> joined(["BERT", "model", "在", "北京", "2018"])
  ('BERT model在北京2018', {0, 5, 10, 11, 13})
  """
  text = ""
  borders = set()
  for word in words:
    if text and not count_unspaced(text[-1] + word[0]):
      text += " "
    borders.add(len(text))
    text += word
  return text, borders


def borders_of(text: str, words: Iterable[str]) -> set[int]:
  """The characters of `text` at which `words` begin.

  Raises:
    UserError: they do not make up the text.
  """
  borders = set()
  place = 0
  for word in words:
    if not word.strip():
      continue
    while text[place : place + 1].isspace() and not word[0].isspace():
      place += 1
    if not text.startswith(word, place):
      raise UserError(
        f"`segmenter`: expected words that make up the line, found {word!r:.40} where it goes on"
        f" with {text[place : place + 20]!r}; it must not change the text"
      )
    borders.add(place)
    place += len(word)
  if text[place:].strip():
    raise UserError(
      f"`segmenter`: expected words for all of the line, none for {text[place:]!r:.40}"
    )
  return borders


def begins_word(text: str, start: int, is_suffix: bool, borders: set[int]) -> bool:
  """Whether the piece of `text` at `start` begins a word.

  At a border it does. Elsewhere the pieces of a word go on with it, and so do characters of scripts
  without spaces; punctuation stands by itself.

  Args:
    text: the line.
    start: the piece's first character.
    is_suffix: it begins with "##".
    borders: where words begin.
  """
  if start in borders:
    return True
  if is_suffix:
    return False
  pair = text[max(start - 1, 0) : start + 1]
  return count_unspaced(pair) < 2 or any(map(is_punctuation, pair))
