"""Time of one training step of BERT and of one forward pass, beside the peers and the limit.

python benchmarks/step.py [--layers 12] [--batch 8] [--length 128] [--peers PYTHON] [--json FILE]

One core: every contender runs in a process of its own with one thread. The limit is the matrix
products of the same step, alone, in the same process and in turns with it. Times are the least of
`--repeat` turns, of the processor time that the process used, which equals the time on the clock
where nothing else runs and is fairer where something does. `--peers` names a Python that has
benchmarks/peers-requirements.txt; `make bench` makes one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable

import step_peers
from step_tools import (
  HEADS,
  HIDDEN,
  INTERMEDIATE,
  VOCABULARY,
  numpy_batch,
  one_thread,
  peak_memory,
  take_turns,
)

OURS = ("ours float32", "ours bfloat16")
PEERS = (
  "keras_hub float32",
  "keras_hub mixed_bfloat16",
  "model_garden float32",
  "model_garden mixed_bfloat16",
  "transformers float32",
  "transformers bfloat16",
)


def measure_ours(args, dtype: str) -> dict:
  """Our step with and without compiled kernels, our forward pass, and their matrix products."""
  tf = one_thread()
  from bert_tf import BertConfig, fused_ops

  config = BertConfig(
    vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=args.layers,
    num_attention_heads=HEADS, intermediate_size=INTERMEDIATE, type_vocab_size=2,
    max_position_embeddings=max(512, args.length),
  )  # fmt: skip
  batch = {name: tf.constant(value) for name, value in numpy_batch(args).items()}
  model, step = our_step(config, args, dtype, batch)
  step()
  memory = peak_memory()

  forward = tf.function(lambda: model.bert(batch)["pooled_output"], autograph=False)
  contenders = {"step": step, "forward": lambda: forward().numpy()}
  available = fused_ops.available
  fused_ops.available = lambda width: False
  contenders["step, plain ops"] = our_step(config, args, dtype, batch, model)[1]
  contenders["step, plain ops"]()
  fused_ops.available = available
  contenders["products of step"] = matrix_products(args, dtype, training=True)
  contenders["products of forward"] = matrix_products(args, dtype, training=False)
  return {"seconds": take_turns(contenders, args.repeat), "peak_mib": memory}


def our_step(config, args, dtype: str, batch: dict, model=None):
  """The training engine's own step; returns the model and a function that makes one update."""
  import tensorflow as tf

  from bert_tf.data import records
  from bert_tf.optimization.optimizer import Optimizer
  from bert_tf.tasks.pretraining.task import PretrainingTask, Source
  from bert_tf.training.options import DTYPES, TrainingOptions
  from bert_tf.training.state import RunState
  from bert_tf.training.step import TrainStep, trained_variables

  task = PretrainingTask(config, Source([], records.pretraining(args.length, args.predictions)))
  model = model or task.create_model(DTYPES[dtype])
  options = TrainingOptions(
    "unused", num_train_steps=1000, num_warmup_steps=0, train_batch_size=args.batch
  )
  optimizer = Optimizer(trained_variables(task, model))
  step = TrainStep(task, model, optimizer, lambda step: 1e-5 + 0.0 * step, RunState(), options)
  iterator = iter(tf.data.Dataset.from_tensors(batch).repeat())
  one, clock = tf.constant(1), tf.constant(0.0)
  return model, lambda: step.run(iterator, one, clock)["loss"].numpy()


def matrix_products(args, dtype: str, training: bool) -> Callable[[], object]:
  """The matrix products of a step or a forward pass, each on tensors of its own."""
  import tensorflow as tf

  rows, words = args.batch * args.length, args.batch * args.predictions
  size = HIDDEN // HEADS
  dense = [(rows, HIDDEN, HIDDEN)] * 4 + [(rows, HIDDEN, INTERMEDIATE)]
  dense = [*dense, (rows, INTERMEDIATE, HIDDEN)] * args.layers
  if training:
    dense += [(words, HIDDEN, HIDDEN), (words, HIDDEN, VOCABULARY)]
  heads = [args.batch, HEADS]
  attention = [(args.length, size, args.length), (args.length, args.length, size)] * args.layers
  shapes = [([m, k], [k, n], [m, n]) for m, k, n in dense]
  shapes += [([*heads, m, k], [*heads, k, n], [*heads, m, n]) for m, k, n in attention]

  def filled(shape):
    return tf.cast(tf.random.normal(shape), dtype)

  operands = [tuple(map(filled, triple)) for triple in shapes]

  @tf.function(autograph=False)
  def run(operands):
    products = []
    for x, weight, upstream in operands:
      products.append(tf.matmul(x, weight))
      if training:
        products.append(tf.matmul(upstream, weight, transpose_b=True))
        products.append(tf.matmul(x, upstream, transpose_a=True))
    # One number of each, so that none is left out.
    return tf.add_n([tf.reshape(p, [-1])[0] for p in products])

  return lambda: run(operands).numpy()


def run_contender(name: str, argv: list[str], peers: str | None) -> dict | None:
  """Measures one contender in a process of its own; None where it is not installed."""
  python = peers if peers and name.startswith("transformers") else sys.executable
  environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
  root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  environment["PYTHONPATH"] = root
  ended = subprocess.run(
    [python, os.path.abspath(__file__), *argv, "--measure", name],
    capture_output=True, text=True, env=environment,
  )  # fmt: skip
  if ended.returncode:
    last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{name}: not measured: {last}", file=sys.stderr)
    return None
  return json.loads(ended.stdout.splitlines()[-1])


def print_table(results: dict[str, dict]) -> None:
  """One line for everything measured; ratios are to the matrix products of that process."""
  print(f"{'':26s} {'':20s} {'ms':>8s} {'x products':>10s} {'peak MiB':>9s}")
  for name, result in results.items():
    seconds = result["seconds"]
    for what, value in seconds.items():
      kind = "forward" if "forward" in what else "step"
      limit = seconds.get(f"products of {kind}")
      ratio = f"{value / limit:10.3f}" if limit else " " * 10
      print(f"{name:26s} {what:20s} {1000 * value:8.0f} {ratio} {result['peak_mib']:9d}")


def main() -> None:
  """Measures what was asked for, one process after the other."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--layers", type=int, default=12)
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--length", type=int, default=128)
  parser.add_argument("--predictions", type=int, default=20)
  parser.add_argument("--repeat", type=int, default=5)
  parser.add_argument("--only", default="", help="measure only names that contain this")
  parser.add_argument("--peers", help="Python with benchmarks/peers-requirements.txt")
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--measure", choices=OURS + PEERS, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  if args.measure:
    system, dtype = args.measure.split()
    measure = measure_ours if system == "ours" else getattr(step_peers, f"measure_{system}")
    print(json.dumps(measure(args, dtype)))
    return
  names = [name for name in OURS + PEERS if args.only in name]
  measured = {name: run_contender(name, sys.argv[1:], args.peers) for name in names}
  results = {name: result for name, result in measured.items() if result}
  print_table(results)
  if args.json:
    with open(args.json, "w", encoding="utf-8") as file:
      json.dump(
        {"settings": vars(args), "load": os.getloadavg(), "results": results}, file, indent=1
      )


if __name__ == "__main__":
  main()
