"""How long a pretraining step takes beside its matrix products alone, and what the engine adds.

taskset -c 0 python benchmarks/training.py --dtype bfloat16 --threads 1

All times are of one process, taken in turns, as seconds of its CPU time and of the wall clock: on
a busy machine the former is what can be compared. Writes JSON where --output says, prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import tensorflow as tf

from bert_tf.checkpoints import tf1
from bert_tf.config import BertConfig
from bert_tf.data import records
from bert_tf.optimization.optimizer import Optimizer
from bert_tf.tasks.pretraining.task import PretrainingTask, Source
from bert_tf.training import loop
from bert_tf.training.memory import memory_metrics
from bert_tf.training.options import DTYPES, TrainingOptions
from bert_tf.training.state import RunState
from bert_tf.training.step import TrainStep, trained_variables


def batches(config: BertConfig, batch: int, length: int, predictions: int) -> tf.data.Dataset:
  """The same random batch again and again."""
  random = np.random.default_rng(0)
  shape = batch, length
  features = {
    "input_ids": random.integers(1, config.vocab_size, shape),
    "input_mask": np.ones(shape),
    "segment_ids": random.integers(0, 2, shape),
    "masked_lm_positions": random.integers(0, length, (batch, predictions)),
    "masked_lm_ids": random.integers(1, config.vocab_size, (batch, predictions)),
    "next_sentence_labels": random.integers(0, 2, (batch, 1)),
  }
  features = {name: value.astype(np.int32) for name, value in features.items()}
  features["masked_lm_weights"] = np.ones((batch, predictions), np.float32)
  return tf.data.Dataset.from_tensors(features).repeat()


class Step:
  """The engine's own training step on one device."""

  def __init__(self, config: BertConfig, arguments: argparse.Namespace):
    options = TrainingOptions(
      "unused",
      1000,
      100,
      arguments.batch,
      enable_xla=arguments.xla,
      recompute_activations=arguments.recompute,
      optimizer=arguments.optimizer,
    )
    task = PretrainingTask(
      config, Source([], records.pretraining(arguments.length, arguments.predictions))
    )
    self._strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    with self._strategy.scope():
      model = task.create_model(DTYPES[arguments.dtype], arguments.recompute)
      state = RunState()
      optimizer = Optimizer(trained_variables(task, model), options.optimizer)
      self._step = TrainStep(
        task, model, optimizer, loop.schedule(options), state, options,
        scale_loss=arguments.dtype == "float16",
      )  # fmt: skip
      dataset = batches(config, arguments.batch, arguments.length, arguments.predictions)
      self._iterator = iter(self._strategy.experimental_distribute_dataset(dataset))
    self.variables = {**{v.path: v.value for v in model.variables}, **optimizer.slots}

  def __call__(self, steps: int = 1) -> None:
    """Runs so many steps and waits for them."""
    with self._strategy.scope():
      self._step.run(self._iterator, tf.constant(steps), tf.constant(0.0))["loss"].numpy()


def matrix_products(config: BertConfig, arguments: argparse.Namespace):
  """A function that computes every matrix product of a step and nothing else."""
  dtype = "float32" if arguments.dtype == "float32" else arguments.dtype
  rows, width = arguments.batch * arguments.length, config.hidden_size
  heads, inner = config.num_attention_heads, config.intermediate_size
  head = width // heads
  layers = config.num_hidden_layers
  masked = arguments.batch * arguments.predictions
  pairs = (arguments.batch * heads,)
  # (batch dimensions, rows, in, out, how often)
  shapes = [
    ((), rows, width, width, 4 * layers),
    ((), rows, width, inner, layers),
    ((), rows, inner, width, layers),
    (pairs, arguments.length, head, arguments.length, layers),
    (pairs, arguments.length, arguments.length, head, layers),
    ((), masked, width, width, 1),
    ((), masked, width, config.vocab_size, 1),
  ]
  operands = [
    [
      tf.Variable(tf.random.normal([*lead, a, b], dtype=tf.float32) * 0.02)
      for a, b in ((m, k), (k, n), (m, n))
    ]
    for lead, m, k, n, _ in shapes
  ]
  operands = [[tf.cast(x, dtype) for x in three] for three in operands]

  @tf.function(autograph=False)
  def products() -> tf.Tensor:
    total = tf.constant(0.0)
    for (_, _, _, _, times), (x, w, dy) in zip(shapes, operands, strict=True):

      def body(i, total, x=x, w=w, dy=dy):
        # A factor that depends on the round keeps them from being computed once.
        one = tf.cast(tf.cast(i, tf.float32) * 0.0 + 1.0, dtype)
        y = tf.matmul(x, w * one)
        dx = tf.matmul(dy, w, transpose_b=True)
        dw = tf.matmul(x, dy * one, transpose_a=True)
        parts = [tf.cast(tf.reshape(t, [-1])[0], tf.float32) for t in (y, dx, dw)]
        return i + 1, total + tf.add_n(parts)

      _, total = tf.while_loop(
        lambda i, _, times=times: i < times, body, (0, total), parallel_iterations=1
      )
    return total

  return lambda: products().numpy()


def timed(function) -> tuple[float, float]:
  """CPU and wall-clock seconds of a call."""
  cpu, wall = time.process_time(), time.perf_counter()
  function()
  return time.process_time() - cpu, time.perf_counter() - wall


def measure(arguments: argparse.Namespace) -> dict:
  """Steps and products in turns; medians."""
  config = BertConfig.from_json_file(arguments.config) if arguments.config else BertConfig(30522)
  step = Step(config, arguments)
  products = matrix_products(config, arguments)
  first = timed(step)
  step(), products()
  rounds = [(timed(step), timed(products)) for _ in range(arguments.rounds)]
  result = {"arguments": vars(arguments), "first_step_seconds": first[1], "rounds": rounds}
  for index, kind in enumerate(("cpu", "wall")):
    result[f"step_{kind}"] = statistics.median(r[0][index] for r in rounds)
    result[f"products_{kind}"] = statistics.median(r[1][index] for r in rounds)
    result[f"ratio_{kind}"] = statistics.median(r[0][index] / r[1][index] for r in rounds)
  result["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
  result |= memory_metrics()
  if arguments.save:
    with tempfile.TemporaryDirectory() as directory:
      prefix = os.path.join(directory, "model.ckpt-1")
      result["save_cpu"], result["save_wall"] = timed(lambda: tf1.write(prefix, step.variables))
      result["save_steps"] = result["save_wall"] / result["step_wall"]
  return result


def main() -> None:
  """Parses arguments, measures, prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--config", help="bert_config.json; default: BERT-base, uncased")
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--length", type=int, default=128)
  parser.add_argument("--predictions", type=int, default=20)
  parser.add_argument("--dtype", choices=list(DTYPES), default="bfloat16")
  parser.add_argument("--optimizer", default="adamw")
  parser.add_argument("--xla", action="store_true")
  parser.add_argument("--recompute", action="store_true")
  parser.add_argument("--save", action="store_true", help="measure the saving of a checkpoint too")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--threads", type=int, default=0)
  parser.add_argument("--output", help="file for the results as JSON")
  arguments = parser.parse_args()
  tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
  tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
  result = measure(arguments)
  if arguments.output:
    pathlib.Path(arguments.output).write_text(json.dumps(result, indent=2) + "\n")
  print(f"{'':10}{'step':>10}{'products':>10}{'ratio':>8}   (medians of {arguments.rounds})")
  for kind in ("cpu", "wall"):
    step, products, ratio = (result[f"{what}_{kind}"] for what in ("step", "products", "ratio"))
    print(f"{kind + ' s':10}{step:10.3f}{products:10.3f}{ratio:8.2f}")
  print(f"first step (with tracing) {result['first_step_seconds']:.1f} s, memory"
        f" {result['peak_memory_gb']:.2f} GB at its peak")  # fmt: skip
  if arguments.save:
    print(f"saving a checkpoint: {result['save_wall']:.2f} s, {result['save_steps']:.2f} steps")


if __name__ == "__main__":
  main()
