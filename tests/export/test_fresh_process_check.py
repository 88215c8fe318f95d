"""What the check of an export sends, and what it lets through."""

from __future__ import annotations

import numpy as np
import pytest

from bert_tf.export import fresh_process_check as check

EXACT = {"rtol": 0, "atol": 0}
MASK = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]], np.int32)
IDS = {"input_ids": 7 * MASK, "input_mask": MASK, "segment_ids": 0 * MASK}


def test_samples_come_in_all_sizes():
  texts = {"text": np.array([b"a b", b"", b"a b c"], object)}
  scores = {"score": np.array([1.0, 2.0, 3.0], np.float32)}
  found = dict(check.cases({"in": texts, "out": scores}, static=False))
  assert {name: part["out"]["score"].tolist() for name, part in found.items()} == {
    "all samples": [1, 2, 3],
    "one row": [1],
    "eight rows": [1, 2, 3, 1, 2, 3, 1, 2],
    "no rows": [],
    "the shortest row": [2],
    "the longest row": [3],
  }
  assert found["the longest row"]["in"]["text"].tolist() == [b"a b c"]


@pytest.mark.parametrize(("static", "width"), [(False, 1), (True, 4)])
def test_a_short_row_comes_without_padding_where_the_model_takes_it_so(static, width):
  found = dict(check.cases({"in": IDS, "out": {}}, static))
  assert {value.shape for value in found["the shortest row"]["in"].values()} == {(1, width)}
  assert {value.shape for value in found["the longest row"]["in"].values()} == {(1, 4)}
  assert found["the longest row"]["in"]["input_mask"].tolist() == [[1, 1, 1, 0]]


def test_numbers_near_zero_are_as_exact_as_the_largest_beside_them():
  expected = np.array([[0.0, 100.0]], np.float32)
  tolerance = {"rtol": 1e-5, "atol": 1e-5}
  check.compare("here", {"x": expected + np.array([[5e-4, 0]])}, {"x": expected}, tolerance)
  for wrong in (expected + np.array([[2e-3, 0]]), expected / 100 + np.array([[5e-5, 0]])):
    with pytest.raises(AssertionError, match="output x differs"):
      check.compare("here", {"x": wrong}, {"x": expected}, tolerance)
  truths = np.array([True, False])
  check.compare("here", {"x": truths}, {"x": truths}, tolerance)
  with pytest.raises(AssertionError, match="output x differs"):
    check.compare("here", {"x": ~truths}, {"x": truths}, tolerance)


def test_answers_may_be_narrower_but_not_other():
  expected = {"logits": np.arange(6.0).reshape(2, 3)}
  check.compare("here", {"logits": expected["logits"][:, :2]}, expected, EXACT)
  check.compare("here", {"logits": np.zeros([0, 9])}, {"logits": np.zeros([0, 3])}, EXACT)
  for wrong, message in (
    (np.array([[0.0, 1], [3, 5]]), "differs from the Python pipeline"),
    (expected["logits"][:1], r"shape \(1, 3\), expected \(2, 3\)"),
    (np.zeros([2, 4]), r"shape \(2, 4\), expected \(2, 3\)"),
    (np.zeros([2]), r"shape \(2,\), expected"),
    (np.full([2, 3], np.nan), "differs from the Python pipeline"),
  ):
    with pytest.raises(AssertionError, match=message):
      check.compare("here", {"logits": wrong}, expected, EXACT)
  with pytest.raises(AssertionError, match="no output logits"):
    check.compare("here", {}, expected, EXACT)
