"""Text to WordPieces end to end, in plain Python: the reference of the whole project."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence

from bert_tf.tokenization.added_tokens import AddedTokenMatcher
from bert_tf.tokenization.basic import BasicTokenizer, convert_to_unicode, split_word
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.offsets import end_with_accents, placed_words
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.vocabulary import (
  convert_ids_to_tokens,
  convert_tokens_to_ids,
  load_vocab,
)
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR, WordpieceTokenizer

# Pieces, and where each begins and ends.
PlacedPieces = tuple[list[str], list[int], list[int]]


class FullTokenizer:
  """Cleans, splits into words, splits words into pieces (original: `FullTokenizer`).

  >>> from bert_tf.tokenization import SPECIAL_TOKENS, FullTokenizer, write_vocabulary
  >>> write_vocabulary([*SPECIAL_TOKENS, "un", "##aff", "##able", "!"], "vocab.txt")
  >>> tokenizer = FullTokenizer("vocab.txt", do_lower_case=True)
  >>> tokenizer.tokenize("Unaffable!")
  ['un', '##aff', '##able', '!']
  >>> tokenizer.convert_tokens_to_ids(["[CLS]", "un", "##aff", "##able", "!", "[SEP]"])
  [2, 5, 6, 7, 8, 3]
  >>> tokenizer.tokenize_with_offsets("Unaffable!")
  (['un', '##aff', '##able', '!'], [0, 2, 5, 9], [2, 5, 9, 10])

  Attributes:
    vocab: token -> id, in file order.
    inv_vocab: id -> token.
    vocab_file: where `vocab` was read; empty where it was given.
    settings: how text becomes words.
    do_lower_case: as in `settings`.
  """

  def __init__(
    self,
    vocab_file: str | os.PathLike[str] | Sequence[str],
    do_lower_case: bool = True,
    *,
    settings: TokenizerSettings | None = None,
  ):
    """Reads the vocabulary.

    Args:
      vocab_file: see `load_vocab`.
      do_lower_case: whether text is lower-cased and stripped of accents first.
      settings: all settings at once, in place of `do_lower_case`.

    Raises:
      UserError: a bad vocabulary, or an added token of `settings` that it lacks.
    """
    self.vocab = load_vocab(vocab_file)
    self.inv_vocab = {index: token for token, index in self.vocab.items()}
    self.vocab_file = ""
    if isinstance(vocab_file, str | os.PathLike):
      self.vocab_file = os.fspath(vocab_file)
    self.basic_tokenizer = BasicTokenizer(do_lower_case, settings=settings)
    self.settings = self.basic_tokenizer.settings
    self.do_lower_case = self.settings.do_lower_case
    self.wordpiece_tokenizer = WordpieceTokenizer(self.vocab)
    self._pieces = Memo(self._tokenize_word)
    self._added = AddedTokenMatcher.of(self.settings, self.vocab)

  def tokenize(self, text: str | bytes) -> list[str]:
    """Returns the pieces of `text`, without special tokens.

    "[MASK]" in running text is punctuation and a word, as in the original; added tokens of the
    settings are found first, wherever they stand.

    Raises:
      UserError: `text` is neither `str` nor `bytes`.
    """
    if self._added is None:
      return self._tokenize(text)
    output: list[str] = []
    for part, _, token in self._added.split(convert_to_unicode(text)):
      output += self._tokenize(part) if token is None else [token]
    return output

  def tokenize_with_offsets(self, text: str | bytes) -> PlacedPieces:
    """Returns `tokenize(text)`, and where in `text` each piece begins and ends.

    `text[start:end]` is what became the piece, or, for [UNK], the whole word: characters of the
    text as given, before lower-casing; accents that were stripped go with the letter before them.
    Of bytes, the offsets count the characters that `convert_to_unicode` returns.

    Raises:
      UserError: `text` is neither `str` nor `bytes`.
    """
    text = convert_to_unicode(text)
    if self._added is None:
      return self._tokenize_with_offsets(text)
    tokens: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for part, start, token in self._added.split(text):
      found = ([token], [0], [len(part)]) if token else self._tokenize_with_offsets(part)
      tokens += found[0]
      starts += [start + place for place in found[1]]
      ends += [start + place for place in found[2]]
    return tokens, starts, ends

  def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
    """Returns the id of each token; raises UserError for one that the vocabulary lacks."""
    return convert_tokens_to_ids(self.vocab, tokens)

  def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
    """Returns the token of each id; raises UserError for an id that the vocabulary lacks."""
    return convert_ids_to_tokens(self.inv_vocab, ids)

  def _tokenize(self, text: str | bytes) -> list[str]:
    pieces_of = self._pieces.__getitem__
    return list(
      itertools.chain.from_iterable(map(pieces_of, self.basic_tokenizer.clean_words(text)))
    )

  def _tokenize_with_offsets(self, text: str) -> PlacedPieces:
    tokens: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for word in placed_words(text, self.settings):
      pieces = self.wordpiece_tokenizer.tokenize_word("".join(char for char, _ in word))
      first = 0
      for index, piece in enumerate(pieces):
        length = len(piece) - (len(SUFFIX_INDICATOR) if index else 0)
        # A word's only piece is the word, or stands for all of it.
        last = len(word) if len(pieces) == 1 else first + length
        places = [place for _, place in word[first:last]]
        tokens.append(piece)
        starts.append(min(places))
        ends.append(end_with_accents(text, max(places) + 1, self.settings))
        first = last
    return tokens, starts, ends

  def _tokenize_word(self, word: str) -> tuple[str, ...]:
    tokenize_word = self.wordpiece_tokenizer.tokenize_word
    words = split_word(word, self.settings)
    return tuple(itertools.chain.from_iterable(map(tokenize_word, words)))
