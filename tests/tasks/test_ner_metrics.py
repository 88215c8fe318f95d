"""Scores: seqeval's, and what they are by definition."""

from __future__ import annotations

import pytest

from bert_tf.tasks.ner import metrics

GOLD = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-LOC", "B-LOC"], ["I-ORG", "O"]]
PREDICTED = [["B-PER", "I-PER", "O", "B-PER"], ["O", "B-LOC", "I-LOC"], ["B-ORG", "O"]]


def test_scores_by_definition():
  """Gold: PER, LOC | LOC, LOC | ORG. Found: PER, PER | LOC of two words | ORG, in IOB2."""
  found = metrics.compute(PREDICTED, GOLD)
  assert found["precision"] == pytest.approx(2 / 4)
  assert found["recall"] == pytest.approx(2 / 5)
  assert found["f1"] == pytest.approx(2 * 0.5 * 0.4 / 0.9)
  assert found["accuracy"] == pytest.approx(6 / 9)
  assert list(found["per_type"]) == ["LOC", "ORG", "PER"]
  assert found["per_type"]["PER"] == pytest.approx(
    {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1}
  )
  assert found["per_type"]["LOC"]["support"] == 3


def test_scores_are_those_of_seqevals_report():
  from seqeval.metrics import classification_report

  found = metrics.compute(PREDICTED, GOLD)
  report = classification_report(GOLD, PREDICTED, output_dict=True, zero_division=0)
  for kind, scores in found["per_type"].items():
    expected = {name.replace("-score", ""): value for name, value in report[kind].items()}
    assert scores == pytest.approx(expected)
  assert found["f1"] == pytest.approx(report["micro avg"]["f1-score"])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("found", [["O", "O"], ["B-X", "O"]])
def test_nothing_to_find(found):
  scores = metrics.compute([found], [["O", "O"]])
  assert (scores["f1"], scores["accuracy"]) == (0.0, 0.5 + 0.5 * (found[0] == "O"))


@pytest.mark.parametrize(
  "tags",
  [
    ["B-A", "I-A", "B-A", "O", "B-B"],  # IOB2
    ["I-A", "I-A", "B-A", "O", "I-B"],  # IOB1
    ["B-A", "E-A", "S-A", "O", "S-B"],  # BIOES
  ],
)
def test_schemes(tags):
  assert metrics.entities(tags) == [("A", 0, 1), ("A", 2, 2), ("B", 4, 4)]
