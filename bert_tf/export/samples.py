"""Inputs that an export is checked with, and the answers that it must give to them.

The answers come by way of FullTokenizer and the Keras model, so the in-graph tokenizer and the
copied weights are compared with what training used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from bert_tf.export import python_pipeline
from bert_tf.export.graphs.text import TextModule
from bert_tf.export.options import TextOptions
from bert_tf.tasks.squad.predictions import PredictionOptions
from bert_tf.tokenization import load_vocab

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
# One mask each: what a graph answers for the place of a missing one is of no account.
_MASKED = ("The capital of France is [MASK].", "[MASK]", "a[MASK]b and more")

_QUESTIONS = (
  ("What is sweet?", "Crème  brûlée is a (sweet) dish;\tit isn't salty, said O'Brien."),
  ("Who? " * 40, "One of a thousand words. " * 60),
  ("Why?", ""),
)


def _run(model: keras.Model, features: Arrays) -> dict:
  # The process that checks has no GPU: this one, which may just have trained, holds its memory.
  with tf.device("CPU"):
    return model({name: tf.constant(value) for name, value in features.items()})


def _columns() -> tuple[np.ndarray, np.ndarray]:
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
  first, second = _columns()
  features = python_pipeline.features(list(first), list(second), text)
  alone = answers(python_pipeline.features(list(first), [""] * len(first), text))
  both = answers(features)
  two = {"text": first, "text_pair": second}
  return {
    "serving_default": (two, both) if pairs else ({"text": first}, alone),
    "pairs": (two, both),
    "tensors": (features, both),
    "examples": ({"examples": python_pipeline.examples(features)}, both),
    "tokenize": (two, features),
  }


def classifier(
  model: keras.Model, text: TextOptions, task: str, labels: Sequence[str], pairs: bool
) -> Samples:
  """Samples of classification, multi-label classification and regression."""

  def answers(features: Arrays) -> dict[str, np.ndarray]:
    logits = _run(model, features)["logits"].numpy()
    if task == "regression":
      return {"score": logits[:, 0]}
    if task == "multilabel":
      return {"logits": logits, "probabilities": tf.sigmoid(logits).numpy()}
    names = np.array(labels, object)[logits.argmax(-1)]
    return {"logits": logits, "label": names, "probabilities": tf.nn.softmax(logits).numpy()}

  return of_texts(answers, text, pairs)


def encoder(model: keras.Model, text: TextOptions, pairs: bool) -> Samples:
  """Samples of an encoder."""

  def answers(features: Arrays) -> dict[str, np.ndarray]:
    outputs = _run(model, features)
    sequence = tf.cast(outputs["sequence_output"], tf.float32).numpy()
    means = [
      row[mask > 0].mean(0) for row, mask in zip(sequence, features["input_mask"], strict=True)
    ]
    pooled = tf.cast(outputs["pooled_output"], tf.float32).numpy()
    return {"pooled": pooled, "mean": np.array(means)}

  return of_texts(answers, text, pairs)


def token_classifier(model: keras.Model, text: TextOptions, module: TextModule) -> Samples:
  """Samples of a token classifier; the entities are those of the graph before it was saved."""

  def answers(features: Arrays) -> dict[str, np.ndarray]:
    return {"logits": _run(model, features)["logits"].numpy()}

  samples = of_texts(answers, text, pairs=False)
  del samples["pairs"]
  first, _ = _columns()
  with tf.device("CPU"):
    found = {k: v.numpy() for k, v in module.answers_to_text(tf.constant(first)).items()}
  return {**samples, "serving_default": ({"text": first}, found)}


def question_answering(
  model: keras.Model,
  text: TextOptions,
  doc_stride: int,
  max_query_length: int,
  prediction: PredictionOptions,
) -> Samples:
  """Samples of question answering: answers by way of run_squad.py's code."""

  def answers(features: Arrays) -> dict[str, np.ndarray]:
    outputs = _run(model, features)
    return {name: outputs[name].numpy() for name in ("start_logits", "end_logits")}

  samples = of_texts(answers, text, pairs=False)
  del samples["pairs"]
  questions, contexts = (np.array(column, object) for column in zip(*_QUESTIONS, strict=True))
  found = [
    python_pipeline.squad_answer(
      lambda features: answers(features), text, pair, (doc_stride, max_query_length), prediction
    )
    for pair in _QUESTIONS
  ]
  expected = {
    "answer": np.array([p.text for p in found], object),
    "num_answers": np.array([len(p.nbest) for p in found], np.int32),
  }
  return {**samples, "serving_default": ({"question": questions, "context": contexts}, expected)}


def pretraining(model: keras.Model, text: TextOptions, top_k: int) -> Samples:
  """Samples of a pretraining model."""
  first, second = _columns()
  features = python_pipeline.features(list(first), list(second), text, masks=True)
  positions = np.tile(np.array([[1, 0, 1]], np.int32), [len(first), 1])
  outputs = _run(model, {**features, "masked_lm_positions": positions})
  words = tf.nn.log_softmax(outputs["masked_lm_logits"]).numpy()
  following = tf.nn.log_softmax(outputs["next_sentence_logits"]).numpy()
  raw = {
    "masked_lm_log_probs": words.reshape([len(first), 3, -1]),
    "next_sentence_log_probs": following,
  }
  two = {"text": first, "text_pair": second}
  with_positions = {**features, "masked_lm_positions": positions}
  masked = ({"text": np.array(_MASKED, object)}, _filled(model, text, top_k))
  return {
    "serving_default": masked,
    "fill_mask": masked,
    "next_sentence": (two, {"probability": np.exp(following[:, 0])}),
    "tensors": (with_positions, raw),
    "examples": ({"examples": python_pipeline.examples(with_positions)}, raw),
    "tokenize": (two, features),
  }


def _filled(model: keras.Model, text: TextOptions, top_k: int) -> dict[str, np.ndarray]:
  """Probabilities of the best words; not the words, since equal ones may come in any order."""
  features = python_pipeline.features(_MASKED, [""] * len(_MASKED), text, masks=True)
  mask_id = load_vocab(text.vocab_file)["[MASK]"]
  places = np.argmax(features["input_ids"] == mask_id, axis=1).astype(np.int32)[:, np.newaxis]
  logits = _run(model, {**features, "masked_lm_positions": places})["masked_lm_logits"]
  best = -np.sort(-tf.nn.softmax(logits).numpy(), axis=-1)[:, :top_k]
  return {
    "num_masks": np.ones([len(_MASKED)], np.int32),
    "probabilities": best.reshape([len(_MASKED), 1, -1]),
  }
