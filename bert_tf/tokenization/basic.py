"""Text to words: cleaning, lower-casing, accent stripping, splitting at punctuation.

The answers are those of `BasicTokenizer` in google-research/bert `tokenization.py` on every
string, under the Unicode tables of the running interpreter (`unicodedata`). With settings that the
original lacks (`strip_accents`, `tokenize_chinese_chars`) they are those of transformers' slow
`BasicTokenizer`, save that text is not composed first (NFC): the original does not do that, nor
does the BertTokenizer of transformers 5, nor did the slow one when it got these settings.
"""

from __future__ import annotations

import unicodedata

from bert_tf.errors import UserError
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.settings import TokenizerSettings, resolve_settings

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


def whitespace_tokenize(text: str) -> list[str]:
  """Returns what stands between white space in `text`."""
  return text.split()


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

  Controls, U+0000 and U+FFFD vanish, white space is a space.
  """
  char = chr(code_point)
  if code_point in (0, 0xFFFD) or is_control(char):
    return None
  if is_whitespace(char):
    return " "
  return code_point


def clean_and_part_code_point(code_point: int) -> int | str | None:
  """`clean_code_point` that also puts spaces around ideographs."""
  return f" {chr(code_point)} " if is_chinese_char(code_point) else clean_code_point(code_point)


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
_CLEAN_AND_PART = Memo(clean_and_part_code_point)
_SPLIT = Memo(split_code_point)
_STRIP_AND_SPLIT = Memo(strip_and_split_code_point)


def clean_words(text: str | bytes, tokenize_chinese_chars: bool = True) -> list[str]:
  """Splits `text` at white space and around ideographs, controls taken out; keeps case.

  Args:
    text: a line.
    tokenize_chinese_chars: whether ideographs are set apart.
  """
  table = _CLEAN_AND_PART if tokenize_chinese_chars else _CLEAN
  return convert_to_unicode(text).translate(table).split()


def split_word(word: str, settings: TokenizerSettings) -> list[str]:
  """Splits one of `clean_words` at punctuation; lower case and without accents if wanted.

  `str.lower` sees the word as a whole, since a capital sigma depends on its neighbours.
  """
  if settings.do_lower_case:
    word = word.lower()
  if settings.strips_accents:
    return unicodedata.normalize("NFD", word).translate(_STRIP_AND_SPLIT).split()
  return word.translate(_SPLIT).split()


class BasicTokenizer:
  """Splits text into words and punctuation (original: `BasicTokenizer`).

  Attributes:
    settings: how.
    do_lower_case: as in `settings`.
  """

  def __init__(self, do_lower_case: bool = True, *, settings: TokenizerSettings | None = None):
    """With `do_lower_case`, words are lower-cased and their accents stripped.

    Args:
      do_lower_case: as the original's.
      settings: all settings at once, in its place; added tokens are FullTokenizer's business.
    """
    self.settings = resolve_settings(do_lower_case, settings)
    self.do_lower_case = self.settings.do_lower_case
    self._words = Memo(self._split)

  def _split(self, word: str) -> list[str]:
    return split_word(word, self.settings)

  def clean_words(self, text: str | bytes) -> list[str]:
    """Returns the words of `text` before lower-casing and punctuation; see `clean_words`."""
    return clean_words(text, self.settings.tokenize_chinese_chars)

  def tokenize(self, text: str | bytes) -> list[str]:
    """Returns the words of `text` in order; raises UserError for what is no text."""
    words = self._words
    output: list[str] = []
    for word in self.clean_words(text):
      output += words[word]
    return output


# The names by which the original's own test knows them.
_is_whitespace = is_whitespace
_is_control = is_control
_is_punctuation = is_punctuation
