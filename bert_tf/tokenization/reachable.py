"""Which tokens text can become."""

from __future__ import annotations

from bert_tf.tokenization.basic import BasicTokenizer
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.wordpiece import MAX_INPUT_CHARS_PER_WORD, SUFFIX_INDICATOR


def why_unreachable(token: str, settings: TokenizerSettings) -> str | None:
  """Returns why no text can become `token`, or None if some can.

  >>> from bert_tf.tokenization import TokenizerSettings, why_unreachable
  >>> why_unreachable("##.", TokenizerSettings())
  "since '.' is always a word by itself"
  >>> why_unreachable("##ing", TokenizerSettings())

  Args:
    token: a piece, "##" and all.
    settings: of the tokenizer that is to give it.
  """
  characters = token.removeprefix(SUFFIX_INDICATOR)
  is_suffix = characters != token
  words = BasicTokenizer(settings=settings).tokenize(characters)
  if words != [characters]:
    return f"since the tokenizer makes {' '.join(words) or 'nothing'!r} of it"
  longest = MAX_INPUT_CHARS_PER_WORD - is_suffix
  if len(characters) > longest:
    return f"since a word of more than {MAX_INPUT_CHARS_PER_WORD} characters is [UNK]"
  # What ends a word where it stands never continues one.
  if is_suffix and BasicTokenizer(settings=settings).tokenize(f"a{characters}") != [
    f"a{characters}"
  ]:
    return f"since {characters!r} is always a word by itself"
  return None
