"""Inputs that an export is checked with, and the answers that it must give to them.

The answers come by way of FullTokenizer and the Keras model, so the in-graph tokenizer and the
copied weights are compared with what training used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from bert_tf.export import python_pipeline
from bert_tf.export.options import TextOptions

Arrays = Mapping[str, np.ndarray]
Samples = dict[str, tuple[Arrays, Arrays]]

# Short and long, with a pair and without, accents, scripts, characters that vanish.
TEXTS = (
  ("The quick brown fox jumps over the lazy dog.", ""),
  ("Crème brûlée à la carte, 3.50 €!", "Is it sweet?"),
  ("", ""),
  ("短い文 и русский\ttext\u200d with [MASK] and emoji 🎉", "x"),
  ("long " * 600, "pair " * 700),
)


def run(model: keras.Model, features: Arrays) -> dict:
  """The outputs of a model for features, float32 or the type that it computes in."""
  # The process that checks has no GPU: this one, which may just have trained, holds its memory.
  with tf.device("CPU"):
    return model({name: tf.constant(value) for name, value in features.items()})


def columns() -> tuple[np.ndarray, np.ndarray]:
  """First and second texts of `TEXTS`, object [B]."""
  first, second = zip(*TEXTS, strict=True)
  return np.array(first, object), np.array(second, object)


def of_texts(
  answers: Callable[[Arrays], dict[str, np.ndarray]], text: TextOptions, pairs: bool
) -> Samples:
  """Samples of the signatures of a `TextModule`.

  Args:
    answers: the Python pipeline's answers for features.
    text: how the model reads.
    pairs: whether `serving_default` takes two texts.
  """
  first, second = columns()
  none = [""] * len(first)
  features, counts = python_pipeline.shown(list(first), list(second), text)
  alone = answers(python_pipeline.features(list(first), none, text))
  both = answers(features)
  two = {"text": first, "text_pair": second}
  of_two = {**both, "truncated": python_pipeline.truncated(list(first), list(second), text)}
  of_one = {**alone, "truncated": python_pipeline.truncated(list(first), none, text)}
  return {
    "serving_default": (two, of_two) if pairs else ({"text": first}, of_one),
    "pairs": (two, of_two),
    "tensors": (features, both),
    "examples": ({"examples": python_pipeline.examples(features)}, both),
    "tokenize": (two, {**features, **counts, "truncated": of_two["truncated"]}),
  }
