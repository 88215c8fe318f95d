"""Questions and contexts from a SQuAD JSON file."""

from __future__ import annotations

import bisect
import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.files import existing_file

_JSON_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "a list"}
# What separates words in a context: other Unicode white space (U+00A0, U+3000) does not.
_WORD = re.compile("[^ \t\r\n\u202f]+")


@dataclasses.dataclass(frozen=True, slots=True)
class SquadExample:
  """One question about one context.

  Attributes:
    qas_id: the question's id in the file.
    question_text: the question.
    doc_tokens: words of the context; all questions of a paragraph share one list.
    orig_answer_text: the answer; None unless read for training, "" if there is none.
    start_position: index in doc_tokens of the answer's first word; None unless read for training,
      -1 if there is no answer.
    end_position: index of the answer's last word, like start_position.
    is_impossible: the question has no answer in this context (SQuAD 2.0 training data).
  """

  qas_id: str
  question_text: str
  doc_tokens: list[str]
  orig_answer_text: str | None = None
  start_position: int | None = None
  end_position: int | None = None
  is_impossible: bool = False


def words_of(context: str) -> list[str]:
  """The words of a context, as examples hold them."""
  return _WORD.findall(context)


def read_squad_examples(
  path: str, is_training: bool, version_2_with_negative: bool = False
) -> list[SquadExample]:
  """Reads a SQuAD 1.1 or 2.0 JSON file.

  Follows `read_squad_examples` of the original's run_squad.py. When training, a question whose
  answer is not found in the words at its offset is left out with a warning.

  Args:
    path: a JSON file with the key `data`.
    is_training: also read answers; each question then needs exactly one.
    version_2_with_negative: the file may hold questions without an answer.

  Raises:
    UserError: no such file, no JSON, another layout than SQuAD's, a training answer that does not
      lie in its context, or questions without an answer in spite of version_2_with_negative=False;
      in prediction, where answers are kept by the questions' ids, also an id that occurs twice.
  """
  examples = []
  ids = _QuestionIds(path, is_training)
  for paragraph in squad_paragraphs(load_squad(path), path):
    context = paragraph["context"]
    words = list(_WORD.finditer(context))
    doc_tokens = [word.group() for word in words]
    starts = [word.start() for word in words] if is_training else []
    for qa in paragraph["qas"]:
      _check_version(qa, path, version_2_with_negative)
      ids.add(qa["id"])
      question = {
        "qas_id": qa["id"],
        "question_text": qa["question"],
        "doc_tokens": doc_tokens,
      }
      if is_training:
        answer = _training_answer(qa, path, context, doc_tokens, starts, version_2_with_negative)
        if answer is None:
          continue
        question |= answer
      examples.append(SquadExample(**question))
  if not examples:
    raise UserError(f"{path}: expected at least one question, found none that can be used")
  ids.report(num_used=len(examples))
  return examples


class _QuestionIds:
  """Watches for questions that are lost: by an id that another one has, or by their answers."""

  def __init__(self, path: str, is_training: bool):
    self._path = path
    self._is_training = is_training
    self._seen: set[str] = set()
    self._num_questions = 0

  def add(self, qa_id: str | int) -> None:
    """Notes a question; in prediction of two with one id one would lose its answer."""
    self._num_questions += 1
    # In predictions.json, 7 and "7" are one key.
    if str(qa_id) in self._seen and not self._is_training:
      raise UserError(
        f"{self._path}: expected every question to have an id of its own, found {qa_id!r} twice;"
        " predictions are kept by id, so one answer would be lost: rename one"
      )
    self._seen.add(str(qa_id))

  def report(self, num_used: int) -> None:
    """Says how many questions cannot be learnt, and that ids repeat."""
    if repeated := self._num_questions - len(self._seen):
      logging.warning(
        "%s: %d of %d questions have an id that an earlier one has; all are learnt, but a"
        " prediction on this file would be refused",
        self._path,
        repeated,
        self._num_questions,
      )
    if num_used < self._num_questions:
      logging.warning(
        "%s: %d of %d questions are left out, as their answers are not found at their offsets"
        " (answer_start); the warnings above name them",
        self._path,
        self._num_questions - num_used,
        self._num_questions,
      )


def load_squad(path: str) -> dict[str, Any]:
  """Parses a SQuAD file; the result has the list `data`.

  Of the top level the original reads nothing else: many public files have no `version`.

  Raises:
    UserError: no such file, no UTF-8, no JSON, or no list `data`.
  """
  existing_file(path, "SQuAD file")
  try:
    with open(path, encoding="utf-8-sig") as file:
      squad = json.load(file)
  except json.JSONDecodeError as error:
    raise UserError(
      f"{path}: line {error.lineno}, column {error.colno}: expected SQuAD JSON, found"
      f" {error.msg[:1].lower()}{error.msg[1:]}; check that the file is complete"
    ) from error
  except UnicodeDecodeError as error:
    raise UserError(
      f"{path}: byte {error.start}: expected UTF-8, found {error.reason}; convert the file to UTF-8"
    ) from error
  except RecursionError as error:
    raise UserError(f"{path}: expected SQuAD JSON, found too deeply nested JSON") from error
  if not isinstance(squad, dict):
    raise UserError(
      f'{path}: expected a JSON object {{"data": [...]}}, found a {type(squad).__name__}; wrap the'
      " articles in such an object"
    )
  if "data" not in squad:
    found = ", ".join(map(repr, list(squad)[:5])) or "no keys"
    raise UserError(
      f"{path}: expected a SQuAD file with the key 'data', found {found}; add 'data', the list of"
      " articles"
    )
  if not isinstance(squad["data"], list):
    raise UserError(
      f"{path}: expected 'data' to be a list of articles, found a {type(squad['data']).__name__}"
    )
  return squad


def squad_paragraphs(squad: dict[str, Any], path: str) -> Iterator[dict[str, Any]]:
  """Yields the paragraphs of a parsed SQuAD file, their layout checked.

  Raises:
    UserError: a key is missing or its value has another type.
  """
  for i, article in enumerate(squad["data"]):
    place = f"{path}: data[{i}]"
    for j, paragraph in enumerate(_member(article, "paragraphs", list, place)):
      place = f"{path}: data[{i}].paragraphs[{j}]"
      _member(paragraph, "context", str, place)
      for k, qa in enumerate(_member(paragraph, "qas", list, place)):
        place = f"{path}: data[{i}].paragraphs[{j}].qas[{k}]"
        _member(qa, "id", (str, int), place)
        _member(qa, "question", str, place)
        _check_answers(qa, f"{path}: question {qa['id']!r}")
      yield paragraph


def _check_answers(qa: dict[str, Any], place: str) -> None:
  """Checks the types of what a question need not have: is_impossible and answers."""
  if "is_impossible" in qa:
    _member(qa, "is_impossible", bool, place)
  if "answers" not in qa:
    return
  for answer in _member(qa, "answers", list, place):
    _member(answer, "text", str, place)
    if "answer_start" in answer:
      _member(answer, "answer_start", int, place)


def _member(parent: Any, key: str, expected: type | tuple[type, ...], place: str) -> Any:
  """Returns parent[key]; raises UserError unless parent is an object and the value `expected`."""
  if not isinstance(parent, dict) or key not in parent:
    found = ", ".join(map(repr, parent)) if isinstance(parent, dict) else type(parent).__name__
    raise UserError(f"{place}: expected an object with the key {key!r}, found {found or 'no keys'}")
  value = parent[key]
  kinds = expected if isinstance(expected, tuple) else (expected,)
  # To Python, but not to JSON, true is an integer.
  if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
    names = " or ".join(_JSON_NAMES[kind] for kind in kinds)
    found = json.dumps(value, ensure_ascii=False)
    raise UserError(f"{place}: expected {key!r} to be {names}, found {found:.60}")
  return value


def _check_version(qa: dict[str, Any], path: str, version_2_with_negative: bool) -> None:
  if qa.get("is_impossible") and not version_2_with_negative:
    raise UserError(
      f"{path}: question {qa['id']!r}: expected SQuAD 1.1, where every question has an answer,"
      " found 'is_impossible': true (SQuAD 2.0); pass `version_2_with_negative=True`"
    )


def _training_answer(
  qa: dict[str, Any],
  path: str,
  context: str,
  doc_tokens: list[str],
  starts: list[int],
  version_2_with_negative: bool,
) -> dict[str, Any] | None:
  """Returns the answer's fields of a SquadExample; None if its text is not at its offset.

  Args:
    qa: the question.
    path: the file, for messages.
    context: the paragraph's text.
    doc_tokens: the context's words.
    starts: the character offset of each word.
    version_2_with_negative: whether a question may have no answer.
  """
  place = f"{path}: question {qa['id']!r}"
  if version_2_with_negative and qa.get("is_impossible"):
    return {
      "orig_answer_text": "", "start_position": -1, "end_position": -1, "is_impossible": True,
    }  # fmt: skip
  answers = qa.get("answers")
  if not isinstance(answers, list) or len(answers) != 1:
    found = f"{len(answers)} answers" if isinstance(answers, list) else "no list 'answers'"
    raise UserError(
      f"{place}: expected exactly 1 answer for training, found {found};"
      " keep one answer, or mark the question 'is_impossible': true if it has none"
    )
  text = _member(answers[0], "text", str, place)
  offset = _member(answers[0], "answer_start", int, place)
  if not text or offset < 0 or offset + len(text) > len(context):
    raise UserError(
      f"{place}: expected an answer inside the context of {len(context)} characters, found"
      f" answer_start {offset} with an answer of {len(text)} characters ({text!r:.40});"
      " correct answer_start"
    )
  start_position = bisect.bisect_right(starts, offset) - 1
  end_position = bisect.bisect_right(starts, offset + len(text) - 1) - 1
  actual_text = " ".join(doc_tokens[start_position : end_position + 1])
  cleaned_answer_text = " ".join(text.split())
  if cleaned_answer_text not in actual_text:
    logging.warning(
      "Could not find answer: '%s' vs. '%s' (question %r)",
      actual_text,
      cleaned_answer_text,
      qa["id"],
    )
    return None
  return {
    "orig_answer_text": text,
    "start_position": start_position,
    "end_position": end_position,
  }
