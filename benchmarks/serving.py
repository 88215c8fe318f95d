"""How fast exports answer, and that a server keeps its head under load and under abuse.

  python benchmarks/serving.py load      # 64 clients for 60 s, batching on and off
  python benchmarks/serving.py fuzz      # 10,000 malformed requests
  python benchmarks/serving.py lite      # LiteRT files against the float model
  python benchmarks/serving.py forward   # BERT-base, batch 8 of length 128, one core
  python benchmarks/serving.py lengths   # texts as long as SST-2's against padding to 128

The model of `load` and `fuzz` is a BERT-mini (4 layers, hidden 256) with random weights: what is
measured is the server. Texts are SST-2's from BERT_TF_DATA, or lines of the tests' corpus. `load`
compares every answer with the one that the model gave to the same text alone. Figures are printed
and written as JSON (--output).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from typing import Any

import numpy as np
from serving_tools import export_classifier, texts

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _best(run, repeats: int) -> float:
  """Least of several processor times in ms: on one core what the code takes when it is alone."""
  run()
  times = []
  for _ in range(repeats):
    started = time.process_time()
    run()
    times.append(time.process_time() - started)
  return min(times) * 1000


def _one_core() -> None:
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)


def _matrix_products(batch: int, length: int, layers: int, hidden: int, dtype) -> Any:
  """The matrix products of an encoder and nothing else."""
  import tensorflow as tf

  rows, heads = batch * length, hidden // 64
  x = tf.random.normal([rows, hidden])
  kernels = [
    tf.Variable(tf.cast(tf.random.normal([hidden, hidden]) * 0.02, dtype)) for _ in range(4)
  ]
  wide = tf.Variable(tf.cast(tf.random.normal([hidden, 4 * hidden]) * 0.02, dtype))
  narrow = tf.Variable(tf.cast(tf.random.normal([4 * hidden, hidden]) * 0.02, dtype))
  query = tf.cast(tf.random.normal([batch, heads, length, 64]), dtype)
  probs = tf.cast(tf.random.normal([batch, heads, length, length]), dtype)

  @tf.function(autograph=False)
  def products(x):
    x = tf.cast(x, dtype)
    total = 0.0
    for _ in range(layers):
      for kernel in kernels:
        x = tf.matmul(x, kernel)
      scores = tf.matmul(query, query, transpose_b=True)
      context = tf.matmul(probs + scores[..., :1] * 0, query)
      x = tf.matmul(tf.matmul(x, wide), narrow)
      total += tf.reduce_sum(tf.cast(context[0, 0, 0], tf.float32))
    return x, total

  return lambda: products(x)


def forward(args: argparse.Namespace) -> dict[str, Any]:
  """BERT-base, batch 8 of length 128: the export against its matrix products and others."""
  _one_core()
  import tensorflow as tf

  rng = np.random.default_rng(0)
  shape = (8, 128)
  features = {
    "input_ids": rng.integers(5, 1000, shape, np.int32),
    "input_mask": np.ones(shape, np.int32),
    "segment_ids": np.zeros(shape, np.int32),
  }
  results = {}
  for dtype in ("float32", "bfloat16"):
    with tempfile.TemporaryDirectory() as directory:
      path = export_classifier(directory, 12, 768, dtype)
      loaded = tf.saved_model.load(path)
      inputs = {name: tf.constant(value) for name, value in features.items()}
      signature = loaded.signatures["tensors"]
      results[f"export {dtype}"] = _best(lambda s=signature, i=inputs: s(**i), args.repeats)
      del loaded, signature
    products = _matrix_products(*shape, 12, 768, tf.as_dtype(dtype))
    results[f"matrix products {dtype}"] = _best(products, args.repeats)
  results |= _transformers(features, args.repeats)
  for name, value in results.items():
    print(f"{name:<28}{value:>8.0f} ms")
  for dtype in ("float32", "bfloat16"):
    ratio = results[f"export {dtype}"] / results[f"matrix products {dtype}"]
    print(f"{dtype}: {ratio:.2f} times the matrix products")
  return results


def _transformers(features: dict[str, np.ndarray], repeats: int) -> dict[str, float]:
  """The same model in transformers on torch, where they are installed."""
  try:
    import torch
    import transformers
  except ImportError:
    return {}
  torch.set_num_threads(1)
  model = transformers.BertForSequenceClassification(transformers.BertConfig()).eval()
  inputs = {
    ours: torch.from_numpy(features[theirs].astype(np.int64))
    for ours, theirs in (
      ("input_ids", "input_ids"), ("attention_mask", "input_mask"),
      ("token_type_ids", "segment_ids"),
    )
  }  # fmt: skip
  results = {}
  for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
    cast = model.to(dtype)
    with torch.inference_mode():
      results[f"transformers {name}"] = _best(lambda m=cast: m(**inputs), repeats)
  return results


def lengths(args: argparse.Namespace) -> dict[str, Any]:
  """Texts per second where a batch is as long as its longest text, and where it is 128 long."""
  _one_core()
  import tensorflow as tf

  sentences = texts()[: args.texts]
  results = {}
  for name, static in (("as long as needed", False), ("padded to 128", True)):
    with tempfile.TemporaryDirectory() as directory:
      path = export_classifier(directory, 12, 768, args.dtype, static)
      loaded = tf.saved_model.load(path)
      signature = loaded.signatures["serving_default"]

      def answer_all(signature=signature) -> None:
        for start in range(0, len(sentences), 8):
          signature(text=tf.constant(sentences[start : start + 8]))

      results[name] = len(sentences) / _best(answer_all, 1) * 1000
      print(f"{name:<20}{results[name]:>8.1f} texts/s", flush=True)
      del loaded, signature, answer_all
  ratio = results["as long as needed"] / results["padded to 128"]
  print(f"ratio {ratio:.2f}")
  return {**results, "ratio": ratio}


def main() -> None:
  """Runs one benchmark."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=["load", "fuzz", "lite", "forward", "lengths"])
  parser.add_argument("--clients", type=int, default=64)
  parser.add_argument("--seconds", type=float, default=60)
  parser.add_argument("--warmup", type=float, default=60, help="seconds before those")
  parser.add_argument("--turns", type=int, default=4, help="pieces of those seconds")
  parser.add_argument("--modes", default="on,off", help="batching on, off or both")
  parser.add_argument("--mixed", action="store_true", help="sentences and paragraphs")
  parser.add_argument("--layers", type=int, default=4)
  parser.add_argument("--hidden", type=int, default=256)
  parser.add_argument("--requests", type=int, default=10_000)
  parser.add_argument("--repeats", type=int, default=10)
  parser.add_argument("--texts", type=int, default=128)
  parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
  parser.add_argument("--output", help="JSON file for the result")
  args = parser.parse_args()
  from serving_fuzz import fuzz
  from serving_lite import lite
  from serving_load import load

  run = {"load": load, "fuzz": fuzz, "lite": lite, "forward": forward, "lengths": lengths}[
    args.what
  ]
  result = run(args)
  if args.output:
    from bert_tf.files import atomic_writer

    with atomic_writer(args.output) as file:
      file.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
