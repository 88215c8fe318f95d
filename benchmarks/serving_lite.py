"""LiteRT files of all-MiniLM-L6-v2 beside the float model: accuracy, size, time. Run by serving.py.

Accuracy is that of a logistic regression on the mean vectors of sentences of SST-2: it is fitted to
vectors of the float model, once, and then reads those of each file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

import numpy as np
from serving_tools import DATA

LENGTH = 64
TRAINED_ON = 2000


def _sentences(split: str, count: int) -> tuple[list[str], np.ndarray]:
  """Sentences of SST-2 and their labels."""
  lines = (DATA / "glue" / "SST-2" / f"{split}.tsv").read_text("utf-8").splitlines()[1 : count + 1]
  rows = [line.rsplit("\t", 1) for line in lines]
  return [row[0] for row in rows], np.array([int(row[1]) for row in rows])


def _float_vectors(signature, sentences: list[str]) -> np.ndarray:
  import tensorflow as tf

  batches = [sentences[i : i + 32] for i in range(0, len(sentences), 32)]
  return np.concatenate([signature(text=tf.constant(batch))["mean"] for batch in batches])


def _lite_vectors(path: str, features: dict[str, np.ndarray]) -> tuple[np.ndarray, float]:
  """Vectors by the LiteRT runtime on one thread, and the mean ms of a sentence."""
  from bert_tf.export.lite import LiteModel

  model = LiteModel(path)
  rows = [
    {name: value[i : i + 1] for name, value in features.items()}
    for i in range(len(features["input_ids"]))
  ]
  model(rows[0])
  started = time.perf_counter()
  vectors = [model(row)["mean"][0] for row in rows]
  return np.array(vectors), 1000 * (time.perf_counter() - started) / len(rows)


def lite(args: argparse.Namespace) -> dict[str, Any]:
  """Exports with LiteRT files and compares each with the float model."""
  from sklearn.linear_model import LogisticRegression

  from bert_tf.export.options import LITE_KINDS, ExportOptions
  from bert_tf.export.run import ExportRun, ExportRunner

  train, labels = _sentences("train", TRAINED_ON)
  dev, truth = _sentences("dev", args.texts)
  results = {}
  with tempfile.TemporaryDirectory() as directory:
    options = ExportOptions(directory, version=1, check=False, lite=LITE_KINDS)
    run = ExportRun(str(DATA / "minilm"), options, "encoder", max_seq_length=LENGTH)
    path = ExportRunner(run).export()
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]
    probe = LogisticRegression(max_iter=1000).fit(_float_vectors(signature, train), labels)
    expected = _float_vectors(signature, dev)
    results["float model"] = {"accuracy": float(probe.score(expected, truth))}
    tokenized = loaded.signatures["tokenize"](
      text=tf.constant(dev), text_pair=tf.constant([""] * len(dev))
    )
    names = ("input_ids", "input_mask", "segment_ids")
    features = {name: tokenized[name].numpy() for name in names}
    for kind in LITE_KINDS:
      file = os.path.join(path, "lite", f"model_{kind}.tflite")
      vectors, milliseconds = _lite_vectors(file, features)
      cosines = (vectors * expected).sum(1) / (
        np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
      )
      results[kind] = {
        "mib": os.path.getsize(file) / 2**20,
        "ms": milliseconds,
        "difference": float(np.abs(vectors - expected).max()),
        "least_cosine": float(cosines.min()),
        "accuracy": float(probe.score(vectors, truth)),
        "same_label": float((probe.predict(vectors) == probe.predict(expected)).mean()),
      }
  print(f"{len(dev)} sentences of SST-2 of up to {LENGTH} tokens, one thread")
  for kind, values in results.items():
    print(f"{kind:<12}", ", ".join(f"{name} {value:.4g}" for name, value in values.items()))
  return results
