"""Exports of heads on the pooled vector: a label, several labels or a number for every text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bert_tf.errors import UserError
from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Arrays, Samples


class _Sequences(Kind):
  """What the three have in common."""

  takes_pairs = True
  module: ClassVar[str]

  def check(self, plan: GraphPlan) -> None:
    """See `Kind`."""
    if plan.about.pairs and plan.text.long_text.in_windows:
      raise UserError("`pairs`: expected single texts with `long_text=windows`, found pairs")

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`."""
    from bert_tf.tasks.classification.model import Reading, create_model

    reading = Reading(plan.text.max_seq_length, plan.text.long_text)
    return create_model(plan.about.config, len(plan.about.labels) or 1, reading, policy)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs import text

    labels = [plan.about.labels] if plan.about.labels else []
    return getattr(text, self.module)(model, plan.text, *labels)

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`."""
    from bert_tf.export import samples

    def answers(features: Arrays) -> dict[str, np.ndarray]:
      return self._answers(samples.run(model, features)["logits"].numpy(), plan)

    found = samples.of_texts(answers, plan.text, bool(plan.about.pairs))
    if plan.text.long_text.in_windows:
      del found["pairs"]
    return found

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    raise NotImplementedError


class Classification(_Sequences):
  """One label for every text."""

  does = "gives every text, or pair of texts, one label"
  module = "ClassifierModule"

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    import tensorflow as tf

    names = np.array(plan.about.labels, object)[logits.argmax(-1)]
    return {"logits": logits, "label": names, "probabilities": tf.nn.softmax(logits).numpy()}


class MultiLabel(_Sequences):
  """Any number of labels for every text."""

  does = "gives every text, or pair of texts, any number of labels"
  module = "MultiLabelModule"

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    import tensorflow as tf

    return {"logits": logits, "probabilities": tf.sigmoid(logits).numpy()}


class Regression(_Sequences):
  """A number for every text."""

  does = "gives every text, or pair of texts, a number"
  module = "RegressionModule"

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    return {"score": logits[:, 0]}
