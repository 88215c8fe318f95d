"""Tokens beyond the vocabulary's own that text matches as a whole (transformers' added tokens).

Matched are the longest ones from the left on, also inside of a word, before text is cleaned; what
lies between is tokenized by itself. So transformers' BertTokenizer does it.
"""

from __future__ import annotations

import collections
import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping

from bert_tf.errors import UserError
from bert_tf.tokenization.settings import TokenizerSettings


class AddedTokenMatcher:
  """Finds the added tokens of text.

  Attributes:
    exact: text -> token, of tokens that match as they are written.
    folded: text in lower case -> token, of those that match in capitals too.
  """

  def __init__(self, settings: TokenizerSettings):
    """Takes the tokens of `settings`, at least one."""
    fold = settings.do_lower_case
    self.exact = {
      t.content: t.content for t in settings.added_tokens if not (fold and t.normalized)
    }
    self.folded = {
      lower_characters(t.content): t.content for t in settings.added_tokens if fold and t.normalized
    }
    self._split = re.compile(f"({self.pattern(re.escape)})").split

  @classmethod
  def of(cls, settings: TokenizerSettings, vocab: Mapping[str, int]) -> AddedTokenMatcher | None:
    """Returns the matcher of `settings`, None where they have no added tokens.

    Raises:
      UserError: an added token is empty or has no id.
    """
    for token in settings.added_tokens:
      if not token.content or token.content not in vocab:
        raise UserError(
          f"expected added tokens that the vocabulary has, found {token.content!r}, which is not"
          f" among its {len(vocab)} entries; add it to the vocabulary, or leave it out of the"
          " settings"
        )
    return cls(settings) if settings.added_tokens else None

  def pattern(self, literal: Callable[[str], str]) -> str:
    """Returns a regular expression of all tokens.

    Args:
      literal: spells a character for the library that will read the expression.
    """
    alternatives = [(token, "".join(map(literal, token))) for token in self.exact]
    for token in self.folded:
      classes = (f"[{''.join(map(literal, same_when_lower(char)))}]" for char in token)
      alternatives.append((token, "".join(classes)))
    # The first alternative that fits is taken: then it is the longest.
    alternatives.sort(key=lambda alternative: -len(alternative[0]))
    return "|".join(expression for _, expression in alternatives)

  def split(self, text: str) -> Iterator[tuple[str, int, str | None]]:
    """Yields parts of `text` in order: the part, where it begins, and the token that it is."""
    start = 0
    for index, part in enumerate(self._split(text)):
      yield part, start, self._token(part) if index % 2 else None
      start += len(part)

  def _token(self, part: str) -> str:
    return self.exact.get(part) or self.folded[lower_characters(part)]


def lower_characters(text: str) -> str:
  """Lower-cases every character by itself, those left alone that would become two."""
  return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def same_when_lower(char: str) -> list[str]:
  """Returns the characters that `lower_characters` turns into `char`, which is lower case."""
  return [char, *_capitals().get(char, ())]


@functools.lru_cache(maxsize=1)
def _capitals() -> dict[str, list[str]]:
  capitals = collections.defaultdict(list)
  for char in map(chr, range(sys.maxunicode + 1)):
    lower = char.lower()
    if lower != char and len(lower) == 1:
      capitals[lower].append(char)
  return dict(capitals)
