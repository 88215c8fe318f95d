"""Tokens get their ids: the order in which they stand."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from bert_tf.errors import UserError

# In the order in which a learnt vocabulary begins.
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def numbered(lines: Iterable[str], path: str) -> collections.OrderedDict[str, int]:
  """Strips tokens in id order and gives them their ids; raises UserError for one that is twice."""
  vocab: collections.OrderedDict[str, int] = collections.OrderedDict()
  for index, line in enumerate(lines):
    token = line.strip()
    if token in vocab:
      raise UserError(
        f"vocabulary {path}: expected every token once, found {token!r} on line"
        f" {vocab[token] + 1} and again on line {index + 1}; remove one and retrain, or take the"
        " file that came with the checkpoint"
      )
    vocab[token] = index
  return vocab
