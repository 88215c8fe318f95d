"""The export of a token classifier: named entities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Samples


class Tokens(Kind):
  """A label for every token, and the entities that they make."""

  does = "finds entities in text and labels them"

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`; no answer depends on a pooler."""
    from bert_tf.heads import TokenClassifierModel

    config, labels = plan.about.config, plan.about.labels
    return TokenClassifierModel(config, len(labels), policy, add_pooler=False)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs.tokens import TokenClassifierModule

    return TokenClassifierModule(model, plan.text, plan.about.labels)

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`; the entities are those of the graph before it was saved."""
    import tensorflow as tf

    from bert_tf.export import samples

    found = samples.of_texts(
      lambda features: {"logits": samples.run(model, features)["logits"].numpy()},
      plan.text,
      pairs=False,
    )
    del found["pairs"]
    texts, _ = samples.columns()
    with tf.device("CPU"):
      entities = {k: v.numpy() for k, v in graph.answers_to_text(tf.constant(texts)).items()}
    return {**found, "serving_default": ({"text": texts}, entities)}
