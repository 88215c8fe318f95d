"""Answers by character offsets: what perfect logits reach, and what is learnt where."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from bert_tf.errors import UserError
from bert_tf.tasks.squad import character_scores, evaluation, named_sets
from bert_tf.tasks.squad.contexts import PiecePlaces
from bert_tf.tasks.squad.examples import read_squad_examples
from bert_tf.tasks.squad.features import convert_examples_to_features
from bert_tf.tasks.squad.layouts import load_squad, squad_paragraphs
from bert_tf.tasks.squad.predictions import (
  AnswerFinder,
  PredictionOptions,
  WindowLogits,
  predictions_by_question,
)
from bert_tf.tokenization import SPECIAL_TOKENS, FullTokenizer

# Nothing of “ ” ‘ ’ … nor Hangul, as in the released Chinese vocabulary.
BRIDGE = "馆长林小满（임소만）在二零一九年说：“这座桥建于一九三七年…”，他又说：‘修了三次’。"
DOORS = "门开着，灯亮着。门开着，窗关着。门开着，风很大。"
YEARS = "The 1822-1822 bridge."


def squad_of(context, *answers, id="q"):
  qas = [
    {"id": f"{id}{i}", "question": "什么？", "answers": [{"text": text, "answer_start": start}]}
    for i, (text, start) in enumerate(answers)
  ]
  return {"context": context, "qas": qas}


def write(path, *paragraphs):
  path.write_text(json.dumps({"data": [{"paragraphs": list(paragraphs)}]}), encoding="utf-8")
  return str(path)


@pytest.fixture(scope="module")
def tokenizer():
  missing = set("“”‘’…임소만")
  characters = sorted({*BRIDGE, *DOORS, *"什么？the1822-bridge."} - missing)
  words = ["the", "bridge", "18", "##22", *(f"##{digit}" for digit in "0123456789")]
  return FullTokenizer([*SPECIAL_TOKENS, *dict.fromkeys([*words, *characters])], True)


def perfect_predictions(path, tokenizer, answer_offsets, max_answer_length=10000):
  """What a model that chooses the annotated pieces answers, {id: Prediction}."""
  examples = read_squad_examples(path, False, answer_offsets=answer_offsets)
  places = PiecePlaces(tokenizer)
  spans = annotated_spans(path)
  windows = []
  # So long a window that every context is one.
  for window in convert_examples_to_features(examples, tokenizer, 6000, 5000, 64, False):
    example = examples[window.example_index]
    covering = places.covering(example.context, *spans[example.qas_id])
    logits = np.zeros([2, window.num_tokens])
    for side, piece in enumerate(covering):
      logits[side, piece + window.first_doc_token] = 10.0
    windows.append(WindowLogits(window, *logits))
  finder = AnswerFinder(tokenizer, PredictionOptions(max_answer_length=max_answer_length))
  found = predictions_by_question(examples, windows, finder)
  return {example.qas_id: prediction for example, prediction in found}


def annotated_spans(path):
  """The characters of the first answer to every question."""
  return {
    qa["id"]: (start := qa["answers"][0]["answer_start"], start + len(qa["answers"][0]["text"]))
    for paragraph in squad_paragraphs(load_squad(path), path)
    for qa in paragraph["qas"]
  }


def test_unknown_characters_do_not_make_the_context_the_answer(tmp_path, tokenizer):
  answers = [("一九三七年", 24), ("三次", 39), ("“这座桥建于一九三七年…”", 18)]
  path = write(tmp_path / "a.json", squad_of(BRIDGE, *answers))
  found = perfect_predictions(path, tokenizer, None)
  assert [prediction.text for prediction in found.values()] == [text for text, _ in answers]
  assert [p.start for p in found.values()] == [24, 39, 18]
  # The original's way, which is there on request.
  assert {p.text for p in perfect_predictions(path, tokenizer, False).values()} == {BRIDGE}


@pytest.mark.parametrize("answer_offsets", [None, False])
def test_places_are_where_the_model_chose(tmp_path, tokenizer, answer_offsets):
  places = [0, 8, 16]
  path = write(tmp_path / "a.json", squad_of(DOORS, *[("门开着", place) for place in places]))
  found = perfect_predictions(path, tokenizer, answer_offsets)
  assert [(p.text, p.start, p.end) for p in found.values()] == [
    ("门开着", place, place + 3) for place in places
  ]
  assert found["q2"].nbest[0].start == 16


def test_places_in_text_with_spaces(tmp_path, tokenizer):
  path = write(tmp_path / "a.json", squad_of(YEARS, ("1822", 9), ("1822-1822 bridge.", 4)))
  found = perfect_predictions(path, tokenizer, None)
  assert [(p.text, p.start, p.end) for p in found.values()] == [
    ("1822", 9, 13), ("1822-1822 bridge.", 4, 21),
  ]  # fmt: skip


def learnt(path, tokenizer, **options):
  examples = read_squad_examples(path, is_training=True, **options)
  places = PiecePlaces(tokenizer)
  windows = convert_examples_to_features(examples, tokenizer, 100, 50, 20, is_training=True)
  return [
    places.span(
      examples[w.example_index].context,
      w.start_position - w.first_doc_token,
      w.end_position - w.first_doc_token,
    )
    for w in windows
  ]


@pytest.mark.parametrize(
  ("context", "answer", "answer_offsets", "expected"),
  [
    (DOORS, ("门开着", 16), None, (16, 19)),
    (DOORS, ("门开着", 16), False, (0, 3)),
    (YEARS, ("1822", 9), None, (4, 8)),
    (YEARS, ("1822", 9), True, (9, 13)),
    # A part of a piece is learnt as the piece; an unknown character does not widen the answer.
    (BRIDGE, ("임", 6), None, (6, 9)),
    (BRIDGE, ("…”，他", 29), None, (29, 33)),
  ],
)
def test_the_annotated_occurrence_is_learnt(
  tmp_path, tokenizer, context, answer, answer_offsets, expected
):
  path = write(tmp_path / "a.json", squad_of(context, answer))
  assert learnt(path, tokenizer, answer_offsets=answer_offsets) == [expected]


def test_wrong_offsets_are_told(tmp_path, tokenizer, caplog):
  answers = [("门开着", 14), ("门开着", -1), ("月亮", 3), ("风很大", 20)]
  path = write(tmp_path / "a.json", squad_of(DOORS, *answers))
  with caplog.at_level(logging.WARNING, logger="absl"):
    assert learnt(path, tokenizer) == [(16, 19), (0, 3), (20, 23)]
  assert "'q0': expected '门开着' at answer_start 14, found it at 16" in caplog.text
  assert "Could not find answer: '，灯' vs. '月亮' (question 'q2')" in caplog.text
  assert "2 answers do not stand at their offsets" in caplog.text
  assert "1 of 4 questions are left out" in caplog.text
  caplog.clear()
  path = write(tmp_path / "b.json", squad_of(DOORS, ("  ", 0)))
  with pytest.raises(UserError, match="expected an answer with text"):
    learnt(path, tokenizer)


def test_several_answers(tmp_path, tokenizer, caplog):
  several = {
    "id": "q", "question": "？",
    "answers": [{"text": t, "answer_start": s} for t, s in [("灯", 4), ("灯亮着", 4), ("灯", 4)]],
  }  # fmt: skip
  path = write(tmp_path / "a.json", {"context": DOORS, "qas": [several]})
  with caplog.at_level(logging.WARNING, logger="absl"):
    assert learnt(path, tokenizer) == [(4, 5)]
  assert "1 questions have several answers, of which the first is learnt" in caplog.text
  # What annotators agree about is one example.
  assert learnt(path, tokenizer, train_answers="all") == [(4, 5), (4, 7)]
  with pytest.raises(UserError, match=r"found 3 answers.*`train_answers=first`"):
    learnt(path, tokenizer, answer_offsets=False)
  with pytest.raises(UserError, match="`train_answers`: expected first or all, found 'last'"):
    learnt(path, tokenizer, train_answers="last")


def test_the_first_layout_of_cmrc(tmp_path, tokenizer):
  qas = [{"query_id": "Q1", "query_text": "？", "answers": ["灯亮着", "灯"]}]
  contexts = [{"context_id": "C", "context_text": DOORS, "title": "门", "qas": qas}]
  path = tmp_path / "a.json"
  path.write_text(json.dumps(contexts), encoding="utf-8")
  assert learnt(str(path), tokenizer) == [(4, 7)]
  assert evaluation.right_answers(load_squad(str(path))) == {"Q1": ["灯亮着", "灯"]}
  path.write_text(json.dumps([{**contexts[0], "qas": [{"query_id": "Q1"}]}]), encoding="utf-8")
  with pytest.raises(UserError, match=r"\[0\].qas\[0\]: .*key 'query_text'"):
    load_squad(str(path))
  bad = [{**contexts[0], "qas": [{**qas[0], "answers": [7]}]}]
  path.write_text(json.dumps(bad), encoding="utf-8")
  with pytest.raises(UserError, match="'answers' as strings, found 7"):
    load_squad(str(path))


def test_sets_by_name(tmp_path):
  with pytest.raises(UserError, match="expected cmrc2018 or drcd, found 'squad'"):
    named_sets.files_of("squad", str(tmp_path))
  with pytest.raises(UserError, match="`data_dir`: expected a directory, found none"):
    named_sets.files_of("drcd", None)
  with pytest.raises(UserError, match=r"some of cmrc2018_train\.json, train\.json, cmrc2018_"):
    named_sets.files_of("cmrc2018", str(tmp_path))
  for name in ("train.json", "DRCD_training.json"):
    (tmp_path / name).touch()
  assert named_sets.files_of("DRCD", str(tmp_path)) == (str(tmp_path / "DRCD_training.json"), None)
  assert named_sets.files_of("cmrc2018", str(tmp_path)) == (str(tmp_path / "train.json"), None)


# (file, vocabulary, answer_offsets, answers that do not stand at their offsets, answers that begin
# or end inside of a piece, such as 4个 of 34个).
CEILINGS = [
  ("cmrc2018/cmrc2018_dev.json", "chinese", None, 3, 1),
  ("cmrc2018/cmrc2018_trial.json", "chinese", None, 5, 0),
  ("squad/xquad.zh.json", "chinese", None, 0, 0),
  ("parity/squad_multi_slice.json", "multilingual-cased", True, 0, 0),
  ("squad/xquad.en.json", "uncased", True, 0, 1),
]


@pytest.mark.parametrize(("name", "vocab", "answer_offsets", "misplaced", "inside"), CEILINGS)
def test_perfect_logits_give_the_annotated_answers(
  real_data, name, vocab, answer_offsets, misplaced, inside
):
  """All but annotations that are wrong or that no pieces can spell; these are counted."""
  path = str(real_data / name)
  vocab_file = real_data / "vocabs" / f"bert-base-{vocab}-vocab.txt"
  tokenizer = FullTokenizer(vocab_file, do_lower_case=not vocab.endswith("-cased"))
  predictions = perfect_predictions(path, tokenizer, answer_offsets)
  truths, wrong = {}, {"misplaced": [], "inside": []}
  for paragraph in squad_paragraphs(load_squad(path), path):
    for qa in paragraph["qas"]:
      answer, found = qa["answers"][0], predictions[qa["id"]]
      if not paragraph["context"].startswith(answer["text"], answer["answer_start"]):
        wrong["misplaced"].append(answer["text"])
      elif answer["text"].strip() != paragraph["context"][found.start : found.end].strip():
        wrong["inside"].append((answer["text"], found.text))
      else:
        truths[qa["id"]] = [answer["text"]]
  assert {kind: len(found) for kind, found in wrong.items()} == {
    "misplaced": misplaced, "inside": inside,
  }, wrong  # fmt: skip
  texts = {key: prediction.text for key, prediction in predictions.items()}
  assert evaluation.evaluate_v1(truths, texts)["exact_match"] == 100.0
  assert character_scores.evaluate(truths, texts)["exact_match"] == 100.0
