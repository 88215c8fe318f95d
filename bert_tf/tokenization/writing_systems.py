"""What a tokenizer made for English has to know of other scripts.

Some put no spaces between words: white space then says nothing about words, not to whoever looks
for an answer in a context, nor to whoever masks whole words. And in some, what BERT strips with
accents tells words apart.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable

# First and last code points, ascending (Unicode's Blocks.txt): letters and marks of these scripts,
# and the punctuation that is used with ideographs.
UNSPACED_BLOCKS = (
  (0x0E00, 0x0EFF),  # Thai, Lao
  (0x0F00, 0x0FFF),  # Tibetan
  (0x1000, 0x109F),  # Myanmar
  (0x1780, 0x17FF),  # Khmer
  (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
  (0x1A20, 0x1AAF),  # Tai Tham
  (0x2E80, 0x2FDF),  # radicals
  (0x3000, 0x312F),  # ideographic punctuation, Hiragana, Katakana, Bopomofo
  (0x31A0, 0x31FF),  # more of Bopomofo, strokes, Katakana
  (0x3400, 0x4DBF),  # ideographs, extension A
  (0x4E00, 0x9FFF),  # ideographs
  (0xA9E0, 0xA9FF),  # Myanmar, extension B
  (0xAA60, 0xAA7F),  # Myanmar, extension A
  (0xF900, 0xFAFF),  # compatibility ideographs
  (0xFF01, 0xFF9F),  # full-width forms, half-width Katakana
  (0x1AFF0, 0x1B16F),  # more of Kana
  (0x20000, 0x3FFFF),  # ideographs, extension B and later
)
# Of 1,344 Chinese contexts of reading comprehension the least has 0.21 (a list of Latin names), of
# 1,262 English ones the most has 0.04 (names quoted in the original script).
UNSPACED_SHARE = 0.125

_UNSPACED = re.compile(
  "[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED_BLOCKS) + "]"
)

_IDEOGRAPH, _KANA = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]"), re.compile("[\u3041-\u30ff]")
_KANA_SHARE = 0.1
# Scripts of Asia in which marks are letters: Devanagari to Myanmar, Khmer, Kana; and Hangul, whose
# syllables fall apart. Latin, Greek, Arabic and Hebrew words are understood without their accents.
_WITH_MARKS = ((0x0900, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0xAC00, 0xD7A3))
# Of Japanese, Hindi, Thai and Korean text more is lost.
MUCH_ERASED = 0.03


def count_unspaced(text: str) -> int:
  """How many characters of `text` belong to scripts without spaces between words."""
  return len(_UNSPACED.findall(text))


def is_unspaced(words: list[str]) -> bool:
  """Whether a text is written without spaces between its words, by what stands between spaces.

  >>> is_unspaced(["中国在亚洲。"]), is_unspaced(["In", "Seoul", "(首爾)"])
  (True, False)
  """
  size = sum(map(len, words))
  return size > 0 and sum(map(count_unspaced, words)) >= UNSPACED_SHARE * size


def is_chinese(words: list[str]) -> bool:
  """Whether a text is written without spaces, in ideographs, and with next to no Kana."""
  text = "".join(words)
  ideographs, kana = len(_IDEOGRAPH.findall(text)), len(_KANA.findall(text))
  return ideographs > 0 and kana <= _KANA_SHARE * (ideographs + kana) and is_unspaced(words)


@functools.lru_cache(maxsize=1)
def _erased() -> re.Pattern[str]:
  """Characters of which stripping accents leaves another letter, nothing, or the parts."""
  found = [
    chr(code)
    for first, last in _WITH_MARKS
    for code in range(first, last + 1)
    if any(
      unicodedata.category(part) == "Mn"
      or unicodedata.name(part, "").startswith("HANGUL JUNGSEONG")
      for part in unicodedata.normalize("NFD", chr(code))
    )
  ]
  return re.compile("[" + "".join(found) + "]")


def erased_share(texts: Iterable[str]) -> float:
  """Which share of the characters, from 0 to 1, lower-casing as BERT does it would damage.

  It strips accents: \u304c becomes \u304b in Japanese, the vowels of Hindi and the tones of Thai
  vanish, and syllables of Korean fall apart into their letters.
  """
  size = erased = 0
  for text in texts:
    size += len("".join(text.split()))
    erased += len(_erased().findall(text))
  return erased / max(size, 1)
