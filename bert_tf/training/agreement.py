"""Lets the workers of a run decide together when to stop and how many steps to run."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.training.strategy import has_several_workers, is_chief


class Agreement:
  """Exchanges a few numbers among workers; with one worker it costs nothing."""

  def __init__(self, strategy: tf.distribute.Strategy):
    """Args: `strategy`, whose workers take part; all of them must make the same calls."""
    self._strategy = strategy
    self._alone = not has_several_workers(strategy)

  def chief_decides(self, *values: float) -> list[float]:
    """Returns the chief's values on every worker."""
    if self._alone:
      return list(values)
    own = values if is_chief(self._strategy) else [0.0] * len(values)
    return self._sum(own)

  def anyone(self, number: int | None) -> int | None:
    """Returns a number that some worker gives, or None where none does."""
    if self._alone:
      return number
    chosen, count = self._sum([number or 0, number is not None])
    return int(chosen / count) if count else None

  def check_same(self, number: int, what: str) -> None:
    """Raises UserError on all workers where they give different numbers."""
    if self._alone:
      return
    total, squares = self._sum([number, number * number])
    workers = self._num_workers
    if squares * workers != total * total:
      raise UserError(
        f"expected all workers to see {what}, found different ones (here: {number}); give an"
        " `output_dir` on a file system that all workers share"
      )

  @property
  def _num_workers(self) -> int:
    return len(self._strategy.cluster_resolver.cluster_spec().job_tasks("worker"))

  def _sum(self, values: Sequence[float]) -> list[float]:
    # Every replica of a worker adds the worker's values.
    local = self._strategy.num_replicas_in_sync // self._num_workers
    total = _all_reduce(self._strategy, tf.constant([float(v) for v in values], tf.float64))
    return [float(v) / local for v in total.numpy()]


@tf.function(autograph=False)
def _all_reduce(strategy: tf.distribute.Strategy, values: tf.Tensor) -> tf.Tensor:
  def on_replica(x: tf.Tensor) -> tf.Tensor:
    return tf.distribute.get_replica_context().all_reduce(
      tf.distribute.ReduceOp.SUM, tf.identity(x)
    )

  result = strategy.run(on_replica, args=(values,))
  return strategy.experimental_local_results(result)[0]
