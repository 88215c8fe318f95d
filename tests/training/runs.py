"""Training runs for the tests of this directory: a task from golden batches, and whole processes."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import pathlib
from collections.abc import Callable

import numpy as np

from bert_tf.config import BertConfig
from bert_tf.data import records

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
LENGTH, PREDICTIONS, BATCH = 64, 10, 4


def golden_config(name: str, **changes) -> BertConfig:
  file = {"tiny": "bert_config.json", "relu": "config_relu_large_type.json"}[name]
  values = json.loads((GOLDEN / file).read_text())
  return BertConfig.from_dict({**values, **changes})


def golden_batches() -> list[dict[str, np.ndarray]]:
  arrays = np.load(GOLDEN / "model" / "train_batches.npz")
  return [
    {
      name: arrays[name][i].astype(np.float32 if name == "masked_lm_weights" else np.int32)
      for name in arrays
    }
    for i in range(15)
  ]


def write_records(directory: pathlib.Path, files: int = 3) -> list[str]:
  """Writes the golden records of one seed, dealt out to several TFRecord files."""
  with gzip.open(GOLDEN / "pretrain" / "uncased_seed12345.jsonl.gz", "rt") as file:
    examples = [json.loads(line) for line in file]
  paths = [str(directory / f"part-{i}.tfrecord") for i in range(files)]
  for i, path in enumerate(paths):
    with records.RecordWriter(path) as writer:
      for example in examples[i::files]:
        writer.write(records.encode_example(example))
  return paths


def golden_task(config: BertConfig, batches: list | None = None, files: list[str] | None = None):
  """A pretraining task on `files`, or on the golden batches in their order."""
  import tensorflow as tf

  from bert_tf.tasks.pretraining import PretrainingTask

  class Task(PretrainingTask):
    def train_dataset(self, options):
      if files:
        return super().train_dataset(options)
      # Shard i of n takes rows i * rows / n onwards of every batch, as accumulation does.
      rows = slice(options.shard_index * options.batch_size, None)
      pieces = [
        {name: x[rows][start : start + options.batch_size] for name, x in batch.items()}
        for batch in (batches or golden_batches())
        for start in range(0, len(batch["input_ids"]) // options.num_shards, options.batch_size)
      ]
      stacked = {name: np.stack([piece[name] for piece in pieces]) for name in pieces[0]}
      dataset = tf.data.Dataset.from_tensor_slices(stacked)
      spec = tf.data.Options()
      spec.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
      return dataset.skip(options.skip_batches).with_options(spec)

  return Task(config, files or [], LENGTH, PREDICTIONS)


def weights_of(directory: str | os.PathLike) -> dict[str, np.ndarray]:
  """The tensors of the newest checkpoint of a run."""
  import tensorflow as tf

  reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(directory)))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def in_process(function: Callable, *args, environment: dict | None = None, **kwargs):
  """Starts `function(*args)` in a fresh process that has TensorFlow imported, not initialised."""
  context = multiprocessing.get_context("forkserver")
  # Imported once; the runtime itself starts in the child, which may still configure devices.
  context.set_forkserver_preload(["bert_tf.training.loop", "bert_tf.tasks.pretraining"])
  process = context.Process(
    target=_call, args=(environment or {}, function, args, kwargs), daemon=True
  )
  process.start()
  return process


def _call(environment, function, args, kwargs):
  os.environ.update(environment)
  function(*args, **kwargs)


def finish(process, seconds: float) -> int:
  """Waits for a process; a process that hangs is killed and fails the test."""
  process.join(seconds)
  if process.exitcode is None:
    process.kill()
    raise AssertionError(f"the process was still running after {seconds} s")
  return process.exitcode
