"""A number for a text or a pair of texts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin

from bert_tf.estimators.base import columns_of, two
from bert_tf.estimators.sequence_data import SequenceEstimator
from bert_tf.tasks.classification.data import ClassificationData
from bert_tf.tasks.classification.processors import REGRESSION
from bert_tf.trained_model import inputs

if TYPE_CHECKING:
  from typing_extensions import Self


@dataclasses.dataclass(repr=False, eq=False, kw_only=True)
class BertRegressor(RegressorMixin, SequenceEstimator):
  """Predicts a number for texts or pairs of texts; for the parameters see its bases.

  >>> import bert_tf
  >>> pairs = [("a dog runs", "a dog is running"), ("a dog runs", "the sky is blue")]
  >>> similarity = bert_tf.BertRegressor("tiny_bert", epochs=1, train_batch_size=2)
  >>> similarity.fit(pairs, [4.8, 0.2]).predict(pairs).shape
  (2,)

  `score` is scikit-learn's for regressions, the coefficient of determination.

  Args:
    standardize_labels: whether to learn the numbers in deviations from their mean; None: where they
      are far from what fresh weights give, above 10 or within 0.05 of each other.

  Attributes:
    trained_: the model, see `bert_tf.load`.
    history_: losses and scores of the training, as in metrics.jsonl.
  """

  standardize_labels: bool | None = None

  def fit(self, X: Any, y: Any = None, validation_data: Any = None) -> Self:
    """Fine-tunes the checkpoint; args and errors as of `BertClassifier.fit`, with numbers `y`."""
    splits = {"train": columns_of(X, y)}
    if validation_data is not None:
      splits["dev"] = columns_of(*two(validation_data))
    make_data = self._task_data(splits, REGRESSION, standardize_labels=self.standardize_labels)
    self._train(make_data, ClassificationData.default_max_seq_length)
    return self

  def predict(self, X: Any) -> np.ndarray:
    """A number for every text, float32 [n]."""
    return self._fitted().predict(inputs.texts_of(X), self.predict_batch_size)
