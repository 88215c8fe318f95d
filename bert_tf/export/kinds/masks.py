"""The export of a masked LM, with its next-sentence head if it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan, TextOptions

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Samples

# One mask each: what a graph answers for the place of a missing one is of no account.
_MASKED = (
  "The capital of France is [MASK].", "[MASK]", "a[MASK]b and more", "[MASK] is " + "long " * 600
)  # fmt: skip


class Masks(Kind):
  """Words for every [MASK], and whether a text follows another."""

  does = "fills in words masked by [MASK]"
  example = {"text": "Some [MASK] text."}  # noqa: RUF012

  def check(self, plan: GraphPlan) -> None:
    """See `Kind`."""
    if plan.top_k < 1:
      raise UserError(f"expected `top_k` of at least 1, found {plan.top_k}")

  def facts(self, plan: GraphPlan) -> dict[str, Any]:
    """See `Kind`."""
    return {"top_k": min(plan.top_k, len(plan.about.tokens))}

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`; a next-sentence head without its pooler is left out with it."""
    from bert_tf.heads import PretrainingModel

    if not parts.next_sentence:
      logging.info("the weights have no next-sentence head: masks are filled and nothing else")
    return PretrainingModel(plan.about.config, policy, next_sentence=parts.next_sentence)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs.pretraining import PretrainingModule

    return PretrainingModule(model, plan.text, plan.top_k)

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`."""
    import tensorflow as tf

    from bert_tf.export import python_pipeline, samples

    text = plan.text
    first, second = samples.columns()
    features, counts = python_pipeline.shown(list(first), list(second), text, masks=True)
    positions = np.tile(np.array([[1, 0, 1]], np.int32), [len(first), 1])
    outputs = samples.run(model, {**features, "masked_lm_positions": positions})
    words = tf.nn.log_softmax(outputs["masked_lm_logits"]).numpy()
    raw = {"masked_lm_log_probs": words.reshape([len(first), 3, -1])}
    two = {"text": first, "text_pair": second}
    found: Samples = {}
    if model.next_sentence:
      following = tf.nn.log_softmax(outputs["next_sentence_logits"]).numpy()
      raw["next_sentence_log_probs"] = following
      found["next_sentence"] = (two, {"probability": np.exp(following[:, 0])})
    masked = ({"text": np.array(_MASKED, object)}, _filled(model, text, plan.top_k))
    with_positions = {**features, "masked_lm_positions": positions}
    return {
      **found,
      "serving_default": masked,
      "fill_mask": masked,
      "tensors": (with_positions, raw),
      "examples": ({"examples": python_pipeline.examples(with_positions)}, raw),
      "tokenize": (two, {**features, **counts}),
    }


def _filled(model: keras.Model, text: TextOptions, top_k: int) -> dict[str, np.ndarray]:
  """Probabilities of the best words; not the words, since equal ones may come in any order."""
  import tensorflow as tf

  from bert_tf.export import python_pipeline, samples

  features = python_pipeline.features(_MASKED, [""] * len(_MASKED), text, masks=True)
  mask_id = text.tokens.index("[MASK]")
  places = np.argmax(features["input_ids"] == mask_id, axis=1).astype(np.int32)[:, np.newaxis]
  outputs = samples.run(model, {**features, "masked_lm_positions": places})
  probabilities = tf.nn.softmax(outputs["masked_lm_logits"]).numpy()[:, : len(text.tokens)]
  best = -np.sort(-probabilities, axis=-1)[:, :top_k]
  return {
    "num_masks": np.ones([len(_MASKED)], np.int32),
    "probabilities": best.reshape([len(_MASKED), 1, -1]),
  }
