"""Requests that come at the same time are answered in one run of the model.

A queue per version; threads take what waits there for the same signature, up to a largest batch,
and wait for more for a few milliseconds at most. Ids of different lengths are padded with 0.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bert_tf.serving.servable import RequestError, Servable

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class BatchingOptions:
  """How requests are put together.

  Attributes:
    max_batch_size: most rows in a run; 1 answers every request alone. A request that is larger
      runs by itself.
    timeout_ms: how long an incomplete batch waits for more.
    max_queue: most rows that wait; further requests are refused as UNAVAILABLE.
    max_rows: most rows in a request.
    num_threads: how many batches run at the same time.
  """

  max_batch_size: int = 32
  timeout_ms: float = 2.0
  max_queue: int = 1024
  max_rows: int = 256
  num_threads: int = 2


@dataclasses.dataclass
class _Job:
  signature: str
  inputs: Arrays
  rows: int
  future: concurrent.futures.Future


class Batcher:
  """Runs a servable for many callers."""

  def __init__(
    self,
    servable: Servable,
    options: BatchingOptions,
    observe: Callable[[str, int], None] = lambda signature, rows: None,
  ):
    """Starts the threads; `observe` is told of every run its signature and rows."""
    self.servable = servable
    self._options = options
    self._observe = observe
    self._jobs: collections.deque[_Job] = collections.deque()
    self._waiting_rows = 0
    self._changed = threading.Condition()
    self._closed = False
    self._threads = [
      threading.Thread(target=self._work, name=f"batcher-{i}", daemon=True)
      for i in range(options.num_threads)
    ]
    for thread in self._threads:
      thread.start()

  @property
  def waiting_rows(self) -> int:
    """Rows that wait in the queue."""
    return self._waiting_rows

  def submit(self, signature: str, inputs: Arrays) -> concurrent.futures.Future:
    """Queues a request; the future gets its outputs or a RequestError.

    Raises:
      RequestError: the inputs do not fit the signature, or the queue is full.
    """
    rows = self.servable.check(signature, inputs)
    if rows > self._options.max_rows:
      raise RequestError(f"expected at most {self._options.max_rows} rows, found {rows}")
    job = _Job(signature, inputs, rows, concurrent.futures.Future())
    with self._changed:
      if self._closed:
        raise RequestError("this version is being unloaded; try again", "UNAVAILABLE")
      if self._waiting_rows and self._waiting_rows + rows > self._options.max_queue:
        raise RequestError("the server is busy: its queue is full; try again", "UNAVAILABLE")
      self._jobs.append(job)
      self._waiting_rows += rows
      self._changed.notify()
    return job.future

  def close(self) -> None:
    """Answers what waits, then frees the model."""
    with self._changed:
      self._closed = True
      self._changed.notify_all()
    for thread in self._threads:
      thread.join()
    self.servable.close()

  def _work(self) -> None:
    while jobs := self._take():
      jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
      if jobs:
        self._answer(jobs)

  def _take(self) -> list[_Job]:
    """The next batch; empty when the batcher is closed and all are answered."""
    with self._changed:
      while not self._jobs:
        if self._closed:
          return []
        self._changed.wait()
      batch = [self._pop()]
      rows = batch[0].rows
      until = time.monotonic() + self._options.timeout_ms / 1000
      while rows < self._options.max_batch_size:
        if not self._jobs:
          left = until - time.monotonic()
          if left <= 0 or self._closed or not self._changed.wait(left):
            break
          continue
        job = self._jobs[0]
        if job.signature != batch[0].signature:
          break
        if rows + job.rows > self._options.max_batch_size:
          break
        batch.append(self._pop())
        rows += job.rows
      return batch

  def _pop(self) -> _Job:
    job = self._jobs.popleft()
    self._waiting_rows -= job.rows
    return job

  def _answer(self, jobs: Sequence[_Job]) -> None:
    try:
      outputs = self._run(jobs)
    except Exception as error:
      if len(jobs) == 1:
        jobs[0].future.set_exception(error)
        return
      # One bad request must not spoil the others' answers.
      for job in jobs:
        self._answer([job])
      return
    start = 0
    for job in jobs:
      stop = start + job.rows
      job.future.set_result({name: value[start:stop] for name, value in outputs.items()})
      start = stop

  def _run(self, jobs: Sequence[_Job]) -> dict[str, np.ndarray]:
    signature = jobs[0].signature
    rows = sum(job.rows for job in jobs)
    inputs = {name: _stacked([job.inputs[name] for job in jobs]) for name in jobs[0].inputs}
    outputs = self.servable.run(signature, inputs)
    self._observe(signature, rows)
    for name, value in outputs.items():
      if value.ndim == 0 or value.shape[0] != rows:
        raise RequestError(
          f"the output {name} has no row for every input; only such signatures are served",
          "INTERNAL",
        )
    return outputs


def _stacked(values: Sequence[np.ndarray]) -> np.ndarray:
  """Rows of several requests, padded to the longest."""
  if len(values) == 1:
    return values[0]
  widths = [max(sizes) for sizes in zip(*(value.shape[1:] for value in values), strict=True)]
  padded = [
    np.pad(value, [(0, 0), *((0, w - n) for w, n in zip(widths, value.shape[1:], strict=True))])
    if list(value.shape[1:]) != widths
    else value
    for value in values
  ]
  return np.concatenate(padded)
