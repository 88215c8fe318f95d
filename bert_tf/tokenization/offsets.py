"""Where in the original text each word and each of its characters came from.

The answers are split_word's; only the way there differs, one character at a time, so that every
character keeps its place. It is slow, and meant for the few texts that need offsets.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from bert_tf.tokenization.basic import (
  clean_and_part_code_point,
  clean_code_point,
  is_punctuation,
)
from bert_tf.tokenization.settings import TokenizerSettings

# A character of a normalised word, and the index of the original character that it came from.
Placed = tuple[str, int]


def placed_words(text: str, settings: TokenizerSettings) -> Iterator[list[Placed]]:
  """Yields the words that BasicTokenizer finds in `text`, each character with its place."""
  cleaned = _cleaned(text, settings.tokenize_chinese_chars)
  for word in _split(cleaned, str.isspace, lambda char: False):
    if settings.do_lower_case:
      word = _lower(word)
    if settings.strips_accents:
      word = [placed for placed in _decomposed(word) if unicodedata.category(placed[0]) != "Mn"]
    yield from _split(word, str.isspace, is_punctuation)


def end_with_accents(text: str, end: int, settings: TokenizerSettings) -> int:
  """Moves `end` behind the accents that follow and are stripped."""
  strips = settings.strips_accents
  while strips and end < len(text) and _is_accent(text[end], settings.do_lower_case):
    end += 1
  return end


def _cleaned(text: str, tokenize_chinese_chars: bool) -> list[Placed]:
  clean = clean_and_part_code_point if tokenize_chinese_chars else clean_code_point
  cleaned: list[Placed] = []
  for place, char in enumerate(text):
    replacement = clean(ord(char))
    if isinstance(replacement, str):
      cleaned += [(part, place) for part in replacement]
    elif replacement is not None:
      cleaned.append((char, place))
  return cleaned


def _split(characters: list[Placed], is_space, is_word) -> Iterator[list[Placed]]:
  """Splits at spaces, which vanish, and around characters that are words by themselves."""
  word: list[Placed] = []
  for placed in characters:
    if is_space(placed[0]) or is_word(placed[0]):
      if word:
        yield word
      word = []
      if not is_space(placed[0]):
        yield [placed]
    else:
      word.append(placed)
  if word:
    yield word


def _lower(word: list[Placed]) -> list[Placed]:
  # The word as a whole decides about sigma; no character's length depends on its neighbours.
  lower = iter("".join(char for char, _ in word).lower())
  return [(next(lower), place) for char, place in word for _ in char.lower()]


def _decomposed(word: list[Placed]) -> list[Placed]:
  parts = [(part, place) for char, place in word for part in unicodedata.normalize("NFD", char)]
  # Canonical ordering: marks are sorted by class, but never across a starter (class 0).
  run, keys = 0, []
  for part, _ in parts:
    combining_class = unicodedata.combining(part)
    run += combining_class == 0
    keys.append((run, combining_class))
  return [parts[index] for index in sorted(range(len(parts)), key=keys.__getitem__)]


def _is_accent(char: str, do_lower_case: bool) -> bool:
  if clean_code_point(ord(char)) is None:
    return False
  parts = unicodedata.normalize("NFD", char.lower() if do_lower_case else char)
  return all(unicodedata.category(part) == "Mn" for part in parts)
