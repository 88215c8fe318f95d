"""Exports of heads on the pooled vector: a label, several labels or a number for every text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bert_tf.errors import UserError
from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan
from bert_tf.model_dir import head_kinds, label_scale
from bert_tf.tasks.classification import thresholds

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Arrays, Samples


class _Sequences(Kind):
  """What the three have in common."""

  takes_pairs = True
  module: ClassVar[str]
  method = "classify"
  # Output of that signature -> the output of the others that it is.
  method_outputs: ClassVar[Mapping[str, str]] = {"scores": "probabilities"}

  def check(self, plan: GraphPlan) -> None:
    """See `Kind`."""
    if plan.about.labels:
      _thresholds(plan)
    if plan.about.pairs and plan.text.long_text.in_windows:
      raise UserError("`pairs`: expected single texts with `long_text=windows`, found pairs")

  def facts(self, plan: GraphPlan) -> dict[str, Any]:
    """See `Kind`."""
    found = plan.about.settings.get(thresholds.SETTING)
    return {thresholds.SETTING: dict(found)} if found else {}

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`."""
    from bert_tf.tasks.classification.model import Reading, create_model

    reading = Reading(plan.text.max_seq_length, plan.text.long_text)
    scale = label_scale.of(plan.about.settings)
    count = len(plan.about.labels) or 1
    return create_model(plan.about.config, count, reading, policy, label_scale=scale)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs import text

    if not plan.about.labels:
      return text.RegressionModule(model, plan.text)
    module = getattr(text, self.module)
    return module(model, plan.text, plan.about.labels, _thresholds(plan))

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`."""
    from bert_tf.export import python_pipeline, samples

    def answers(features: Arrays) -> dict[str, np.ndarray]:
      return self._answers(samples.run(model, features)["logits"].numpy(), plan)

    found = samples.of_texts(answers, plan.text, bool(plan.about.pairs))
    texts, outputs = found["pairs"]
    if plan.text.long_text.in_windows:
      del found["pairs"]
      texts, outputs = found["serving_default"]
    wanted = {name: outputs[of] for name, of in self.method_outputs.items()}
    return {**found, self.method: ({"inputs": python_pipeline.text_examples(texts)}, wanted)}

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    raise NotImplementedError


def _thresholds(plan: GraphPlan) -> np.ndarray | None:
  about = plan.about
  return thresholds.of(about.settings, str(about.head), about.labels)


class Classification(_Sequences):
  """One label for every text."""

  does = "gives every text, or pair of texts, one label"
  module = "ClassifierModule"

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    import tensorflow as tf

    probabilities = tf.nn.softmax(logits).numpy()
    chosen = thresholds.decide(logits, probabilities, head_kinds.CLASSIFICATION, _thresholds(plan))
    names = np.array(plan.about.labels, object)[chosen]
    return {"logits": logits, "label": names, "probabilities": probabilities}


class MultiLabel(_Sequences):
  """Any number of labels for every text."""

  does = "gives every text, or pair of texts, any number of labels"
  module = "MultiLabelModule"

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    import tensorflow as tf

    probabilities = tf.sigmoid(logits).numpy()
    chosen = thresholds.decide(logits, probabilities, head_kinds.MULTILABEL, _thresholds(plan))
    return {"logits": logits, "probabilities": probabilities, "chosen": chosen}


class Regression(_Sequences):
  """A number for every text."""

  does = "gives every text, or pair of texts, a number"
  module = "RegressionModule"
  method = "regress"
  method_outputs: ClassVar[Mapping[str, str]] = {"outputs": "score"}

  def _answers(self, logits: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
    return {"score": logits[:, 0]}
