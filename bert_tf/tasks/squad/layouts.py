"""The JSON files of reading comprehension: SQuAD's layout, and CMRC 2018's own.

CMRC's first files are a list of contexts whose answers are texts without places; they are read as
if they were SQuAD's, with each answer at its first place. DRCD's files, and CMRC's later ones, have
SQuAD's layout with more keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file

_JSON_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "a list"}


def load_squad(path: str) -> dict[str, Any]:
  """Parses a file of SQuAD's or of CMRC's layout; the result is SQuAD's, with the list `data`.

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
  if is_cmrc(squad):
    return _squad_of_cmrc(squad, path)
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
    for j, paragraph in enumerate(member(article, "paragraphs", list, place)):
      place = f"{path}: data[{i}].paragraphs[{j}]"
      member(paragraph, "context", str, place)
      for k, qa in enumerate(member(paragraph, "qas", list, place)):
        place = f"{path}: data[{i}].paragraphs[{j}].qas[{k}]"
        member(qa, "id", (str, int), place)
        member(qa, "question", str, place)
        _check_answers(qa, f"{path}: question {qa['id']!r}")
      yield paragraph


def _check_answers(qa: dict[str, Any], place: str) -> None:
  """Checks the types of what a question need not have: is_impossible and answers."""
  if "is_impossible" in qa:
    member(qa, "is_impossible", bool, place)
  if "answers" not in qa:
    return
  for answer in member(qa, "answers", list, place):
    member(answer, "text", str, place)
    if "answer_start" in answer:
      member(answer, "answer_start", int, place)


def member(parent: Any, key: str, expected: type | tuple[type, ...], place: str) -> Any:
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


def is_cmrc(content: Any) -> bool:
  """Whether a parsed file is a list of contexts, as the first files of CMRC 2018 are."""
  return (
    isinstance(content, list)
    and bool(content)
    and isinstance(content[0], dict)
    and "context_text" in content[0]
  )


def _squad_of_cmrc(contexts: list[Any], path: str) -> dict[str, Any]:
  paragraphs = []
  for i, context in enumerate(contexts):
    place = f"{path}: [{i}]"
    text = member(context, "context_text", str, place)
    qas = []
    for k, qa in enumerate(member(context, "qas", list, place)):
      place = f"{path}: [{i}].qas[{k}]"
      question = {
        "id": member(qa, "query_id", (str, int), place),
        "question": member(qa, "query_text", str, place),
      }
      if "answers" in qa:
        answers = member(qa, "answers", list, place)
        if wrong := [answer for answer in answers if not isinstance(answer, str)]:
          raise UserError(f"{place}: expected 'answers' as strings, found {wrong[0]!r:.60}")
        question["answers"] = [{"text": a, "answer_start": text.find(a)} for a in answers]
      qas.append(question)
    paragraphs.append({"context": text, "qas": qas})
  return {"data": [{"title": "", "paragraphs": paragraphs}]}
