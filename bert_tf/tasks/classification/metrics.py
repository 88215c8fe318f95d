"""Scores of predictions against truth, by scikit-learn and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np

from bert_tf.tasks.classification import thresholds
from bert_tf.tasks.classification.processors import CLASSIFICATION, MULTILABEL, REGRESSION

# The numbers among the scores of each kind of task.
_NAMES = {
  CLASSIFICATION: ("accuracy", "macro_f1", "matthews"),
  MULTILABEL: ("accuracy", "macro_f1", "micro_f1"),
  REGRESSION: ("pearson", "spearman", "mean_squared_error"),
}


def names(task_type: str, num_labels: int) -> tuple[str, ...]:
  """What of `compute` is a number, and the mean loss that goes with it while training."""
  two = task_type == CLASSIFICATION and num_labels == 2
  return (*_NAMES[task_type], *(("f1",) if two else ()), "loss")


def probabilities(logits: np.ndarray, task_type: str) -> np.ndarray:
  """Softmax or, for multi-label, sigmoid of logits [n, L]; a regression's numbers unchanged."""
  from scipy import special

  if task_type == REGRESSION:
    return logits
  if task_type == MULTILABEL:
    return special.expit(logits)
  return special.softmax(logits, axis=-1)


def compute(
  logits: np.ndarray,
  truth: np.ndarray,
  task_type: str,
  labels: list[str],
  limits: np.ndarray | None = None,
) -> dict[str, Any]:
  """Scores of a task.

  Args:
    logits: float [n, L], or [n, 1] for regression.
    truth: int [n] label ids; float [n] for regression; 0.0 or 1.0 [n, L] for multi-label.
    task_type: see `processors.TASK_TYPES`.
    labels: their names.
    limits: from which probabilities labels are given, see `thresholds`; default: one half.

  Returns:
    Classification: accuracy, macro_f1, matthews, with two labels also f1 of the second,
    `per_label`, and `confusion_matrix`, rows of counts of what each label was taken for.
    Regression: pearson, spearman, mean_squared_error. Multi-label: accuracy (all
    labels right), micro_f1, macro_f1 and `per_label`. A score that is not defined, such as the
    correlation with a constant, is 0.
  """
  if task_type == REGRESSION:
    return _regression(logits[:, 0], truth)
  from sklearn import metrics

  predicted = thresholds.decide(logits, probabilities(logits, task_type), task_type, limits)
  # Numbers, since a label may be called as a row of the report is, such as "accuracy".
  names = [str(index) for index in range(len(labels))]
  report = metrics.classification_report(
    truth,
    predicted,
    labels=range(len(labels)),
    target_names=names,
    output_dict=True,
    zero_division=0,
  )
  scores = {
    "accuracy": float(metrics.accuracy_score(truth, predicted)),
    "macro_f1": report["macro avg"]["f1-score"],
  }
  if task_type == MULTILABEL:
    scores["micro_f1"] = report["micro avg"]["f1-score"]
  else:
    scores["matthews"] = float(metrics.matthews_corrcoef(truth, predicted))
    if len(labels) == 2:
      scores["f1"] = report["1"]["f1-score"]
  found: dict[str, Any] = {
    **scores,
    "per_label": {label: report[name] for label, name in zip(labels, names, strict=True)},
  }
  if task_type != MULTILABEL:
    matrix = metrics.confusion_matrix(truth, predicted, labels=range(len(labels)))
    found["confusion_matrix"] = matrix.tolist()
  return found


def _regression(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  from scipy import stats

  scores = {"pearson": 0.0, "spearman": 0.0}
  if len(truth) > 1 and np.ptp(predicted) > 0 and np.ptp(truth) > 0:
    scores["pearson"] = float(stats.pearsonr(predicted, truth).statistic)
    scores["spearman"] = float(stats.spearmanr(predicted, truth).statistic)
  return {**scores, "mean_squared_error": float(np.mean((predicted - truth) ** 2))}
