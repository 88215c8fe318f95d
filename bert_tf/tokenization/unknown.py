"""Which characters of a text make words unknown to a vocabulary."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from bert_tf.tokenization.tokenizer import FullTokenizer
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR


def unknown_characters(text: str, tokenizer: FullTokenizer) -> collections.Counter[str]:
  """Counts the characters that the vocabulary lacks where they stand in unknown words of `text`.

  A word that is too long is unknown whatever its characters are: none of them is counted.

  >>> from bert_tf.tokenization import SPECIAL_TOKENS, FullTokenizer
  >>> unknown_characters("a\u201cb\u201d b", FullTokenizer([*SPECIAL_TOKENS, "a", "b"]))
  Counter({'\u201c': 1, '\u201d': 1})
  """
  found: collections.Counter[str] = collections.Counter()
  wordpiece = tokenizer.wordpiece_tokenizer
  for word in tokenizer.basic_tokenizer.tokenize(text):
    if len(word) <= wordpiece.max_input_chars_per_word and wordpiece.tokenize_word(word) == [
      wordpiece.unk_token
    ]:
      found.update(
        char
        for place, char in enumerate(word)
        if (SUFFIX_INDICATOR if place else "") + char not in tokenizer.vocab
      )
  return found


def named(counts: Mapping[str, int], most: int = 8) -> str:
  """The most frequent of some characters with their counts, for readers."""
  ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
  shown = [f"{_printable(char)} ({count:,})" for char, count in ranked[:most]]
  return ", ".join(shown) + (f" and {len(ranked) - most:,} more" if len(ranked) > most else "")


def counted(texts: Iterable[str], tokenizer: FullTokenizer) -> collections.Counter[str]:
  """`unknown_characters` of many texts; words that repeat are looked at once."""
  found: collections.Counter[str] = collections.Counter()
  for text, times in collections.Counter(texts).items():
    for char, count in unknown_characters(text, tokenizer).items():
      found[char] += count * times
  return found


def _printable(char: str) -> str:
  return char if char.isprintable() and not char.isspace() else f"U+{ord(char):04X}"
