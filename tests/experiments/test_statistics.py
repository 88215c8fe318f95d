"""Statistics of several scores against brute force and against definitions."""

from __future__ import annotations

import itertools
import statistics as of_python

import numpy as np
import pytest
from sklearn import metrics

from bert_tf import UserError
from bert_tf.experiments import scores, statistics


def test_expected_maximum_is_that_of_all_draws():
  """Dodge et al. 2020: draws with replacement; here all of them are made."""
  values = [0.61, 0.58, 0.7, 0.58]
  for k, expected in enumerate(statistics.expected_maximum(values), start=1):
    draws = [max(draw) for draw in itertools.product(values, repeat=k)]
    assert expected == pytest.approx(np.mean(draws), abs=1e-12)


def test_summary_is_that_of_the_sample():
  values = [0.5, 0.75, 0.25, 0.9]
  found = statistics.summarise(values)
  assert found.mean == pytest.approx(of_python.mean(values))
  assert found.deviation == pytest.approx(of_python.stdev(values))
  assert (found.count, found.least, found.most) == (4, 0.25, 0.9)
  assert statistics.summarise([0.5]).deviation is None
  with pytest.raises(UserError):
    statistics.summarise([])


@pytest.mark.parametrize("truth", [[0, 1, 1, 1], [0, 0, 1, 0, 0], [0, 1]])
def test_baselines_are_those_of_a_majority_classifier(truth):
  counts = [truth.count(0), truth.count(1)]
  always = [int(np.argmax(counts))] * len(truth)
  found = {"per_label": {"a": {"support": counts[0]}, "b": {"support": counts[1]}}}
  assert scores.baseline(found, ["accuracy"]) == metrics.accuracy_score(truth, always)
  assert scores.baseline(found, ["f1"]) == pytest.approx(
    metrics.f1_score(truth, always, zero_division=0)
  )
  assert scores.baseline(found, ["macro_f1"]) == pytest.approx(
    metrics.f1_score(truth, always, labels=[0, 1], average="macro", zero_division=0)
  )
  assert scores.baseline(found, ["matthews"]) == metrics.matthews_corrcoef(truth, always) == 0
  assert scores.baseline({}, ["pearson", "spearman"]) == 0


def test_what_counts_where_nothing_is_said():
  assert scores.usual({"f1": 0.5, "accuracy": 0.6, "per_label": {}}) == ("accuracy",)
  assert scores.usual({"accuracy": 0.9, "f1": 0.5, "per_type": {}}) == ("f1",)
  assert scores.usual({"exact": 50.0, "f1": 60.0}) == ("f1",)
  assert scores.usual({"accuracy": 0.5, "micro_f1": 0.4}) == ("micro_f1",)
  with pytest.raises(UserError, match=r"expected one of micro_f1, .*, found exact"):
    scores.usual({"exact": 50.0})
