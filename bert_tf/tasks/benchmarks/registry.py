"""The benchmarks by name; a row makes one known to `bert-tf suite`."""

from __future__ import annotations

from bert_tf.errors import UserError
from bert_tf.tasks.benchmarks.clue import CLUE
from bert_tf.tasks.benchmarks.contract import Benchmark
from bert_tf.tasks.benchmarks.glue import GLUE

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in (GLUE, CLUE)}


def find(name: str) -> Benchmark:
  """The benchmark of that name; raises UserError where there is none."""
  if name not in BENCHMARKS:
    raise UserError(f"expected one of {', '.join(BENCHMARKS)}, found {name!r}")
  return BENCHMARKS[name]
