"""Scores against cases worked by hand and against another implementation of the scorers."""

from __future__ import annotations

import random

import pytest

from bert_tf.tasks.squad import evaluation
from bert_tf.tasks.squad.layouts import load_squad


@pytest.mark.parametrize(
  ("text", "normalized"),
  [
    ("The  Quick, brown Fox!", "quick brown fox"),
    ("an apple a day", "apple day"),
    ("theatre", "theatre"),
    # Punctuation goes before articles are sought, white space last.
    ("A.", ""),
    ("U.S.A.", "usa"),
    ("the-end", "theend"),
    ("“curly” – dash", "“curly” – dash"),
    (" \t\n", ""),
  ],
)
def test_normalization(text, normalized):
  assert evaluation.normalize_answer(text) == normalized


@pytest.mark.parametrize(
  ("prediction", "truth", "exact", "f1_v1", "f1_v2"),
  [
    ("The Denver Broncos", "Denver Broncos", 1, 1, 1),
    # 2 of 3 words found are right, 2 of 2 expected are found: 2 * (2/3) * 1 / (2/3 + 1).
    ("old Denver Broncos", "Denver Broncos", 0, 0.8, 0.8),
    # Words are bags: one of "very very" is matched.
    ("very", "very very big", 0, 0.5, 0.5),
    ("Panthers", "Denver Broncos", 0, 0, 0),
    ("", "Denver", 0, 0, 0),
    ("Denver", "", 0, 0, 0),
    ("", "", 1, 0, 1),
    ("the", "a", 1, 0, 1),
  ],
)
def test_one_answer(prediction, truth, exact, f1_v1, f1_v2):
  assert evaluation.exact_match(prediction, truth) == exact
  assert evaluation.f1(prediction, truth) == pytest.approx(f1_v1)
  assert evaluation.f1(prediction, truth, no_tokens=1.0) == pytest.approx(f1_v2)


def test_squad_1_by_hand():
  answers = {"q1": ["Denver", "Denver Broncos"], "q2": ["gold"], "q3": ["red"], "q4": ["blue"]}
  predictions = {"q1": "The Broncos", "q2": "Gold.", "q3": "green"}
  # q1: 2 * 1 * 1/2 / (3/2) = 2/3 against the second answer; q4 is missing.
  scores = evaluation.evaluate_v1(answers, predictions)
  assert scores == pytest.approx({"exact_match": 25.0, "f1": 100 * (2 / 3 + 1) / 4})


def test_squad_2_by_hand():
  answers = {"has1": ["gold"], "has2": ["blue cloth"], "no1": [], "no2": []}
  predictions = {"has1": "gold", "has2": "cloth", "no1": "", "no2": "never"}
  odds = {"has1": -3.0, "has2": -1.0, "no1": 2.0, "no2": -2.0}
  scores = evaluation.evaluate_v2(answers, predictions, odds)
  # Thresholds from -3: has1 right (2 no-answers + 1 = 3), no2 wrong (2), has2 (2 / 2 + 2/3).
  assert scores == pytest.approx(
    {
      "exact": 50.0, "f1": 100 * (1 + 2 / 3 + 1) / 4, "total": 4,
      "HasAns_exact": 50.0, "HasAns_f1": 100 * (1 + 2 / 3) / 2, "HasAns_total": 2,
      "NoAns_exact": 50.0, "NoAns_f1": 50.0, "NoAns_total": 2,
      "best_exact": 75.0, "best_exact_thresh": -3.0, "best_f1": 75.0, "best_f1_thresh": -3.0,
    }
  )  # fmt: skip
  assert list(scores)[:3] == ["exact", "f1", "total"]


def test_squad_2_without_odds_and_with_one_kind_of_question():
  scores = evaluation.evaluate_v2({"q1": ["gold"]}, {"q1": "gold"})
  assert list(scores) == [
    "exact", "f1", "total", "HasAns_exact", "HasAns_f1", "HasAns_total",
  ]  # fmt: skip


def noisy_predictions(squad, seed):
  """Right answers, parts of them, other words, nothing; and odds that know a little."""
  rng = random.Random(seed)
  predictions, odds = {}, {}
  for article in squad["data"]:
    for paragraph in article["paragraphs"]:
      words = paragraph["context"].split()
      for qa in paragraph["qas"]:
        start = rng.randrange(len(words))
        choices = ["", " ".join(words[start : start + rng.randint(1, 5)])]
        choices += [answer["text"] for answer in qa["answers"]] * 2
        choices += [f"the {answer['text']} {words[start]}!" for answer in qa["answers"]]
        predictions[qa["id"]] = rng.choice(choices)
        # Rounded, so that there are ties.
        odds[qa["id"]] = round(rng.gauss(-1 if qa["answers"] else 0.5, 2), 1)
  return predictions, odds


@pytest.mark.parametrize("seed", [1, 2])
def test_against_another_squad_1_scorer(real_data, seed):
  reference = pytest.importorskip(
    "official.nlp.tools.squad_evaluate_v1_1", reason="needs the extra model-garden"
  )
  squad = load_squad(str(real_data / "squad" / "v1.1-slice-dev.versioned.json"))
  predictions, _ = noisy_predictions(squad, seed)
  del predictions["56be4db0acb8001400a502ec"]
  expected = reference.evaluate(squad["data"], predictions)
  found = evaluation.evaluate_v1(evaluation.right_answers(squad), predictions)
  assert found == pytest.approx(
    {"exact_match": 100 * expected["exact_match"], "f1": 100 * expected["final_f1"]}, rel=1e-12
  )
  assert 20 < found["exact_match"] < found["f1"] < 90


@pytest.mark.parametrize("seed", [1, 2])
def test_against_another_squad_2_scorer(real_data, seed):
  reference = pytest.importorskip(
    "official.nlp.tools.squad_evaluate_v2_0", reason="needs the extra model-garden"
  )
  squad = load_squad(str(real_data / "squad" / "v2.0-slice-dev.json"))
  predictions, odds = noisy_predictions(squad, seed)
  answers = evaluation.right_answers(squad)
  # The reference applies its threshold of 1 to the odds first: without odds, nothing is changed.
  expected = reference.evaluate(squad["data"], predictions)
  found = evaluation.evaluate_v2(answers, predictions)
  assert list(found) == list(expected)[: len(found)]
  assert found == pytest.approx({key: expected[key] for key in found}, rel=1e-12)
  expected = reference.evaluate(squad["data"], predictions, odds)
  found = evaluation.evaluate_v2(answers, predictions, odds)
  for name in ("exact", "exact_thresh", "f1", "f1_thresh"):
    assert found[f"best_{name}"] == pytest.approx(expected[f"final_{name}"], rel=1e-12)
  assert found["best_f1"] > 100 * found["NoAns_total"] / found["total"]


def test_files_without_right_answers():
  def squad(**qa):
    return {"data": [{"paragraphs": [{"qas": [{"id": "q1", **qa}]}]}]}

  assert evaluation.right_answers(squad()) is None
  assert evaluation.right_answers(squad(answers=[])) is None
  assert evaluation.right_answers(squad(answers=["gold"])) is None
  assert evaluation.right_answers(squad(answers=[{"text": "gold"}])) == {"q1": ["gold"]}
  assert evaluation.right_answers(squad(answers=[], is_impossible=True)) == {"q1": []}
