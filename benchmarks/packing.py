"""Examples per second of a pretraining step on short sequences: padded, by length, packed.

  python benchmarks/packing.py                  # WikiText-2 and SST-2 from BERT_TF_DATA
  python benchmarks/packing.py --batch 128 --layers 12 --hidden 768 --dtype bfloat16

Every way computes updates of as many examples. Batches are made beforehand and gone through once
before the clock starts, so that no compiling is timed; the ways take turns. Seconds are those of
the processor, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import csv
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf

from bert_tf.config import BertConfig
from bert_tf.data import in_memory_creation, pipelines, records
from bert_tf.data.instances import InstanceOptions
from bert_tf.data.packing import pack_sequences
from bert_tf.optimization.optimizer import Optimizer
from bert_tf.tasks.pretraining.task import PretrainingTask, Source
from bert_tf.tokenization import FullTokenizer
from bert_tf.training import loop
from bert_tf.training.options import DTYPES, TrainingOptions
from bert_tf.training.state import RunState
from bert_tf.training.step import TrainStep, trained_variables

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("BERT_TF_DATA", ROOT.parent / "shared" / "data"))
LENGTH, PREDICTIONS = 128, 20
SPEC = records.pretraining(LENGTH, PREDICTIONS)


def short_documents(path: pathlib.Path) -> None:
  """Writes documents of four SST-2 sentences each, a naturally short text."""
  with open(DATA / "glue" / "SST-2" / "train.tsv", encoding="utf-8") as file:
    sentences = [row["sentence"] for row in csv.DictReader(file, delimiter="\t", quoting=3)]
  with open(path, "w", encoding="utf-8") as file:
    for start in range(0, min(len(sentences), 20000), 4):
      file.write("\n".join(sentences[start : start + 4]) + "\n\n")


def datasets(text: pathlib.Path, directory: str, short_seq_prob: float, args: argparse.Namespace):
  """Yields (way, tf.data.Dataset of batches, tokens_per_batch)."""
  tokenizer = FullTokenizer(DATA / "vocabs" / "bert-base-uncased-vocab.txt")
  path = f"{directory}/{text.stem}.tfrecord"
  options = InstanceOptions(dupe_factor=1, short_seq_prob=short_seq_prob)
  in_memory_creation.create_pretraining_data([str(text)], [path], tokenizer, options)
  read = pipelines.ReadOptions(args.batch, training=True, seed=1)
  # All batches are one window, so every way sees the same examples.
  buckets = pipelines.LengthBuckets(window_batches=args.batches)
  padded = pipelines.pretraining_dataset([path], SPEC, read)
  yield "padded", padded, 0
  yield (
    "length buckets",
    pipelines.example_dataset([path], SPEC, read, buckets),
    0,
  )
  yield "pieces of 1024 tokens", padded, 1024
  yield "packed", padded.map(pack_sequences), 0


class Way:
  """A training step over the same batches again and again."""

  def __init__(self, name: str, dataset: tf.data.Dataset, tokens: int, args: argparse.Namespace):
    self.name = name
    self._batches = args.batches
    self.seconds: list[float] = []
    config = BertConfig(
      vocab_size=30522, hidden_size=args.hidden, num_hidden_layers=args.layers,
      num_attention_heads=args.hidden // 64, intermediate_size=4 * args.hidden,
    )  # fmt: skip
    options = TrainingOptions("unused", 10**6, 100, args.batch, tokens_per_batch=tokens)
    task = PretrainingTask(config, Source([], SPEC))
    self._strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    with self._strategy.scope():
      model = task.create_model(DTYPES[args.dtype])
      state = RunState()
      optimizer = Optimizer(trained_variables(task, model), options.optimizer)
      self._step = TrainStep(task, model, optimizer, loop.schedule(options), state, options)
      dataset = dataset.take(args.batches).cache().repeat()
      self._iterator = iter(self._strategy.experimental_distribute_dataset(dataset))
    start = time.perf_counter()
    self.metrics = self.run()
    self.first = time.perf_counter() - start
    self.seconds.clear()

  def run(self) -> dict[str, float]:
    """Goes through all batches once."""
    start = time.process_time()
    with self._strategy.scope():
      metrics = self._step.run(self._iterator, tf.constant(self._batches), tf.constant(0.0))
      metrics = {name: float(value) for name, value in metrics.items()}
    self.seconds.append(time.process_time() - start)
    return metrics


def compare(text: pathlib.Path, short_seq_prob: float, args: argparse.Namespace) -> None:
  """Prints a line for every way."""
  with tempfile.TemporaryDirectory() as directory:
    ways = [
      Way(name, dataset, tokens, args)
      for name, dataset, tokens in datasets(text, directory, short_seq_prob, args)
    ]
    for _ in range(args.turns):
      for way in ways:
        way.run()
  print(f"\n{text.name}, short_seq_prob {short_seq_prob}, {args.batches} batches of {args.batch}")
  print(f"{'':24}{'tokens':>8}{'padding':>9}{'examples/s':>12}{'ratio':>7}{'first pass s':>14}")
  base = None
  for way in ways:
    metrics = way.metrics
    rate = metrics["examples"] / min(way.seconds)
    base = base or rate
    print(
      f"{way.name:24}{metrics['tokens'] / metrics['examples']:8.1f}"
      f"{1 - metrics['tokens'] / metrics['positions']:9.1%}{rate:12.1f}{rate / base:7.2f}"
      f"{way.first:14.1f}",
      flush=True,
    )


def main() -> None:
  """Compares the ways on both texts."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", choices=["both", "wikitext", "short"], default="both")
  parser.add_argument("--batch", type=int, default=32)
  parser.add_argument("--batches", type=int, default=16)
  parser.add_argument("--turns", type=int, default=2)
  parser.add_argument("--layers", type=int, default=4)
  parser.add_argument("--hidden", type=int, default=256)
  parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
  parser.add_argument("--threads", type=int, default=1)
  args = parser.parse_args()
  if not DATA.is_dir():
    raise SystemExit(f"error: no {DATA}; set BERT_TF_DATA")
  tf.config.threading.set_intra_op_parallelism_threads(args.threads)
  if args.text != "short":
    compare(DATA / "wikitext2" / "valid_sentences.txt", 0.5, args)
  if args.text == "wikitext":
    return
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / "short_documents.txt"
    short_documents(path)
    compare(path, 0.1, args)


if __name__ == "__main__":
  main()
