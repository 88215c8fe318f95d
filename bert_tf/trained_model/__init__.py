"""A trained model in one object: weights, head, tokenizer, labels, and what it can answer."""

from __future__ import annotations

from bert_tf.trained_model.loading import load
from bert_tf.trained_model.model import TrainedModel

__all__ = ["TrainedModel", "load"]
