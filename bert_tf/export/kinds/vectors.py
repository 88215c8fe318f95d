"""The export of an encoder: vectors of texts and tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Arrays, Samples


class Vectors(Kind):
  """A vector for every text, and one for every token."""

  does = "turns text into vectors"
  takes_pairs = True

  def settings(self, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """None: those beside the weights belong to a head that the export leaves out."""
    return {}

  def check(self, plan: GraphPlan) -> None:
    """See `Kind`."""
    count, layers = plan.about.config.num_hidden_layers, plan.layers
    if not layers or any(not -count <= layer < count for layer in layers):
      raise UserError(
        f"expected `layers` from {-count} to {count - 1}, as the model has, found {list(layers)}"
      )

  def facts(self, plan: GraphPlan) -> dict[str, Any]:
    """See `Kind`."""
    return {"layers": list(plan.layers)}

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`."""
    from bert_tf.modeling import BertModel

    if not parts.pooler:
      logging.warning("the weights have no pooler: the export gives `mean` and no `pooled` vector")
    return BertModel(plan.about.config, policy, add_pooler=parts.pooler)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs.encoder import EncoderModule

    return EncoderModule(model, plan.text, plan.layers)

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`."""
    from bert_tf.export import samples

    def answers(features: Arrays) -> dict[str, np.ndarray]:
      return _answers(samples.run(model, features), features)

    found = samples.of_texts(answers, plan.text, bool(plan.about.pairs))
    return {**found, "embed": found["serving_default"]}


def _answers(outputs: Mapping[str, Any], features: Arrays) -> dict[str, np.ndarray]:
  """`mean` and, with a pooler, `pooled`."""
  sequence = np.asarray(outputs["sequence_output"], np.float32)
  rows = zip(sequence, features["input_mask"], strict=True)
  found = {"mean": np.array([row[mask > 0].mean(0) for row, mask in rows])}
  if "pooled_output" in outputs:
    found["pooled"] = np.asarray(outputs["pooled_output"], np.float32)
  return found
