"""Scores of CMRC 2018, beside the scorer's definition (benchmarks/make_character_scores.py)."""

from __future__ import annotations

import gzip
import json

import pytest

from bert_tf.tasks.squad import character_scores


@pytest.fixture(scope="module")
def rows(golden):
  with gzip.open(golden / "squad" / "character_scores.json.gz", "rt", encoding="utf-8") as file:
    return json.load(file)


def test_scores_are_those_of_the_definition(rows):
  assert len(rows) == 3000
  for truth, prediction, f1, exact, tokens in rows:
    assert character_scores.tokens(truth) == tokens
    assert character_scores.f1(prediction, truth) == pytest.approx(f1, abs=1e-12)
    assert character_scores.exact_match(prediction, truth) == exact
  # The pairs tell scores apart.
  assert 500 < sum(row[3] for row in rows) < 2000
  assert sum(0 < row[2] < 1 for row in rows) > 500


def test_scores_of_a_set():
  answers = {"a": ["一九三七年", "1937年"], "b": ["三次"], "c": ["馆长"]}
  found = character_scores.evaluate(answers, {"a": "“1937年”", "b": "修了三次"})
  # b: the run 三次 is 2 of 4 and 2 of 2 characters; c is missing.
  assert found["exact_match"] == pytest.approx(100 / 3)
  assert found["f1"] == pytest.approx(100 * (1 + 2 / 3) / 3)
  assert found["average"] == pytest.approx((found["exact_match"] + found["f1"]) / 2)
