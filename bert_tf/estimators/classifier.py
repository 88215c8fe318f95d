"""One label, or several, for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin

from bert_tf.errors import UserError
from bert_tf.estimators import sequence_data
from bert_tf.estimators.base import columns_of, two
from bert_tf.estimators.sequence_data import SequenceEstimator
from bert_tf.tasks.classification.data import ClassificationData
from bert_tf.tasks.classification.processors import CLASSIFICATION, MULTILABEL
from bert_tf.trained_model import inputs

if TYPE_CHECKING:
  from typing_extensions import Self


@dataclasses.dataclass(repr=False, eq=False, kw_only=True)
class BertClassifier(ClassifierMixin, SequenceEstimator):
  """Labels texts or pairs of texts, as run_classifier.py does; for the parameters see its bases.

  >>> import bert_tf
  >>> texts = ["good film", "bad film", "a good story", "a bad story"]
  >>> clf = bert_tf.BertClassifier("tiny_bert", epochs=1, train_batch_size=2, max_seq_length=16)
  >>> clf.fit(texts, ["pos", "neg", "pos", "neg"]).classes_.tolist()
  ['neg', 'pos']
  >>> clf.predict_proba(["a good film"]).shape
  (1, 2)
  >>> bert_tf.load(clf.save("film")).labels
  ('neg', 'pos')

  Args:
    multilabel: whether an example may have several labels. None: it may if the labels that `fit` is
      given are lists (of any number of labels), or a matrix of 0 and 1 [n, L]. `predict` then
      answers in the same form, and `score` is the share of texts with all labels right.
    class_weights: how much the examples of each label count: "balanced", all labels alike in all,
      or label -> weight, 1 for others.

  Attributes:
    classes_: the labels, in the order of the columns of `predict_proba`.
    trained_: the model, see `bert_tf.load`.
    history_: losses and scores of the training, as in metrics.jsonl.
  """

  multilabel: bool | None = None
  class_weights: str | dict[Any, float] | None = None

  def fit(self, X: Any, y: Any = None, validation_data: Any = None) -> Self:
    """Fine-tunes the checkpoint.

    Args:
      X: texts, or pairs of texts as two columns, see `inputs.texts_of`; or a `tf.data.Dataset` of
        (text, label).
      y: a label for every text; None only for a dataset.
      validation_data: (X, y), or a dataset, which `eval_steps` evaluates on.

    Raises:
      UserError: inputs or labels that cannot be, or see `FineTuning`.
    """
    texts, labels = columns_of(X, y)
    several = self._has_several(y if y is not None else labels)
    self._is_matrix = several and _is_matrix(labels)
    splits = {"train": (texts, labels)}
    if validation_data is not None:
      splits["dev"] = columns_of(*two(validation_data))
    if self._is_matrix:
      splits = {name: (x, _names_of_columns(rows)) for name, (x, rows) in splits.items()}
    elif not several:
      _check_targets(labels)
    make_data = self._task_data(
      splits, MULTILABEL if several else CLASSIFICATION, class_weights=self._weights()
    )
    self._train(make_data, ClassificationData.default_max_seq_length)
    self.classes_ = self._classes(splits["train"][1], several)
    return self

  def _has_several(self, y: Any) -> bool:
    labels = inputs.plain_list(y)
    nested = all(isinstance(row, list | tuple | set | np.ndarray) for row in labels)
    several = nested and not _is_column(labels)
    if self.multilabel is not None and self.multilabel != several:
      expected = "a list of labels" if self.multilabel else "one label"
      raise UserError(f"`multilabel={self.multilabel}`: expected {expected} for every text")
    return several

  def _weights(self) -> str | dict[str, float] | None:
    """`class_weights` by the names of labels."""
    said = self.class_weights
    if not isinstance(said, dict):
      return said
    return {sequence_data.label_text(label): weight for label, weight in said.items()}

  def _classes(self, labels: Sequence[Any], several: bool) -> np.ndarray:
    """The labels as they were given, in the order of the model's outputs."""
    values = [v for row in labels for v in row] if several else labels
    given = {sequence_data.label_text(value): value for value in values}
    return np.array([given[label] for label in self.trained_.labels])

  def predict(self, X: Any) -> Any:
    """The likeliest label of every text, as an array; or all labels, see `multilabel`."""
    trained = self._fitted()
    probabilities = trained.predict_proba(inputs.texts_of(X), self.predict_batch_size)
    if trained.head != MULTILABEL:
      return self.classes_[np.argmax(probabilities, axis=-1)]
    wanted = probabilities > 0.5
    if self._is_matrix:
      return wanted.astype(np.int64)
    return [self.classes_[row].tolist() for row in wanted]

  def predict_proba(self, X: Any) -> np.ndarray:
    """The probability of every label, float32 [n, L], in the order of `classes_`."""
    return self._fitted().predict_proba(inputs.texts_of(X), self.predict_batch_size)

  def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """The share of texts whose label is right, or all of whose labels are."""
    texts, labels = columns_of(X, y)
    found = self.predict(texts)
    if self._fitted().head == MULTILABEL:
      right = [set(map(str, a)) == set(map(str, b)) for a, b in zip(found, labels, strict=True)]
      if self._is_matrix:
        right = [bool(np.array_equal(a, b)) for a, b in zip(found, labels, strict=True)]
    else:
      right = [bool(a == b) for a, b in zip(found, labels, strict=True)]
    return float(np.average(right, weights=sample_weight))

  def __sklearn_tags__(self):
    """Says that an example may have several labels."""
    tags = super().__sklearn_tags__()
    tags.classifier_tags.multi_label = True
    return tags


def _is_column(labels: Sequence[Any]) -> bool:
  """Whether labels are a matrix of one column, as some tools give them."""
  return all(isinstance(row, np.ndarray) and row.shape == (1,) for row in labels)


def _is_matrix(labels: Sequence[Any]) -> bool:
  return all(isinstance(row, np.ndarray) and row.dtype.kind in "biuf" for row in labels)


def _names_of_columns(rows: Sequence[Any]) -> list[list[int]]:
  """Of a matrix of 0 and 1 the numbers of the columns that hold 1."""
  for number, row in enumerate(rows):
    if not np.isin(row, (0, 1)).all():
      raise UserError(f"example {number}: expected 0 or 1 for every label, found {row}")
  return [np.flatnonzero(row).tolist() for row in rows]


def _check_targets(labels: Sequence[Any]) -> None:
  """Refuses measurements, which are no classes."""
  for number, label in enumerate(labels):
    if isinstance(label, float | np.floating) and not float(label).is_integer():
      # The first words are those of scikit-learn.
      raise UserError(
        f"Unknown label type: expected classes, found the number {label} in example {number}; take"
        " BertRegressor"
      )
