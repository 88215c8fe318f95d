"""The batch and the clock of benchmarks/step.py, the same for all contenders."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

VOCABULARY, HIDDEN, INTERMEDIATE, HEADS = 30522, 768, 3072, 12


def numpy_batch(args) -> dict:
  """Random features under the original's names."""
  import numpy as np

  random = np.random.default_rng(0)
  batch, length, predictions = args.batch, args.length, args.predictions

  def ids(limit: int, *shape: int):
    return random.integers(0, limit, shape).astype(np.int32)

  return {
    "input_ids": ids(VOCABULARY, batch, length),
    "input_mask": np.ones([batch, length], np.int32),
    "segment_ids": ids(2, batch, length),
    "masked_lm_positions": np.sort(ids(length, batch, predictions)),
    "masked_lm_ids": ids(VOCABULARY, batch, predictions),
    "masked_lm_weights": np.ones([batch, predictions], np.float32),
    "next_sentence_labels": ids(2, batch, 1),
  }


def peak_memory() -> int:
  """Peak resident memory of this process so far, MiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def take_turns(contenders: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
  """Least processor time of every contender, seconds; the first turn warms up."""
  best = {}
  for turn in range(repeat + 1):
    for name, run in contenders.items():
      start = time.process_time()
      run()
      seconds = time.process_time() - start
      if turn:
        best[name] = min(best.get(name, seconds), seconds)
  return best


def one_thread():
  """TensorFlow, on one thread."""
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  return tf
