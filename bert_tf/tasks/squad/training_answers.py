"""Answers to train on: where they lie in their contexts, in words and in characters."""

from __future__ import annotations

import bisect
import re
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.squad.contexts import Context
from bert_tf.tasks.squad.layouts import member

TRAIN_ANSWERS = ("first", "all")
# So many questions whose offsets are wrong are named.
_NAMED = 5


class TrainingAnswers:
  """Finds the answers of questions, and counts what is wrong with them."""

  def __init__(self, path: str, version_2_with_negative: bool, train_answers: str | None):
    """Args: as `read_squad_examples`."""
    if train_answers not in (None, *TRAIN_ANSWERS):
      raise UserError(f"`train_answers`: expected first or all, found {train_answers!r}")
    self._path = path
    self._version_2 = version_2_with_negative
    self._which = train_answers
    self._several = self._moved = 0

  def of(self, qa: dict[str, Any], context: Context) -> list[dict[str, Any]]:
    """The answers' fields of a `SquadExample`, an entry each; none that cannot be found.

    Raises:
      UserError: no answer; several, where that is an error; one outside of the context.
    """
    if self._version_2 and qa.get("is_impossible"):
      return [
        {"orig_answer_text": "", "start_position": -1, "end_position": -1, "is_impossible": True}
      ]
    place = f"{self._path}: question {qa['id']!r}"
    found = [self._find(qa, answer, context, place) for answer in self._chosen(qa, context, place)]
    # Of several annotators, two often agree.
    different = {(answer["orig_answer_text"], answer.get("answer_span")): answer
                 for answer in found if answer is not None}  # fmt: skip
    return list(different.values())

  def log(self) -> None:
    """Says how many answers are not learnt, and how many offsets were wrong."""
    if self._several and self._which != "all":
      logging.warning(
        "%s: %d questions have several answers, of which the first is learnt; `train_answers=all`"
        " learns each",
        self._path,
        self._several,
      )
    if self._moved:
      logging.warning(
        "%s: %d answers do not stand at their offsets (answer_start); they are learnt at the"
        " nearest place where they stand",
        self._path,
        self._moved,
      )

  def _chosen(self, qa: dict[str, Any], context: Context, place: str) -> list[Any]:
    answers = qa.get("answers")
    several_allowed = self._which is not None or context.by_offsets
    count = len(answers) if isinstance(answers, list) else 0
    if not isinstance(answers, list) or count < 1 or (count > 1 and not several_allowed):
      found = f"{count} answers" if isinstance(answers, list) else "no list 'answers'"
      raise UserError(
        f"{place}: expected exactly 1 answer for training, found {found}; keep one answer"
        + (", or pass `train_answers=first` or `all`" if count > 1 else "")
        + ", or mark the question 'is_impossible': true if it has none"
      )
    self._several += count > 1
    return answers if self._which == "all" else answers[:1]

  def _find(
    self, qa: dict[str, Any], answer: Any, context: Context, place: str
  ) -> dict[str, Any] | None:
    text = member(answer, "text", str, place)
    offset = member(answer, "answer_start", int, place)
    if context.by_offsets:
      return self._find_by_offset(qa, text, offset, context, place)
    if not text or offset < 0 or offset + len(text) > len(context.text):
      raise UserError(
        f"{place}: expected an answer inside the context of {len(context.text)} characters, found"
        f" answer_start {offset} with an answer of {len(text)} characters ({text!r:.40});"
        " correct answer_start"
      )
    start_position, end_position = _word_positions(context, offset, offset + len(text))
    actual_text = " ".join(context.words[start_position : end_position + 1])
    cleaned_answer_text = " ".join(text.split())
    if cleaned_answer_text not in actual_text:
      _warn_of(actual_text, cleaned_answer_text, qa)
      return None
    return {
      "orig_answer_text": text,
      "start_position": start_position,
      "end_position": end_position,
    }

  def _find_by_offset(
    self, qa: dict[str, Any], text: str, offset: int, context: Context, place: str
  ) -> dict[str, Any] | None:
    if not text.strip():
      raise UserError(f"{place}: expected an answer with text, found {text!r:.40}; correct it")
    span = nearest_place(context.text, text, offset)
    if span is None:
      there = context.text[max(offset, 0) : max(offset, 0) + len(text)]
      _warn_of(there, text, qa)
      return None
    if span[0] != offset:
      self._moved += 1
      if self._moved <= _NAMED:
        logging.warning(
          "%s: expected %r at answer_start %d, found it at %d", place, text, offset, span[0]
        )
    start_position, end_position = _word_positions(context, *span)
    return {
      "orig_answer_text": text,
      "start_position": start_position,
      "end_position": end_position,
      "answer_span": span,
    }


def nearest_place(context: str, text: str, offset: int) -> tuple[int, int] | None:
  """The characters [start, end) at which `text` stands in `context`, nearest to `offset`.

  White space of any kind and length is taken for the same; None if the text is not there.
  """
  if context.startswith(text, max(offset, 0)) and offset >= 0:
    return offset, offset + len(text)
  pattern = re.compile(r"\s+".join(map(re.escape, text.split())))
  places = [match.span() for match in pattern.finditer(context)]
  return min(places, key=lambda place: abs(place[0] - offset), default=None)


def _word_positions(context: Context, start: int, end: int) -> tuple[int, int]:
  """Indices of the words that hold the characters [start, end)."""
  starts = context.starts
  return bisect.bisect_right(starts, start) - 1, bisect.bisect_right(starts, end - 1) - 1


def _warn_of(there: str, text: str, qa: dict[str, Any]) -> None:
  logging.warning("Could not find answer: '%s' vs. '%s' (question %r)", there, text, qa["id"])
