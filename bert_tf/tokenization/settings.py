"""How a model's text becomes pieces: what a vocabulary alone does not say."""

from __future__ import annotations

import dataclasses

from bert_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class AddedToken:
  """An entry of the vocabulary that running text matches as a whole, before it is split to words.

  Attributes:
    content: the token as it stands in the vocabulary.
    normalized: whether it also matches in capitals where text is lower-cased, as transformers'
      added tokens do that are not special; otherwise it matches as it is written.
    special: whether transformers calls it special, which means nothing for text.
  """

  content: str
  normalized: bool = False
  special: bool = False


@dataclasses.dataclass(frozen=True)
class TokenizerSettings:
  """What tokenizers of one vocabulary may do differently; the defaults are the original's.

  The names are those of transformers' BertTokenizer, and so is what the settings mean.

  Attributes:
    do_lower_case: whether text is lower-cased.
    strip_accents: whether accents are taken off; None: where text is lower-cased, as the original.
    tokenize_chinese_chars: whether each ideograph is a word by itself.
    added_tokens: entries that running text matches as a whole. The special tokens of BERT are
      never among them: "[MASK]" in running text is three words, as in the original.
  """

  do_lower_case: bool = True
  strip_accents: bool | None = None
  tokenize_chinese_chars: bool = True
  added_tokens: tuple[AddedToken, ...] = ()

  @property
  def strips_accents(self) -> bool:
    """Whether accents are taken off, with None resolved."""
    return self.do_lower_case if self.strip_accents is None else self.strip_accents


def resolve_settings(do_lower_case: bool, settings: TokenizerSettings | None) -> TokenizerSettings:
  """Returns `settings`, or those of the original with `do_lower_case`.

  Raises:
    UserError: `do_lower_case` is False and `settings` say otherwise.
  """
  if settings is None:
    return TokenizerSettings(do_lower_case=bool(do_lower_case))
  if settings.do_lower_case and not do_lower_case:
    raise UserError(
      "expected do_lower_case and settings that agree, found do_lower_case=False and settings that"
      " lower-case; give the settings alone"
    )
  return settings
