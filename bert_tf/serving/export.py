"""From a checkpoint to a SavedModel that takes raw text and needs nothing of this package."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from bert_tf import checkpoints, heads
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.serving import bundle, modules, python_pipeline
from bert_tf.serving.bundle import BundleOptions
from bert_tf.serving.text_inputs import TextOptions
from bert_tf.serving.weights import DTYPES
from bert_tf.tokenization import load_vocab

__all__ = ["BundleOptions", "TextOptions", "export_classifier"]

_CLASSIFIERS = {
  "classification": modules.ClassifierModule,
  "multilabel": modules.MultiLabelModule,
  "regression": modules.RegressionModule,
}

# Read by the check: short and long, with a pair and without, accents, scripts, control characters.
SAMPLE_TEXTS = (
  ("The quick brown fox jumps over the lazy dog.", ""),
  ("Crème brûlée à la carte, 3.50 €!", "Is it sweet?"),
  ("", ""),
  ("短い文 и русский\ttext\u200d with [MASK] and emoji 🎉", "x"),
  ("long " * 600, "pair " * 700),
)


def export_classifier(
  checkpoint: str | keras.Model,
  config: BertConfig,
  text: TextOptions,
  labels: Sequence[str],
  options: BundleOptions,
  task: str = "classification",
  dtype: str = "float32",
  pairs: bool = False,
) -> str:
  """Exports a classifier or a regression model as `<export_dir>/<version>`.

  Signatures: `serving_default` and `pairs` take strings, `tensors` ids, `examples` serialized
  tf.Examples, `tokenize` shows what text becomes. See `modules` for the outputs.

  Args:
    checkpoint: prefix, file or directory of a checkpoint, or a `ClassifierModel`.
    config: the model's architecture.
    text: how the model was trained to read text.
    labels: names of the outputs in their order; empty for regression.
    options: where to write.
    task: "classification" (one label), "multilabel" (a sigmoid for each) or "regression".
    dtype: type of the matrix products, "float32" or "bfloat16".
    pairs: whether the model was trained on two texts; `serving_default` then takes both.

  Returns:
    The directory of the version.

  Raises:
    UserError: bad input, an unwritable directory, or an export that fails its check; nothing is
      left behind.
  """
  if task not in _CLASSIFIERS:
    raise UserError(f"expected a task of {', '.join(_CLASSIFIERS)}, found {task!r}")
  _check_labels(labels, task)
  vocabulary = check_text(text, config)
  num_outputs = 1 if task == "regression" else len(labels)
  model = build(
    lambda policy: heads.ClassifierModel(config, num_outputs, policy), checkpoint, dtype
  )
  arguments = () if task == "regression" else (labels,)
  module = _CLASSIFIERS[task](model, text, *arguments)
  samples = _classifier_samples(model, text, task, labels, pairs)
  assets = standard_assets(config, text, vocabulary, {"task": task, "dtype": dtype, "pairs": pairs})
  if labels:
    assets["labels.txt"] = "".join(f"{label}\n" for label in labels)
  return bundle.write(module, module.signatures(pairs), assets, samples, options)


def _check_labels(labels: Sequence[str], task: str) -> None:
  if task == "regression":
    if labels:
      raise UserError(f"expected no labels for regression, found {len(labels)}; leave them out")
    return
  if len(labels) < (1 if task == "multilabel" else 2) or len(set(labels)) < len(labels):
    raise UserError(
      f"expected different labels, at least two, found {list(labels)}; give the names of the"
      " model's outputs in the order that it was trained with"
    )


def check_text(text: TextOptions, config: BertConfig) -> Mapping[str, int]:
  """Reads the vocabulary; raises UserError where text, vocabulary and model do not fit."""
  text.check(config)
  vocabulary = load_vocab(text.vocab_file)
  config.check_vocabulary_size(len(vocabulary), text.vocab_file)
  return vocabulary


def build(make, checkpoint: str | keras.Model, dtype: str) -> keras.Model:
  """Makes a model of the wanted type and reads its weights, from a file or another model."""
  if dtype not in DTYPES:
    raise UserError(f"expected --dtype to be one of {', '.join(DTYPES)}, found {dtype!r}")
  model = make(DTYPES[dtype])
  if isinstance(checkpoint, (str, os.PathLike)):
    checkpoints.load(model, os.fspath(checkpoint))
  else:
    for ours, given in zip(model.variables, checkpoint.variables, strict=True):
      ours.assign(given)
  return model


def standard_assets(
  config: BertConfig, text: TextOptions, vocabulary: Mapping[str, int], facts: Mapping
) -> dict[str, str]:
  """The text files that every bundle carries: what it is, its shape and its vocabulary."""
  options = dataclasses.asdict(text)
  del options["vocab_file"]
  return {
    "bert_config.json": config.to_json_string(),
    "vocab.txt": "".join(f"{token}\n" for token in vocabulary),
    "serving.json": bundle.to_json({**options, **facts}),
  }


def _classifier_samples(model, text: TextOptions, task: str, labels, pairs: bool) -> bundle.Samples:
  """Inputs and the answers to them by way of FullTokenizer and the Keras model."""
  first, second = (np.array(column, object) for column in zip(*SAMPLE_TEXTS, strict=True))

  def answers(features):
    logits = model({k: tf.constant(v) for k, v in features.items()})["logits"].numpy()
    if task == "regression":
      return {"score": logits[:, 0]}
    result = {"logits": logits}
    if task == "multilabel":
      return {**result, "probabilities": 1 / (1 + np.exp(-logits))}
    result["label"] = np.array([labels[i] for i in logits.argmax(-1)], object)
    return {**result, "probabilities": tf.nn.softmax(logits).numpy()}

  features = python_pipeline.features(list(first), list(second), text)
  alone = answers(python_pipeline.features(list(first), [""] * len(first), text))
  both = answers(features)
  two = {"text": first, "text_pair": second}
  return {
    "serving_default": (two, both) if pairs else ({"text": first}, alone),
    "pairs": (two, both),
    "tensors": (features, both),
    "examples": ({"examples": python_pipeline.examples(features)}, both),
    "tokenize": (two, features if not text.static_length else {}),
  }
