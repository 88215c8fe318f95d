"""Texts with gaps: where [MASK] stands, and what the words for it are."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.tokenization import FullTokenizer
from bert_tf.tokenization.basic import convert_to_unicode

MASK = "[MASK]"


class MaskTokenizer(FullTokenizer):
  """A tokenizer for which a literal "[MASK]" is the token, wherever it stands."""

  def tokenize(self, text: str | bytes) -> list[str]:
    """See `FullTokenizer`."""
    parts = [FullTokenizer.tokenize(self, part) for part in convert_to_unicode(text).split(MASK)]
    return parts[0] + list(itertools.chain.from_iterable([MASK, *part] for part in parts[1:]))


def check_has_masks(texts: Sequence[str]) -> None:
  """Raises UserError for a text without a mask."""
  for text in texts:
    if MASK not in text:
      raise UserError(f"expected {MASK} in the text, found {text!r}")


def answer(text: str, masks: Sequence[Sequence[tuple[str, float]]]) -> dict[str, Any]:
  """What is said of one text.

  Args:
    text: with masks.
    masks: for every mask that the model has read, words and their probabilities, best first.

  Returns:
    `text`; `masks`, for each [MASK] the `token` and `probability` of the best words; and `filled`,
    the text with the best word in every place.

  Raises:
    UserError: a mask lies beyond the longest sequence.
  """
  if len(masks) < text.count(MASK):
    raise UserError(
      f"expected every {MASK} within the model's longest sequence, found one beyond it in"
      f" {text[:60]!r}...; shorten the text"
    )
  words = [[{"token": token, "probability": p} for token, p in mask] for mask in masks]
  return {"text": text, "masks": words, "filled": _filled(text, [mask[0][0] for mask in masks])}


def _filled(text: str, tokens: Sequence[str]) -> str:
  parts = text.split(MASK)
  result = parts[0]
  for part, token in zip(parts[1:], tokens, strict=True):
    # A piece that continues a word attaches to it.
    joined = result.rstrip() + token[2:] if token.startswith("##") else result + token
    result = joined + part
  return result
