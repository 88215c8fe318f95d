"""Words to WordPieces: greedy longest match first (Wu et al., 2016, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping

from bert_tf.tokenization.basic import convert_to_unicode

SUFFIX_INDICATOR = "##"
MAX_INPUT_CHARS_PER_WORD = 200


class WordpieceTokenizer:
  """Splits words into pieces of a vocabulary (original: `WordpieceTokenizer`)."""

  def __init__(
    self,
    vocab: Mapping[str, int],
    unk_token: str = "[UNK]",
    max_input_chars_per_word: int = MAX_INPUT_CHARS_PER_WORD,
  ):
    """Takes a token -> id mapping.

    A word of more than `max_input_chars_per_word` characters, and one that the vocabulary cannot
    spell, becomes one `unk_token`.
    """
    self.vocab = vocab
    self.unk_token = unk_token
    self.max_input_chars_per_word = max_input_chars_per_word
    # No longer match is possible, so none is tried; "##" is not counted.
    self._longest_start = max(map(len, vocab), default=0)
    self._longest_suffix = self._longest_start - len(SUFFIX_INDICATOR)

  def tokenize(self, text: str | bytes) -> list[str]:
    """Returns the pieces of all words of `text`, which BasicTokenizer has been through."""
    output: list[str] = []
    for word in convert_to_unicode(text).split():
      output += self.tokenize_word(word)
    return output

  def tokenize_word(self, word: str) -> list[str]:
    """Returns the pieces of a single word; those after the first begin with `##`."""
    length = len(word)
    if length > self.max_input_chars_per_word:
      return [self.unk_token]
    vocab = self.vocab
    pieces: list[str] = []
    start, prefix, longest = 0, "", self._longest_start
    while start < length:
      end = min(length, start + longest)
      while end > start and (piece := prefix + word[start:end]) not in vocab:
        end -= 1
      if end <= start:
        return [self.unk_token]
      pieces.append(piece)
      start, prefix, longest = end, SUFFIX_INDICATOR, self._longest_suffix
    return pieces
