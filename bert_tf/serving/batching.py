"""Requests that come at the same time are answered in one run of the model.

A queue per version; threads take the oldest request and what waits with it for the same signature
and is about as long, up to a largest batch. Where nothing else waits they give more of the kind a
few milliseconds to come. A batch takes as much time as if all in it were as long as its longest,
so short texts do not run with long ones. Ids of different lengths are padded with 0 where no output
tells; where outputs are as wide as the longest of a batch, each request gets what it would get
alone. A run ends when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from bert_tf.serving.errors import RequestError
from bert_tf.serving.servable import Company, Servable

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
    max_pieces: most word pieces of the texts of a request; they are counted before anything else.
    max_windows: most windows of the contexts of a request, likewise.
    request_seconds: how long a request may take where it does not say itself.
  """

  max_batch_size: int = 32
  timeout_ms: float = 2.0
  max_queue: int = 1024
  max_rows: int = 256
  num_threads: int = 2
  max_pieces: int = 1 << 16
  max_windows: int = 256
  request_seconds: float = 60.0


# Rows are alike whose sizes in bytes or ids differ by half, and a few words. Exports that keep to
# their texts' lengths lose little by it: they leave padding out of all but the attention.
_ALIKE_RATIO, _ALIKE_BYTES = 1.5, 16


@dataclasses.dataclass
class _Job:
  """A request. Its future is of the event loop that asks, or, without one, of a thread."""

  signature: str
  inputs: Arrays
  rows: int
  future: asyncio.Future | concurrent.futures.Future
  until: float
  company: Company = Company.ANY
  loop: asyncio.AbstractEventLoop | None = None

  def __post_init__(self) -> None:
    self.size = _longest_row(self.inputs)

  def runs_with(self, other: _Job) -> bool:
    """Whether the two may share a batch."""
    shorter, longer = sorted((self.size, other.size))
    if self.signature != other.signature or longer > _ALIKE_RATIO * shorter + _ALIKE_BYTES:
      return False
    if self.shapes == other.shapes:
      return self.company is not Company.ALONE
    return self.company is Company.ANY and self.can_be_padded and other.can_be_padded

  @property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """The shape of a row of every input."""
    return {name: value.shape[1:] for name, value in self.inputs.items()}

  @property
  def can_be_padded(self) -> bool:
    """Whether more padding changes no answer.

    The rows of all inputs must be of one shape: padding would hide that they are not. And each must
    show a token: where the mask hides all of them, the attention falls on padding as well.
    """
    mask = self.inputs.get("input_mask")
    if mask is not None and mask.ndim == 2 and not (mask > 0).any(axis=1).all():
      return False
    return len(set(self.shapes.values())) < 2


class _Batch:
  """Jobs that are to run together."""

  def __init__(self, first: _Job, most_rows: int, lock: threading.Lock):
    self.jobs = [first]
    self.rows = first.rows
    self.full = threading.Condition(lock)
    self._most_rows = most_rows

  @property
  def is_full(self) -> bool:
    return self.rows >= self._most_rows

  def add(self, job: _Job) -> bool:
    """Takes a job that fits; returns whether it did."""
    if self.rows + job.rows > self._most_rows or not job.runs_with(self.jobs[0]):
      return False
    self.jobs.append(job)
    self.rows += job.rows
    if self.is_full:
      self.full.notify()
    return True


class Batcher:
  """Runs a servable for many callers."""

  def __init__(
    self,
    servable: Servable,
    options: BatchingOptions,
    observe: Callable[[str, Arrays], None] = lambda signature, outputs: None,
  ):
    """Starts the threads; `observe` is told of every run its signature and outputs."""
    self.servable = servable
    self._options = options
    self._observe = observe
    self._lock = threading.Lock()
    self._arrived = threading.Condition(self._lock)
    self._jobs: collections.deque[_Job] = collections.deque()
    # Those that wait for more jobs. What fits into one goes there and wakes nobody.
    self._open: list[_Batch] = []
    self._waiting_rows = 0
    self._closed = False
    # When each thread's run began that is in one.
    self._running: dict[str, float] = {}
    self._threads = [
      threading.Thread(target=self._work, name=f"batcher-{i}", daemon=True)
      for i in range(options.num_threads)
    ]
    for thread in self._threads:
      thread.start()

  @property
  def waiting_rows(self) -> int:
    """Rows that wait for their run."""
    return self._waiting_rows

  @property
  def stalled_seconds(self) -> float:
    """How long all threads have been in one and the same run each; 0 while one is free."""
    began = list(self._running.values())
    return time.monotonic() - max(began) if len(began) == len(self._threads) else 0.0

  def submit(self, signature: str, inputs: Arrays) -> concurrent.futures.Future:
    """Queues a request; the future gets its outputs or a RequestError.

    Raises:
      RequestError: the inputs do not fit the signature, are too long, or the queue is full.
    """
    future: concurrent.futures.Future = concurrent.futures.Future()
    job = self._job(signature, inputs, future, self._options.request_seconds)
    if self._may_be_long(job):
      self._refuse_long(job)
    self._put(job)
    return future

  async def ask(
    self, signature: str, inputs: Arrays, seconds: float | None = None
  ) -> dict[str, np.ndarray]:
    """Queues a request of an event loop and returns its outputs; errors as of `submit`.

    Args:
      signature: its name.
      inputs: rows.
      seconds: how long the answer is waited for; default: that of the options.
    """
    loop = asyncio.get_running_loop()
    seconds = self._options.request_seconds if seconds is None else seconds
    future = loop.create_future()
    job = self._job(signature, inputs, future, seconds)
    job.loop = loop
    if self._may_be_long(job):
      await asyncio.to_thread(self._refuse_long, job)
    self._put(job)
    return await future

  def _job(self, signature: str, inputs: Arrays, future, seconds: float) -> _Job:
    rows = self.servable.check(signature, inputs)
    if rows > self._options.max_rows:
      raise RequestError(f"expected at most {self._options.max_rows} rows, found {rows}")
    company = self.servable.company(signature)
    return _Job(signature, inputs, rows, future, time.monotonic() + seconds, company)

  def _may_be_long(self, job: _Job) -> bool:
    options = self._options
    return self.servable.may_be_long(job.inputs, options.max_pieces, options.max_windows)

  def _refuse_long(self, job: _Job) -> None:
    options = self._options
    left = job.until - time.monotonic()
    self.servable.refuse_long(job.inputs, options.max_pieces, options.max_windows, left)

  def _put(self, job: _Job) -> None:
    with self._lock:
      if self._closed:
        raise RequestError("this version is being unloaded; try again", "UNAVAILABLE")
      if self._waiting_rows and self._waiting_rows + job.rows > self._options.max_queue:
        raise RequestError("the server is busy: its queue is full; try again", "UNAVAILABLE")
      self._waiting_rows += job.rows
      if not any(batch.add(job) for batch in self._open):
        self._jobs.append(job)
        self._arrived.notify()

  def close(self, seconds: float | None = None) -> bool:
    """Answers what waits, then frees the model.

    Args:
      seconds: what is not answered by then is refused; None: there is no such limit.

    Returns:
      Whether the threads have ended; one that has not is in a run of the model.
    """
    with self._lock:
      self._closed = True
      self._arrived.notify_all()
      for batch in self._open:
        batch.full.notify()
    until = None if seconds is None else time.monotonic() + seconds
    for thread in self._threads:
      thread.join(None if until is None else max(0.0, until - time.monotonic()))
    ended = not any(thread.is_alive() for thread in self._threads)
    if ended:
      self.servable.close()
    else:
      self._refuse_all()
    return ended

  def _refuse_all(self) -> None:
    with self._lock:
      jobs = list(self._jobs)
      self._jobs.clear()
    error = RequestError("the server is being stopped; ask another", "UNAVAILABLE")
    _settle((job, error) for job in jobs)

  def _work(self) -> None:
    while jobs := self._take():
      now = time.monotonic()
      late = RequestError("the request waited too long for its run", "DEADLINE_EXCEEDED")
      jobs = [job for job in jobs if _is_wanted(job)]
      _settle((job, late) for job in jobs if job.until <= now)
      jobs = [job for job in jobs if job.until > now]
      if jobs:
        name = threading.current_thread().name
        self._running[name] = time.monotonic()
        try:
          _settle(self._answers(jobs))
        finally:
          self._running.pop(name)

  def _take(self) -> list[_Job]:
    """The next batch; empty when the batcher is closed and all are answered."""
    with self._lock:
      while not self._jobs:
        if self._closed:
          return []
        self._arrived.wait()
      batch = _Batch(self._jobs.popleft(), self._options.max_batch_size, self._lock)
      self._jobs = collections.deque(job for job in self._jobs if not batch.add(job))
      # While others wait there is no time to lose.
      if not batch.is_full and not self._jobs and not self._closed:
        self._open.append(batch)
        batch.full.wait(self._options.timeout_ms / 1000)
        self._open.remove(batch)
      self._waiting_rows -= batch.rows
      return batch.jobs

  def _answers(self, jobs: Sequence[_Job]) -> list[tuple[_Job, Arrays | Exception]]:
    """Every job with its outputs, or with what is wrong with it."""
    try:
      outputs = self._run(jobs)
    except Exception as error:
      if len(jobs) == 1 or getattr(error, "code", "") == "DEADLINE_EXCEEDED":
        return [(job, error) for job in jobs]
      # One bad request must not spoil the others' answers.
      return [answer for job in jobs for answer in self._answers([job])]
    answers: list[tuple[_Job, Arrays | Exception]] = []
    start = 0
    for job in jobs:
      stop = start + job.rows
      mine = {name: value[start:stop] for name, value in outputs.items()}
      answers.append((job, self.servable.cut(job.signature, mine) if len(jobs) > 1 else mine))
      start = stop
    return answers

  def _run(self, jobs: Sequence[_Job]) -> dict[str, np.ndarray]:
    signature = jobs[0].signature
    rows = sum(job.rows for job in jobs)
    inputs = {name: _stacked([job.inputs[name] for job in jobs]) for name in jobs[0].inputs}
    seconds = max(job.until for job in jobs) - time.monotonic()
    outputs = self.servable.run(signature, inputs, seconds)
    for name, value in outputs.items():
      if value.ndim == 0 or value.shape[0] != rows:
        raise RequestError(
          f"the output {name} has no row for every input; only such signatures are served",
          "INTERNAL",
        )
    self._observe(signature, outputs)
    return outputs


def _is_wanted(job: _Job) -> bool:
  """Whether somebody still waits for the answer."""
  if isinstance(job.future, concurrent.futures.Future):
    return job.future.set_running_or_notify_cancel()
  return not job.future.cancelled()


def _settle(answers: Iterable[tuple[_Job, Arrays | Exception]]) -> None:
  """Hands answers to those who wait.

  Those of an event loop all at once: its thread holds the interpreter's lock, and to wake it for
  every answer is to wait for that lock every time.
  """
  by_loop = collections.defaultdict(list)
  for job, answer in answers:
    by_loop[job.loop].append((job.future, answer))
  for loop, settled in by_loop.items():
    if loop is None:
      _set(settled)
    else:
      with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits.
        loop.call_soon_threadsafe(_set, settled)


def _set(answers: Sequence[tuple[asyncio.Future | concurrent.futures.Future, object]]) -> None:
  for future, answer in answers:
    if future.done():  # Given up meanwhile.
      continue
    if isinstance(answer, Exception):
      future.set_exception(answer)
    else:
      future.set_result(answer)


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
