"""For the tests of this directory: tasks on golden batches, and runs in processes of their own."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import pathlib
import socket
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


def write_records(directory: pathlib.Path, files: int = 3, short: bool = False) -> list[str]:
  """Writes the golden records of one seed, dealt out to several TFRecord files.

  With `short`, every other record is cut down to a third of its length.
  """
  with gzip.open(GOLDEN / "pretrain" / "uncased_seed12345.jsonl.gz", "rt") as file:
    examples = [json.loads(line) for line in file]
  for example in examples:
    example["masked_lm_weights"] = [float(weight) for weight in example["masked_lm_weights"]]
  for example in examples[1::2] if short else []:
    _cut(example, max(4, sum(example["input_mask"]) // 3))
  paths = [str(directory / f"part-{i}.tfrecord") for i in range(files)]
  for i, path in enumerate(paths):
    with records.RecordWriter(path) as writer:
      for example in examples[i::files]:
        writer.write(records.encode_example(example))
  return paths


def _cut(example: dict[str, list], length: int) -> None:
  """Leaves the first `length` pieces of a record and the predictions among them."""
  for name in ("input_ids", "input_mask", "segment_ids"):
    example[name][length:] = [0] * (LENGTH - length)
  for i, position in enumerate(example["masked_lm_positions"]):
    if position >= length:
      example["masked_lm_positions"][i] = example["masked_lm_ids"][i] = 0
      example["masked_lm_weights"][i] = 0.0


def golden_task(
  config: BertConfig,
  batches: list | None = None,
  files: list[str] | None = None,
  pack: bool = False,
):
  """A pretraining task on `files`, or on the golden batches in their order."""
  import tensorflow as tf

  from bert_tf.tasks.pretraining.task import PretrainingTask, Source

  class Task(PretrainingTask):
    def num_train_examples(self):
      return super().num_train_examples() if files else None

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

  return Task(config, Source(files or [], records.pretraining(LENGTH, PREDICTIONS), pack=pack))


def weights_of(directory: str | os.PathLike) -> dict[str, np.ndarray]:
  """The tensors of the newest checkpoint of a run."""
  import tensorflow as tf

  reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(str(directory)))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def in_process(function: Callable, *args, environment: dict | None = None, **kwargs):
  """Starts `function(*args)` in a fresh process that has TensorFlow imported, not initialised."""
  context = multiprocessing.get_context("forkserver")
  # Imported once; the runtime itself starts in the child, which may still configure devices.
  context.set_forkserver_preload(["bert_tf.training.loop", "bert_tf.tasks.pretraining.task"])
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


def free_ports(count: int) -> list[int]:
  sockets = [socket.socket() for _ in range(count)]
  for s in sockets:
    s.bind(("127.0.0.1", 0))
  ports = [s.getsockname()[1] for s in sockets]
  for s in sockets:
    s.close()
  return ports


def train(
  directory: str,
  strategy: str,
  options: dict,
  config: dict | None = None,
  files: list[str] | None = None,
  dtype: str = "float32",
  pack: bool = False,
) -> None:
  """Trains the tiny model; "mirrored" means on two virtual CPUs. Ends as a script would."""
  import tensorflow as tf
  from absl import logging

  from bert_tf import script
  from bert_tf.training import loop
  from bert_tf.training.options import DeviceOptions, TrainingOptions

  logging.set_verbosity(logging.INFO)
  os.makedirs(directory, exist_ok=True)
  log = open(os.path.join(directory, "log"), "a")  # noqa: SIM115
  os.dup2(log.fileno(), 2)
  tf.config.threading.set_intra_op_parallelism_threads(1)
  if strategy == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
  values = {
    "num_train_steps": 10,
    "num_warmup_steps": 2,
    "train_batch_size": 4,
    "learning_rate": 1e-3,
    "log_steps": 1,
    **options,
  }
  task = golden_task(golden_config("tiny", **(config or {})), files=files, pack=pack)
  devices = DeviceOptions(distribution_strategy=strategy, worker_timeout=60, dtype=dtype)
  script.call(lambda: loop.train(task, TrainingOptions(directory, **values), devices))


def log_of(directory) -> str:
  return (pathlib.Path(directory) / "log").read_text()
