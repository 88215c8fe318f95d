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


def read_squad_examples(
  path: str, is_training: bool, version_2_with_negative: bool = False
) -> list[SquadExample]:
  """Reads a SQuAD 1.1 or 2.0 JSON file.

  Follows `read_squad_examples` of the original's run_squad.py. When training, a question whose
  answer is not found in the words at its offset is left out with a warning.

  Args:
    path: a JSON file with the keys `version` and `data`.
    is_training: also read answers; each question then needs exactly one.
    version_2_with_negative: the file may hold questions without an answer.

  Raises:
    UserError: no such file, no JSON, another layout than SQuAD's, a training answer that does not
      lie in its context, or questions without an answer in spite of version_2_with_negative=False.
  """
  examples = []
  for paragraph in squad_paragraphs(load_squad(path), path):
    context = paragraph["context"]
    words = list(_WORD.finditer(context))
    doc_tokens = [word.group() for word in words]
    starts = [word.start() for word in words] if is_training else []
    for qa in paragraph["qas"]:
      _check_version(qa, path, version_2_with_negative)
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
  return examples


def load_squad(path: str) -> dict[str, Any]:
  """Parses a SQuAD file; the result has `version` and the list `data`.

  Raises:
    UserError: no such file, no UTF-8, no JSON, no `version` or no list `data`.
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
      f'{path}: expected a JSON object {{"version": ..., "data": [...]}}, found a'
      f" {type(squad).__name__}; wrap the articles in such an object"
    )
  for key in ("version", "data"):
    if key not in squad:
      found = ", ".join(map(repr, list(squad)[:5])) or "no keys"
      raise UserError(
        f"{path}: expected a SQuAD file with the keys 'version' and 'data', found {found};"
        f" add {key!r}" + (' (such as "version": "1.1")' if key == "version" else "")
      )
  if not isinstance(squad["data"], list):
    raise UserError(
      f"{path}: expected 'data' to be a list of articles, found a {type(squad['data']).__name__}"
    )
  return squad


def squad_paragraphs(squad: dict[str, Any], path: str) -> Iterator[dict[str, Any]]:
  """Yields the paragraphs of a parsed SQuAD file, their layout checked (answers excepted).

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
      yield paragraph


def _member(parent: Any, key: str, expected: type | tuple[type, ...], place: str) -> Any:
  """Returns parent[key]; raises UserError unless parent is an object and the value `expected`."""
  if not isinstance(parent, dict) or key not in parent:
    found = ", ".join(map(repr, parent)) if isinstance(parent, dict) else type(parent).__name__
    raise UserError(f"{place}: expected an object with the key {key!r}, found {found or 'no keys'}")
  if not isinstance(parent[key], expected):
    kinds = expected if isinstance(expected, tuple) else (expected,)
    names = " or ".join(kind.__name__ for kind in kinds)
    raise UserError(f"{place}: expected {key!r} to be {names}, found {parent[key]!r:.60}")
  return parent[key]


def _check_version(qa: dict[str, Any], path: str, version_2_with_negative: bool) -> None:
  if qa.get("is_impossible") and not version_2_with_negative:
    raise UserError(
      f"{path}: question {qa['id']!r}: expected SQuAD 1.1, where every question has an answer,"
      " found 'is_impossible': true (SQuAD 2.0); pass --version_2_with_negative=True"
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
    logging.warning("Could not find answer: '%s' vs. '%s'", actual_text, cleaned_answer_text)
    return None
  return {
    "orig_answer_text": text,
    "start_position": start_position,
    "end_position": end_position,
  }
