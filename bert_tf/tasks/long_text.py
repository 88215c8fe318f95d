"""What is read of a text that is longer than a sequence. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bert_tf.errors import UserError
from bert_tf.tasks.task_data import setting
from bert_tf.tasks.vectors.token_vectors import truncate_seq_pair

FIRST, HEAD_TAIL, WINDOWS = MODES = ("first", "head_tail", "windows")
POOLINGS = ("mean", "max", "attention")
# [CLS] and [SEP].
_NUM_SPECIAL_TOKENS = 2


@dataclasses.dataclass(frozen=True)
class LongText:
  """How long texts are read; flags of run_classifier.py have the same names.

  A document that is read in windows is one sequence, [CLS] text [SEP], which the model cuts up by
  itself (`bert_tf.document_classifier`): whoever feeds it needs to know `most_ids` and no more.

  Attributes:
    long_text: "first", the beginning; "head_tail", the first quarter of what a sequence holds and
      the end of the text for the rest (128 + 382 pieces of 510 in Sun et al., How to Fine-Tune BERT
      for Text Classification, arXiv:1905.05583, section 5.3.1); "windows", all of it.
    pooling: how the vectors of windows become that of the text.
    doc_stride: how many pieces a window starts after the one before; None: half a window.
    max_windows: what is beyond so many windows is cut off.

  Raises:
    UserError: a value that is not allowed.
  """

  long_text: str = FIRST
  pooling: str = "mean"
  doc_stride: int | None = None
  max_windows: int = 32

  def __post_init__(self) -> None:
    for name, allowed in (("long_text", MODES), ("pooling", POOLINGS)):
      if (value := getattr(self, name)) not in allowed:
        raise UserError(f"`{name}`: expected one of {', '.join(allowed)}, found {value!r}")
    for name in ("doc_stride", "max_windows"):
      value = getattr(self, name)
      if value is not None and (type(value) is not int or value < 1):
        raise UserError(f"`{name}`: expected a number of at least 1, found {value!r}")

  @classmethod
  def of(cls, settings: Mapping[str, Any]) -> LongText:
    """That among the settings of a model."""
    if "long_text" not in settings:
      return cls()
    names = [field.name for field in dataclasses.fields(cls)]
    return cls(**{name: settings[name] for name in names if name in settings})

  @classmethod
  def settled(cls, given: Mapping[str, Any], known: Mapping[str, Any]) -> LongText:
    """What is said, or else what the weights were trained with.

    Args:
      given: fields by name; None, or not there, where nothing is said.
      known: the settings beside the weights.

    Raises:
      UserError: something is said of windows where there are none.
    """
    mode = setting("long_text", given.get("long_text"), known.get("long_text"), FIRST)
    if mode == WINDOWS:
      values = {
        field.name: setting(field.name, given.get(field.name), known.get(field.name), field.default)
        for field in dataclasses.fields(cls)[1:]
      }
      return cls(mode, **values)
    for field in dataclasses.fields(cls)[1:]:
      if given.get(field.name) is not None:
        raise UserError(
          f"`{field.name}`: expected `long_text=windows`, of which it speaks, found {mode}; leave"
          " the flag out"
        )
    return cls(mode)

  @property
  def in_windows(self) -> bool:
    """Whether a text may be several windows."""
    return self.long_text == WINDOWS

  def settings(self) -> dict[str, Any]:
    """What later commands must know to read alike, for the settings of a model."""
    if self.long_text == FIRST:
      return {}
    if not self.in_windows:
      return {"long_text": self.long_text}
    values = dataclasses.asdict(self)
    return {name: value for name, value in values.items() if value is not None}

  def stride(self, max_seq_length: int) -> int:
    """How many pieces a window starts after the one before.

    Raises:
      UserError: windows would leave gaps.
    """
    room = max_seq_length - _NUM_SPECIAL_TOKENS
    stride = max(1, room // 2) if self.doc_stride is None else self.doc_stride
    if stride > room:
      raise UserError(
        f"`doc_stride`: expected 1 to {room} (`max_seq_length` without [CLS] and [SEP]), found"
        f" {stride}"
      )
    return stride

  def most_ids(self, max_seq_length: int) -> int:
    """The longest sequence that is made of a text, special tokens included."""
    if not self.in_windows:
      return max_seq_length
    return max_seq_length + (self.max_windows - 1) * self.stride(max_seq_length)

  def limit(self, max_seq_length: int) -> str:
    """The setting that texts are cut at, for reports."""
    if self.in_windows:
      return f"`max_windows={self.max_windows}` of `max_seq_length={max_seq_length}`"
    both_ends = " to their first quarter and their end" if self.long_text == HEAD_TAIL else ""
    return f"`max_seq_length={max_seq_length}`{both_ends}"

  def cut(self, tokens_a: list[str], tokens_b: list[str], max_seq_length: int) -> None:
    """Takes from one text or two, in place, what a sequence has no room for.

    A pair loses pieces of its longer text, of the second one where both are of one length.
    """
    special = _NUM_SPECIAL_TOKENS + bool(tokens_b)
    whole = tokens_a.copy(), tokens_b.copy()
    truncate_seq_pair(tokens_a, tokens_b, self.most_ids(max_seq_length) - special)
    if self.long_text == HEAD_TAIL:
      for tokens, all_tokens in zip((tokens_a, tokens_b), whole, strict=True):
        tokens[:] = ends(all_tokens, len(tokens))


def first_part(count: int) -> int:
  """How many of `count` pieces that are kept are the first of a text; the others are its last."""
  return (count + 3) // 4


def ends(tokens: list[str], keep: int) -> list[str]:
  """The beginning and the end of a text: `keep` pieces in all."""
  if keep >= len(tokens):
    return tokens
  first = first_part(keep)
  return tokens[:first] + tokens[len(tokens) - (keep - first) :]
