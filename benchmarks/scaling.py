"""How much faster two cores train than one: in one process, and as two worker processes.

python benchmarks/scaling.py [--dtype bfloat16] [--accumulation 1,4,16] [--json FILE]

Runs run_pretraining.py on random records: alone on one core, alone on two, and as two workers on
loopback (--distribution_strategy=multi_worker_mirrored) with a core and a batch of the same size
each. What two workers lose is the exchange of gradients (BERT-base: 440 MB a step) and waiting for
each other; with accumulation it comes once in so many pieces of a batch. Wants two cores that do
nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
VOCABULARY, LENGTH, PREDICTIONS = 30522, 128, 20
# The first steps trace, compile and connect; small ones take longer to settle.
WARMUP = 2
SMALL_STEPS = 8


def write_inputs(directory: str, layers: int, hidden: int) -> None:
  """A config and two files of random records."""
  import tensorflow as tf

  config = {
    "vocab_size": VOCABULARY, "hidden_size": hidden, "num_hidden_layers": layers,
    "num_attention_heads": hidden // 64, "intermediate_size": 4 * hidden, "type_vocab_size": 2,
    "max_position_embeddings": 512, "hidden_act": "gelu", "initializer_range": 0.02,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
  }  # fmt: skip
  pathlib.Path(directory, "config.json").write_text(json.dumps(config))
  random = np.random.default_rng(0)

  def ints(limit: int, size: int) -> tf.train.Feature:
    return tf.train.Feature(
      int64_list=tf.train.Int64List(value=random.integers(0, limit, size).tolist())
    )

  for part in range(2):
    with tf.io.TFRecordWriter(f"{directory}/{part}.tfrecord") as writer:
      for _ in range(256):
        ones = tf.train.Feature(int64_list=tf.train.Int64List(value=[1] * LENGTH))
        weights = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0] * PREDICTIONS))
        features = {
          "input_ids": ints(VOCABULARY, LENGTH), "input_mask": ones, "segment_ids": ints(2, LENGTH),
          "masked_lm_positions": ints(LENGTH, PREDICTIONS),
          "masked_lm_ids": ints(VOCABULARY, PREDICTIONS), "masked_lm_weights": weights,
          "next_sentence_labels": ints(2, 1),
        }  # fmt: skip
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())


def examples_per_second(args, inputs: str, pieces: int, workers: int = 1, cores: int = 1) -> float:
  """Of a run with so many workers, each with so many cores and `pieces` x `args.batch`."""
  warmup, measured = (max(steps, SMALL_STEPS // pieces) for steps in (WARMUP, args.steps))
  sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
  addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
  for each in sockets:
    each.close()
  with tempfile.TemporaryDirectory() as output:
    command = [
      sys.executable, str(ROOT / "run_pretraining.py"), "--do_train",
      f"--input_file={inputs}/*.tfrecord", f"--bert_config_file={inputs}/config.json",
      f"--output_dir={output}", f"--max_seq_length={LENGTH}", f"--dtype={args.dtype}",
      f"--train_batch_size={args.batch * pieces * workers}", "--iterations_per_loop=1",
      f"--gradient_accumulation_steps={pieces}", f"--num_train_steps={warmup + measured}",
      "--num_warmup_steps=0", "--log_steps=1", "--save_checkpoints_steps=100000",
    ]  # fmt: skip
    if workers > 1:
      command.append("--distribution_strategy=multi_worker_mirrored")
    ours = [str(core) for core in sorted(os.sched_getaffinity(0))]
    started = []
    for index in range(workers):
      cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
      environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
      if workers > 1:
        environment["TF_CONFIG"] = json.dumps(cluster)
      started.append(
        subprocess.Popen(
          ["taskset", "-c", ",".join(ours[index * cores : (index + 1) * cores]), *command],
          env=environment,
          stdout=subprocess.DEVNULL,
          stderr=subprocess.DEVNULL,
        )
      )
    if any([process.wait(timeout=3600) for process in started]):
      raise RuntimeError(f"a run failed; try {' '.join(command)}")
    lines = pathlib.Path(output, "metrics.jsonl").read_text().splitlines()
  rates = [r["examples_per_second"] for r in map(json.loads, lines) if r["kind"] == "train"]
  return float(np.median(rates[warmup:]))


def main() -> None:
  """Measures one core, two and two workers in turns and prints their ratios."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--layers", type=int, default=12)
  parser.add_argument("--hidden", type=int, default=768)
  parser.add_argument("--batch", type=int, default=8, help="examples in a piece")
  parser.add_argument("--accumulation", default="1,4,16", help="pieces in a batch")
  parser.add_argument("--steps", type=int, default=2, help="to measure at least")
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--json", help="also write the results to this file")
  args = parser.parse_args()
  results = []
  with tempfile.TemporaryDirectory() as inputs:
    write_inputs(inputs, args.layers, args.hidden)
    print("examples a step   one core, examples/s   ratio of two cores   of two workers")
    for pieces in map(int, args.accumulation.split(",")):
      one = examples_per_second(args, inputs, pieces)
      both = examples_per_second(args, inputs, pieces, cores=2)
      two = examples_per_second(args, inputs, pieces, workers=2)
      results.append({
        "examples": args.batch * pieces, "one": one, "both": both, "two": two,
        "cores_ratio": both / one, "workers_ratio": two / one,
      })  # fmt: skip
      print(f"{args.batch * pieces:15d}{one:24.2f}{both / one:21.2f}{two / one:17.2f}", flush=True)
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps({"settings": vars(args), "results": results}))


if __name__ == "__main__":
  main()
