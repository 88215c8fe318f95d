"""Weights of labels, thresholds, and tables of what was taken for what; against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.utils.class_weight import compute_class_weight

from bert_tf import UserError
from bert_tf.tasks.classification import class_weights, metrics, result_tables, thresholds

LABELS = ["ham", "spam", "else"]
TRUTH = np.array([0] * 6 + [1] * 3 + [2])


def test_balanced_weights_are_those_of_scikit_learn():
  found = class_weights.of("balanced", LABELS, TRUTH, "classification")
  expected = compute_class_weight("balanced", classes=np.arange(3), y=TRUTH)
  assert list(found.values()) == pytest.approx(expected)
  assert list(found) == LABELS


def test_balanced_weights_of_several_labels_are_negatives_over_positives():
  truth = np.array([[1.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
  found = class_weights.of("balanced", LABELS, truth, "multilabel")
  # Of a label that never occurs there is nothing to weigh.
  assert list(found.values()) == pytest.approx([1 / 3, 3, 1])


def test_given_weights():
  found = class_weights.of("spam:2.5, else:4", LABELS, TRUTH, "classification")
  assert found == {"ham": 1, "spam": 2.5, "else": 4}
  assert class_weights.of({"a:b": 2}, ["a:b", "c"], TRUTH, "classification") == {"a:b": 2, "c": 1}
  assert class_weights.of("a:b:2", ["a:b", "c"], TRUTH, "classification") == {"a:b": 2, "c": 1}
  assert class_weights.of(None, LABELS, TRUTH, "classification") is None


@pytest.mark.parametrize(
  ("said", "message"),
  [
    ("spam:x", "expected balanced, or label:weight between commas, found 'spam:x'"),
    ("balance", "expected balanced, or label:weight between commas, found 'balance'"),
    ("Spam:2", "expected labels of ham, spam, else, found 'Spam'"),
    ("spam:0", "expected positive numbers, found 0.0 for 'spam'"),
    ("spam:nan", "expected positive numbers, found nan for 'spam'"),
  ],
)
def test_wrong_weights_are_refused(said, message):
  with pytest.raises(UserError) as error:
    class_weights.of(said, LABELS, TRUTH, "classification")
  assert message in str(error.value)


def test_a_regression_has_no_classes():
  with pytest.raises(UserError, match="expected a task with labels, found a regression"):
    class_weights.of("balanced", [], TRUTH, "regression")


@pytest.mark.parametrize("task_type", ["classification", "multilabel"])
def test_losses_are_weighted_as_pytorch_weighs_them(task_type):
  """CrossEntropyLoss(weight) and BCEWithLogitsLoss(pos_weight), by the formulas of their pages."""
  import tensorflow as tf

  from bert_tf import BertConfig
  from bert_tf.data import records
  from bert_tf.tasks.classification.model import ClassificationTask

  random = np.random.RandomState(1)
  logits = random.normal(0, 2, [5, 3]).astype(np.float32)
  weights = [0.5, 2.0, 4.0]
  task = ClassificationTask(
    BertConfig(vocab_size=9), 3, task_type, records.classification(8), class_weights=weights
  )
  if task_type == "classification":
    labels = np.array([0, 2, 1, 1, 0])
    chosen = np.exp(logits)[np.arange(5), labels] / np.exp(logits).sum(1)
    share = np.array(weights)[labels]
    expected = -(share * np.log(chosen)).sum() / share.sum()
  else:
    labels = random.randint(0, 2, [5, 3]).astype(np.float32)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -(np.array(weights) * labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
  features = {"label_ids": tf.constant(labels)}
  total = task.loss_sums({"logits": tf.constant(logits)}, features)["classification"]
  count = task.loss_weights(features)["classification"]
  assert float(total / count) == pytest.approx(expected, rel=1e-5)


SCORES = {
  "f1": lambda truth, given: reference.f1_score(truth, given, zero_division=0),
  "accuracy": reference.accuracy_score,
  "matthews": reference.matthews_corrcoef,
}


@pytest.mark.parametrize("metric", thresholds.METRICS)
@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_is_better(metric, seed):
  """Than the one that is chosen: all are tried, ties among probabilities included."""
  random = np.random.RandomState(seed)
  truth = random.rand(60) < 0.15
  p = np.clip(random.normal(0.25 + 0.2 * truth, 0.15), 0.01, 0.99).round(2).astype(np.float32)
  found = thresholds.best(p, truth, metric)
  score = SCORES[metric]
  all_scores = [score(truth, p > t) for t in np.linspace(0, 1, 401)]
  assert score(truth, p > found) == pytest.approx(max(all_scores))
  assert 0 < found < 1
  assert not np.isclose(p, found, atol=1e-4).any(), "rounding would decide"


def test_where_all_are_alike_one_half_stays():
  assert thresholds.best(np.array([0.9, 0.8, 0.2]), np.array([1, 1, 0], bool), "f1") == 0.5
  assert thresholds.best(np.array([0.3, 0.2, 0.1]), np.array([1, 0, 0], bool), "f1") == 0.25


def test_thresholds_decide(caplog):
  p = np.array([[0.7, 0.3], [0.2, 0.8]])
  logits = np.log(p)
  assert thresholds.decide(logits, p, "classification", None).tolist() == [0, 1]
  assert thresholds.decide(logits, p, "classification", np.array([0.25])).tolist() == [1, 1]
  found = thresholds.decide(logits, p, "multilabel", np.array([0.5, 0.2]))
  assert found.tolist() == [[True, True], [False, True]]
  truth = np.array([[1.0, 0], [1, 0]])
  chosen = thresholds.choose(p, truth, "multilabel", ["a", "b"], "f1")
  assert chosen == {"a": 0.5, "b": 0.5}
  assert "b: no examples of the dev set have this label" in caplog.text
  settings = {"thresholds": {"yes": 0.25}}
  assert thresholds.of(settings, "classification", ["no", "yes"]).tolist() == [0.25]
  assert thresholds.of({}, "classification", ["no", "yes"]) is None


@pytest.mark.parametrize(
  ("said", "message"),
  [({"no": 0.2}, "expected a number for yes, found"), ({"yes": 2}, "expected probabilities"),
   ([0.3], "expected a number for yes"), ({"yes": "x"}, "expected probabilities")],
)  # fmt: skip
def test_wrong_thresholds_beside_the_weights_are_refused(said, message):
  with pytest.raises(UserError, match=message):
    thresholds.of({"thresholds": said}, "classification", ["no", "yes"])


@pytest.mark.parametrize(
  ("metric", "head", "labels", "evaluates", "message"),
  [
    ("f2", "classification", ["a", "b"], True, "expected one of f1, accuracy, matthews"),
    ("f1", "classification", ["a", "b", "c"], True, "expected two labels, or a task of several"),
    ("f1", "regression", [], True, "expected two labels, or a task of several"),
    ("f1", "multilabel", ["a"], False, "expected `do_eval`"),
  ],
)
def test_a_choice_that_cannot_be_made_is_refused(metric, head, labels, evaluates, message):
  with pytest.raises(UserError, match=message):
    thresholds.check(metric, head, labels, evaluates)


def test_tables_by_hand(tmp_path):
  logits = np.eye(3)[[0, 0, 1, 1, 1, 0, 1, 2, 2, 2]]
  scores = metrics.compute(logits, TRUTH, "classification", LABELS)
  assert scores["confusion_matrix"] == [[3, 3, 0], [0, 1, 2], [0, 0, 1]]
  assert result_tables.confusion(np.array(scores["confusion_matrix"]), LABELS) == [
    "true \\ predicted  ham  spam  else",
    "ham                 3     3     0",
    "spam                0     1     2",
    "else                0     0     1",
  ]
  assert result_tables.per_label(scores["per_label"]) == [
    "label  precision  recall      f1   count",
    "ham       1.0000  0.5000  0.6667       6",
    "spam      0.2500  0.3333  0.2857       3",
    "else      0.3333  1.0000  0.5000       1",
  ]
  path = tmp_path / "evaluation.png"
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert result_tables.draw(str(path), scores, LABELS, "mail")
    odd = ["$a$", "\u65e5\u672c", "x" * 40]
    renamed = dict(zip(odd, scores["per_label"].values(), strict=True))
    other = str(tmp_path / "odd.png")
    assert result_tables.draw(other, {**scores, "per_label": renamed}, odd, "$")
  assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000


def test_of_many_labels_what_is_confused_most_is_told(tmp_path):
  labels = [f"label {n}" for n in range(70)]
  matrix = np.diag([5] * 70)
  assert result_tables.confusion(matrix, labels) == ["no label was taken for another"]
  matrix[3, 7], matrix[9, 1] = 4, 6
  assert result_tables.confusion(matrix, labels)[1:] == [
    "  6 x label 9 as label 1", "  4 x label 3 as label 7",
  ]  # fmt: skip
  assert not result_tables.draw(str(tmp_path / "x.png"), {"per_label": {}}, labels, "many")


def test_scores_follow_thresholds():
  logits = np.log(np.array([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1]]))
  truth = np.array([1, 1, 0])
  assert metrics.compute(logits, truth, "classification", ["a", "b"])["f1"] == 0
  found = metrics.compute(logits, truth, "classification", ["a", "b"], np.array([0.2]))
  assert found["f1"] == 1 and found["confusion_matrix"] == [[1, 0], [0, 2]]
