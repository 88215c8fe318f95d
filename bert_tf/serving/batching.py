"""Requests that come at the same time are answered in one run of the model.

A queue per version; threads take the oldest request and what waits with it for the same signature
and is about as long, up to a largest batch, and wait for more for a few milliseconds at most. A
batch takes as much time as if all in it were as long as its longest, so short texts do not run
with long ones. Ids of different lengths are padded with 0.
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


# Texts of so many bytes are alike, whatever the ratio.
_ALIKE = 32


@dataclasses.dataclass
class _Job:
  signature: str
  inputs: Arrays
  rows: int
  size: int
  future: concurrent.futures.Future

  def runs_with(self, other: _Job) -> bool:
    """Whether the two may share a batch."""
    shorter, longer = sorted((self.size, other.size))
    return self.signature == other.signature and longer <= 2 * shorter + _ALIKE


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
    job = _Job(signature, inputs, rows, _longest_row(inputs), concurrent.futures.Future())
    with self._changed:
      if self._closed:
        raise RequestError("this version is being unloaded; try again", "UNAVAILABLE")
      if self._waiting_rows and self._waiting_rows + rows > self._options.max_queue:
        raise RequestError("the server is busy: its queue is full; try again", "UNAVAILABLE")
      self._jobs.append(job)
      self._waiting_rows += rows
      self._changed.notify_all()  # One of them may be waiting for company of another kind.
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
      first = self._jobs.popleft()
      until = time.monotonic() + self._options.timeout_ms / 1000
      while True:
        batch = self._company_of(first)
        if sum(job.rows for job in batch) >= self._options.max_batch_size or self._closed:
          break
        left = until - time.monotonic()
        if left <= 0 or not self._changed.wait(left):
          batch = self._company_of(first)
          break
      taken = set(map(id, batch))
      self._jobs = collections.deque(job for job in self._jobs if id(job) not in taken)
      self._waiting_rows -= sum(job.rows for job in batch)
      return batch

  def _company_of(self, first: _Job) -> list[_Job]:
    """`first` and, in order, those in the queue that fit into a batch with it."""
    batch, rows = [first], first.rows
    for job in self._jobs:
      if job.runs_with(first) and rows + job.rows <= self._options.max_batch_size:
        batch.append(job)
        rows += job.rows
    return batch

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


def _longest_row(inputs: Arrays) -> int:
  """Bytes of the longest text, or numbers in a row: how much work a row is."""
  sizes = [0]
  for value in inputs.values():
    if value.dtype == object:
      sizes += map(len, value.flat)
    elif value.size:
      sizes.append(value.size // len(value))
  return max(sizes)


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
