"""What the tokenizer does to each code point, as arrays that a graph can look up.

Computed from the running interpreter's `unicodedata` and `str` methods, which the Python
tokenizer uses too, so that both agree whatever Unicode version the interpreter carries.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numpy as np

from bert_tf.tokenization.basic import (
  CHINESE_BLOCKS,
  clean_code_point,
  is_chinese_char,
  is_punctuation,
)
from bert_tf.tokenization.settings import TokenizerSettings

CODE_POINTS = 0x110000
# An entry is a code point in the low 21 bits and these flags above them.
CODE_POINT_BITS = 21
CODE_POINT_MASK = (1 << CODE_POINT_BITS) - 1
SPACE = 1 << 21  # Separates words.
DELETED = 1 << 22  # Leaves no trace: a control character.
STRIPPED = 1 << 23  # An accent: leaves the word, but counts as its neighbour's neighbour.
ISOLATED = 1 << 24  # A word for itself: punctuation, an ideograph.
STARTER = 1 << 25  # Canonical combining class 0: marks are not reordered across it.
MARK = 1 << 26  # Stays, and has a combining class: may have to swap places with another one.
EXPANDS = 1 << 27  # Becomes several: the low bits hold a place in `expansions` and a count.
_START_BITS = 16
START_MASK = (1 << _START_BITS) - 1

# Where `str.lower` looks to tell a final sigma: through ignorable characters for cased ones.
CONTEXT_ABSENT, CONTEXT_IGNORABLE, CONTEXT_CASED, CONTEXT_OTHER = range(4)

_PAGE_BITS = 8


class CharacterTable(NamedTuple):
  """What becomes of every code point.

  Attributes:
    entries: int32 [1114112]. For most, the code point that replaces this one, as a difference
      modulo 2**21 (so that equal stretches of the table can be shared), and flags. With EXPANDS,
      the low 16 bits are where in `expansions` the replacement begins, the next 5 how long it is.
    expansions: int32 [about 35,000], code points and flags.
  """

  entries: np.ndarray
  expansions: np.ndarray

  def replacement(self, code_point: int) -> list[int]:
    """The entries that replace `code_point`, with absolute code points."""
    entry = int(self.entries[code_point])
    if entry & EXPANDS:
      start, count = entry & START_MASK, (entry & CODE_POINT_MASK) >> _START_BITS
      return self.expansions[start : start + count].tolist()
    flags = entry & ~CODE_POINT_MASK
    return [flags | ((entry + code_point) & CODE_POINT_MASK)]


def expansion_count(entry: np.ndarray) -> np.ndarray:
  """How many entries replace one with EXPANDS; takes an array or an integer tensor."""
  return (entry % (1 << CODE_POINT_BITS)) // (1 << _START_BITS)


def character_table(settings: TokenizerSettings) -> CharacterTable:
  """Builds the table of cleaning, lower-casing, accent stripping and splitting, in about a second.

  Unassigned and private code points stay as they are, save those in the blocks of ideographs.
  Capital sigma is entered as not final: whoever looks it up decides with `case_context`.
  """
  return _character_table(
    TokenizerSettings(
      settings.do_lower_case, settings.strips_accents, settings.tokenize_chinese_chars
    )
  )


@functools.lru_cache(maxsize=4)
def _character_table(settings: TokenizerSettings) -> CharacterTable:
  entries = np.full(CODE_POINTS, STARTER, np.int32)
  for first, last in CHINESE_BLOCKS if settings.tokenize_chinese_chars else ():
    entries[first : last + 1] |= ISOLATED
  expansions: list[int] = []
  for code_point in _assigned_code_points():
    if entries[code_point] & ISOLATED and not unicodedata.decomposition(chr(code_point)):
      continue
    slots = _slots(code_point, settings)
    if len(slots) == 1:
      flags = slots[0] & ~CODE_POINT_MASK
      entries[code_point] = flags | ((slots[0] - code_point) & CODE_POINT_MASK)
    else:
      entries[code_point] = EXPANDS | len(slots) << _START_BITS | len(expansions)
      expansions += slots
  assert len(expansions) <= START_MASK
  entries.setflags(write=False)
  return CharacterTable(entries, np.asarray(expansions or [0], np.int32))


@functools.lru_cache(maxsize=1)
def case_context() -> np.ndarray:
  """CONTEXT_* of every code point, int32 [1114112], found by asking `str.lower`."""
  context = np.full(CODE_POINTS, CONTEXT_OTHER, np.int32)
  for code_point in _assigned_code_points():
    char = chr(code_point)
    if clean_code_point(code_point) is None:
      context[code_point] = CONTEXT_ABSENT
    elif f"AΣ{char}".lower()[1] == "σ":
      context[code_point] = CONTEXT_CASED
    elif f"AΣ{char}A".lower()[1] == "σ":
      context[code_point] = CONTEXT_IGNORABLE
  context.setflags(write=False)
  return context


@functools.lru_cache(maxsize=1)
def combining_classes() -> np.ndarray:
  """Canonical combining class of every code point, int32 [1114112]."""
  classes = np.zeros(CODE_POINTS, np.int32)
  for code_point in _assigned_code_points():
    classes[code_point] = unicodedata.combining(chr(code_point))
  classes.setflags(write=False)
  return classes


def paged(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Folds a table's equal pages of 256 together: `table[c] == pages[starts[c >> 8] + c % 256]`."""
  pages, inverse = np.unique(table.reshape(-1, 1 << _PAGE_BITS), axis=0, return_inverse=True)
  starts = (inverse.reshape(-1) << _PAGE_BITS).astype(np.int32)
  return starts, pages.reshape(-1)


@functools.lru_cache(maxsize=1)
def _assigned_code_points() -> tuple[int, ...]:
  """All but surrogates, private use and the unassigned, which have no properties."""
  category = unicodedata.category
  return tuple(c for c in range(CODE_POINTS) if category(chr(c)) not in ("Cn", "Co", "Cs"))


def _slots(code_point: int, settings: TokenizerSettings) -> list[int]:
  """The entries that replace a code point; at least one, even if nothing remains."""
  char = chr(code_point)
  cleaned = clean_code_point(code_point)
  if cleaned is None:
    return [DELETED]
  # Line and paragraph separators get through cleaning, but split() takes them for white space.
  if cleaned == " " or char.isspace():
    return [SPACE | STARTER]
  text, strips_accents = char.lower() if settings.do_lower_case else char, settings.strips_accents
  if strips_accents:
    text = unicodedata.normalize("NFD", text)
  slots = [slot for part in text if (slot := _slot(part, strips_accents)) is not None]
  if settings.tokenize_chinese_chars and is_chinese_char(code_point):
    assert len(slots) == 1, "an ideograph's decomposition is one ideograph"
    return [slots[0] | ISOLATED]
  if all(slot & STRIPPED for slot in slots):
    return [STRIPPED | (STARTER if slots else 0)]
  return slots


def _slot(char: str, strips_accents: bool) -> int | None:
  """The entry of a character of decomposed text; None for an accent that needs no entry."""
  order = MARK if strips_accents and unicodedata.combining(char) else STARTER
  if strips_accents and unicodedata.category(char) == "Mn":
    # A few accents have class 0 and keep the marks on their two sides apart.
    return None if order == MARK else STRIPPED | STARTER
  if char.isspace():
    return SPACE | STARTER
  return ord(char) | order | (ISOLATED if is_punctuation(char) else 0)
