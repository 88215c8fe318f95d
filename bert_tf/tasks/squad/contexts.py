"""Contexts: their words, and where in the text each of their pieces stands."""

from __future__ import annotations

import re

import numpy as np

from bert_tf.tokenization import FullTokenizer
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.writing_systems import is_unspaced

# What separates words in a context: other Unicode white space (U+00A0, U+3000) does not.
_WORD = re.compile("[^ \t\r\n\u202f]+")


class Context:
  """A text that questions are asked about.

  Attributes:
    text: as it is written.
    words: what stands between spaces, as the original splits it.
    starts: the character at which each word begins.
    by_offsets: whether answers are cut out of the text at the offsets of their pieces. The
      original looks for their letters among the words instead, which fails where a word is a whole
      paragraph: one character that the vocabulary lacks makes all of it the answer.
  """

  __slots__ = ("by_offsets", "starts", "text", "words")

  def __init__(self, text: str, answer_offsets: bool | None = None):
    """With `answer_offsets=None`, text without spaces between words is read by offsets."""
    self.text = text
    found = list(_WORD.finditer(text))
    self.words = [word.group() for word in found]
    self.starts = [word.start() for word in found]
    self.by_offsets = is_unspaced(self.words) if answer_offsets is None else answer_offsets


class PiecePlaces:
  """Where the pieces of contexts stand, as `FullTokenizer.tokenize_with_offsets` says.

  Contexts are tokenized word by word, as the windows are made.
  """

  def __init__(self, tokenizer: FullTokenizer):
    def of_word(word: str) -> tuple[np.ndarray, np.ndarray]:
      _, starts, ends = tokenizer.tokenize_with_offsets(word)
      return np.array(starts, np.int32), np.array(ends, np.int32)

    self._of_word = Memo(of_word)
    # By identity: the questions of a context follow each other, and share it.
    self._last: tuple[Context, np.ndarray, np.ndarray] | None = None

  def of(self, context: Context) -> tuple[np.ndarray, np.ndarray]:
    """First character of each piece, and the one after its last: int32 [pieces] each."""
    if self._last is None or self._last[0] is not context:
      starts, ends = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
      for word, begin in zip(context.words, context.starts, strict=True):
        word_starts, word_ends = self._of_word[word]
        starts.append(word_starts + begin)
        ends.append(word_ends + begin)
      self._last = context, np.concatenate(starts), np.concatenate(ends)
    return self._last[1], self._last[2]

  def span(self, context: Context, first: int, last: int) -> tuple[int, int]:
    """The characters [start, end) of the pieces first .. last (inclusive) of a context."""
    starts, ends = self.of(context)
    # Not those of the outer pieces alone: accents that change places may take letters along.
    return int(starts[first : last + 1].min()), int(ends[first : last + 1].max())

  def covering(self, context: Context, start: int, end: int) -> tuple[int, int] | None:
    """First and last piece that have a part in the characters [start, end); None if none has."""
    starts, ends = self.of(context)
    found = np.flatnonzero((ends > start) & (starts < end))
    return (int(found[0]), int(found[-1])) if found.size else None
