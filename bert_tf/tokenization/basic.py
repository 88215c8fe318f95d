"""Text to words: cleaning, lower-casing, accent stripping, splitting at punctuation.

The answers are those of `BasicTokenizer` in google-research/bert `tokenization.py` on every
string, under the Unicode tables of the running interpreter (`unicodedata`).
"""

from __future__ import annotations

import unicodedata

from bert_tf.errors import UserError
from bert_tf.tokenization.memo import Memo

# The blocks that the original calls "CJK": ideographs, which it surrounds with spaces; Hiragana,
# Katakana and Hangul are not among them (`_is_chinese_char`).
CHINESE_BLOCKS = (
  (0x4E00, 0x9FFF),
  (0x3400, 0x4DBF),
  (0x20000, 0x2A6DF),
  (0x2A700, 0x2B73F),
  (0x2B740, 0x2B81F),
  (0x2B820, 0x2CEAF),
  (0xF900, 0xFAFF),
  (0x2F800, 0x2FA1F),
)


def convert_to_unicode(text: str | bytes) -> str:
  """Returns `text` as a string; bytes are read as UTF-8 and undecodable ones are left out.

  Raises:
    UserError: `text` is neither `str` nor `bytes`.
  """
  if isinstance(text, str):
    return text
  if isinstance(text, bytes):
    return text.decode("utf-8", "ignore")
  raise UserError(f"expected text as str or bytes, found {type(text).__name__}; convert it first")


def printable_text(text: str | bytes) -> str:
  """Returns `text` as `print` and log functions take it; in Python 3 that is any string."""
  return convert_to_unicode(text)


def is_chinese_char(code_point: int) -> bool:
  """True for the ideographs that become a word each."""
  return code_point >= 0x3400 and any(first <= code_point <= last for first, last in CHINESE_BLOCKS)


def is_whitespace(char: str) -> bool:
  """True for space, tab, line feed, carriage return and category Zs."""
  return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_control(char: str) -> bool:
  """True for categories Cc and Cf, apart from the three that count as white space."""
  return char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf")


def is_punctuation(char: str) -> bool:
  """True for categories P* and every ASCII character that is no letter, digit, space or control.

  So `^`, `$` and `` ` `` count, although Unicode calls them symbols.
  """
  code_point = ord(char)
  if 33 <= code_point <= 47 or 58 <= code_point <= 64:
    return True
  if 91 <= code_point <= 96 or 123 <= code_point <= 126:
    return True
  return unicodedata.category(char).startswith("P")


def clean_code_point(code_point: int) -> int | str | None:
  """What replaces a code point before words are told apart, as `str.translate` takes it.

  Controls, U+0000 and U+FFFD vanish, white space is a space, an ideograph gets spaces around it.
  """
  char = chr(code_point)
  if code_point in (0, 0xFFFD) or is_control(char):
    return None
  if is_whitespace(char):
    return " "
  if is_chinese_char(code_point):
    return f" {char} "
  return code_point


def split_code_point(code_point: int) -> int | str:
  """Sets punctuation apart by spaces, as `str.translate` takes it."""
  char = chr(code_point)
  return f" {char} " if is_punctuation(char) else code_point


def strip_and_split_code_point(code_point: int) -> int | str | None:
  """`split_code_point` that also drops combining accents (category Mn)."""
  if unicodedata.category(chr(code_point)) == "Mn":
    return None
  return split_code_point(code_point)


# Shared by all tokenizers: they depend on the interpreter's Unicode tables alone.
_CLEAN = Memo(clean_code_point)
_SPLIT = Memo(split_code_point)
_STRIP_AND_SPLIT = Memo(strip_and_split_code_point)


def clean_words(text: str | bytes) -> list[str]:
  """Splits `text` at white space and around ideographs, controls taken out; keeps case."""
  return convert_to_unicode(text).translate(_CLEAN).split()


def split_word(word: str, do_lower_case: bool) -> list[str]:
  """Splits one of `clean_words` at punctuation; lower case and without accents if wanted.

  `str.lower` sees the word as a whole, since a capital sigma depends on its neighbours.
  """
  if do_lower_case:
    word = unicodedata.normalize("NFD", word.lower())
    return word.translate(_STRIP_AND_SPLIT).split()
  return word.translate(_SPLIT).split()


class BasicTokenizer:
  """Splits text into words and punctuation (original: `BasicTokenizer`)."""

  def __init__(self, do_lower_case: bool = True):
    """With `do_lower_case`, words are lower-cased and their accents stripped."""
    self.do_lower_case = do_lower_case
    self._words = Memo(self._split)

  def _split(self, word: str) -> list[str]:
    return split_word(word, self.do_lower_case)

  def tokenize(self, text: str | bytes) -> list[str]:
    """Returns the words of `text` in order; raises UserError for what is no text."""
    words = self._words
    output: list[str] = []
    for word in clean_words(text):
      output += words[word]
    return output
