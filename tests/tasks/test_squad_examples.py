"""Reading SQuAD files: layouts, positions, and everything that can be wrong with them."""

from __future__ import annotations

import json
import logging as python_logging
import re

import pytest

from bert_tf.errors import UserError
from bert_tf.tasks.squad import evaluation
from bert_tf.tasks.squad.examples import read_squad_examples
from bert_tf.tasks.squad.layouts import load_squad


def write(path, squad):
  path.write_text(squad if isinstance(squad, str) else json.dumps(squad), encoding="utf-8")
  return str(path)


def squad_of(context, *qas, version="1.1"):
  return {"version": version, "data": [{"paragraphs": [{"context": context, "qas": list(qas)}]}]}


def qa(text="", start=0, **more):
  return {
    "id": "q1",
    "question": "?",
    "answers": [{"text": text, "answer_start": start}],
    **more,
  }


@pytest.mark.parametrize(
  ("context", "answer", "doc_tokens", "position"),
  [
    ("The  moon\tis\r\nfull", "moon", ["The", "moon", "is", "full"], (1, 1)),
    ("one\u202ftwo", "two", ["one", "two"], (1, 1)),
    # U+00A0 and U+3000 do not separate words.
    ("one\u00a0two\u3000three", "two", ["one\u00a0two\u3000three"], (0, 0)),
    ("(1895-1943).", "1895", ["(1895-1943)."], (0, 0)),
    # White space before a word belongs to the word before it.
    ("a b c", " c", ["a", "b", "c"], (1, 2)),
    (" a b", "a", ["a", "b"], (0, 0)),
  ],
)
def test_words_and_positions(tmp_path, context, answer, doc_tokens, position):
  path = write(tmp_path / "a.json", squad_of(context, qa(answer, context.index(answer))))
  [example] = read_squad_examples(path, is_training=True)
  assert example.doc_tokens == doc_tokens
  assert (example.start_position, example.end_position) == position
  assert example.orig_answer_text == answer
  [example] = read_squad_examples(path, is_training=False)
  assert (example.start_position, example.end_position, example.orig_answer_text) == (None,) * 3


def test_unfindable_answers_are_skipped_with_a_warning(tmp_path, caplog):
  squad = squad_of("The moon is full", qa("sun", 4), qa("moon", 4, id="q2"))
  with caplog.at_level(python_logging.WARNING, logger="absl"):
    examples = read_squad_examples(write(tmp_path / "a.json", squad), is_training=True)
  assert [example.qas_id for example in examples] == ["q2"]
  one, total = [r.getMessage() for r in caplog.records]
  assert one == "Could not find answer: 'moon' vs. 'sun' (question 'q1')"
  assert "1 of 2 questions are left out" in total


def test_files_without_version_are_read(tmp_path):
  """The original reads `data` alone, and public files have no more."""
  squad = squad_of("The moon", qa("moon", 4))
  with_version = write(tmp_path / "a.json", squad)
  del squad["version"]
  without = write(tmp_path / "b.json", squad)
  for is_training in (True, False):
    expected = read_squad_examples(with_version, is_training)
    assert read_squad_examples(without, is_training) == expected
  assert evaluation.right_answers(load_squad(without)) == {"q1": ["moon"]}


@pytest.mark.parametrize("ids", [("q1", "q1"), (7, "7")])
def test_ids_that_repeat_would_lose_an_answer(tmp_path, caplog, ids):
  qas = [qa("moon", 4, id=name) for name in ids]
  path = write(tmp_path / "a.json", squad_of("The moon", *qas))
  with pytest.raises(UserError, match=r"id of its own, found '(q1|7)' twice"):
    read_squad_examples(path, is_training=False)
  with caplog.at_level(python_logging.WARNING, logger="absl"):
    assert len(read_squad_examples(path, is_training=True)) == 2
  assert "1 of 2 questions have an id that an earlier one has" in caplog.text


def test_files_where_answers_are_missing_in_part_say_why_there_is_no_score(tmp_path, caplog):
  squad = squad_of("The moon", qa("moon", 4), {"id": "q2", "question": "?"})
  path = write(tmp_path / "a.json", squad)
  with caplog.at_level(python_logging.WARNING, logger="absl"):
    assert evaluation.right_answers(load_squad(path)) is None
  assert "question 'q2' has none" in caplog.text


def test_prediction_needs_no_answers(tmp_path):
  """Test sets come without answers, or with placeholders at offset -1."""
  squad = squad_of("The moon", {"id": "q1", "question": "?"}, qa("FAKE_ANSWER_1", -1, id="q2"))
  path = write(tmp_path / "a.json", squad)
  assert [e.qas_id for e in read_squad_examples(path, is_training=False)] == ["q1", "q2"]


def test_questions_without_answer(tmp_path):
  impossible = {"id": "q2", "question": "?", "answers": [], "is_impossible": True}
  squad = squad_of("The moon", qa("moon", 4, is_impossible=False), qa("moon", 4, id="q3"))
  squad["data"][0]["paragraphs"][0]["qas"].append(impossible)
  path = write(tmp_path / "a.json", squad)
  examples = read_squad_examples(path, is_training=True, version_2_with_negative=True)
  assert [(e.qas_id, e.is_impossible, e.start_position) for e in examples] == [
    ("q1", False, 1), ("q3", False, 1), ("q2", True, -1),
  ]  # fmt: skip
  for is_training in (True, False):
    with pytest.raises(UserError, match=r"question 'q2'.*pass `version_2_with_negative=True`"):
      read_squad_examples(path, is_training)


def test_byte_order_mark(tmp_path):
  path = write(tmp_path / "a.json", "\ufeff" + json.dumps(squad_of("The moon", qa())))
  assert len(read_squad_examples(path, is_training=False)) == 1


BAD = [
  (
    '{"data": [],\n "version": }',
    "a.json: line 2, column 13: expected SQuAD JSON, found expecting",
  ),
  ('{"version": "1.1"', "a.json: line 1, column 18"),
  ("[" * 100000, "too deeply nested"),
  ([], "expected a JSON object .* found a list"),
  ({"version": "1.1"}, "key 'data', found 'version'; add 'data', the list of articles"),
  ({}, "key 'data', found no keys"),
  ({"data": []}, "at least one question"),
  ({"version": "1.1", "data": {}}, "'data' to be a list of articles, found a dict"),
  ({"version": "1.1", "data": []}, "at least one question"),
  ({"version": "1.1", "data": [{"title": "t"}]}, r"data\[0\].*key 'paragraphs', found 'title'"),
  ({"version": "1.1", "data": ["x"]}, r"data\[0\]: .*key 'paragraphs', found str"),
  (
    {"version": "1.1", "data": [{"paragraphs": [{"qas": []}]}]},
    r"data\[0\].paragraphs\[0\]: .*key 'context'",
  ),
  (squad_of(7), r"data\[0\].paragraphs\[0\]: expected 'context' to be a string, found 7"),
  (squad_of("c", {"id": "q1"}), r"data\[0\].paragraphs\[0\].qas\[0\]: .*'question', found 'id'"),
  (squad_of("c", {"question": "?"}), r"qas\[0\]: .*key 'id'"),
  (squad_of("The moon", qa("moon", 5)), "'q1': .*8 characters, found answer_start 5.* of 4 char"),
  (squad_of("The moon", qa("moon", -4)), "question 'q1': .*answer_start -4"),
  (squad_of("The moon", qa("", 2)), "question 'q1': .*an answer of 0 characters"),
  (squad_of("The moon", qa("moon", "4")), 'expected .answer_start. to be an integer, found "4"'),
  (squad_of("The moon", qa(None, 4)), "question 'q1': expected 'text' to be a string, found null"),
  (squad_of("The moon", qa(answers=[])), "'q1': expected exactly 1 answer.* found 0 answers"),
  (
    squad_of("The moon", qa(answers=[{"text": "The"}, {"text": "moon"}])),
    "exactly 1 answer for training, found 2 answers",
  ),
  (squad_of("The moon", {"id": "q1", "question": "?"}), "found no list 'answers'"),
]
# What prediction does not need is checked too, as it decides what is scored.
WRONG_TYPES = [
  ({"is_impossible": "false"}, "'is_impossible' to be true or false, found \"false\""),
  ({"is_impossible": None}, "'is_impossible' to be true or false, found null"),
  ({"is_impossible": 0}, "'is_impossible' to be true or false, found 0"),
  ({"id": None}, "'id' to be a string or an integer, found null"),
  ({"id": True}, "'id' to be a string or an integer, found true"),
  ({"id": 1.5}, "'id' to be a string or an integer, found 1.5"),
  ({"question": ["?"]}, "'question' to be a string, found "),
  ({"question": None}, "'question' to be a string, found null"),
  ({"answers": None}, "'answers' to be a list, found null"),
  ({"answers": {"text": ["moon"]}}, "'answers' to be a list, found {"),
  ({"answers": ["moon"]}, "expected an object with the key 'text', found str"),
  ({"answers": [{"text": 7, "answer_start": 4}]}, "'text' to be a string, found 7"),
  ({"answers": [{"text": "moon", "answer_start": "4"}]}, "'answer_start' to be an integer"),
  ({"answers": [{"text": "moon", "answer_start": 4.0}]}, "'answer_start' to be an integer"),
  ({"answers": [{"text": "moon", "answer_start": True}]}, "'answer_start' to be an integer"),
]


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(("change", "message"), WRONG_TYPES)
def test_types_of_a_question(tmp_path, change, message, is_training):
  path = write(tmp_path / "a.json", squad_of("The moon", {**qa("moon", 4), **change}))
  with pytest.raises(UserError, match=re.escape(message)):
    read_squad_examples(path, is_training, version_2_with_negative=True)


@pytest.mark.parametrize(("squad", "message"), BAD)
def test_bad_files(tmp_path, squad, message):
  with pytest.raises(UserError, match=message) as error:
    read_squad_examples(write(tmp_path / "a.json", squad), is_training=True)
  assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
  with pytest.raises(UserError, match=r"missing\.json"):
    read_squad_examples(str(tmp_path / "missing.json"), is_training=True)
  (tmp_path / "a.json").write_bytes(b'{"version": "\xff"}')
  with pytest.raises(UserError, match="byte 13: expected UTF-8"):
    read_squad_examples(str(tmp_path / "a.json"), is_training=True)


@pytest.mark.parametrize(
  ("name", "questions"), [("cmrc2018/cmrc2018_dev.json", 3219), ("squad/xquad.zh.json", 1190)]
)
def test_chinese_files_can_be_read(real_data, name, questions):
  examples = read_squad_examples(str(real_data / name), is_training=False)
  assert len(examples) == questions
  assert all("".join(example.doc_tokens) for example in examples)
