from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from bert_tf.serving.batching import Batcher, BatchingOptions
from bert_tf.serving.errors import RequestError
from bert_tf.serving.servable import Company


class Doubler:
  """A servable without a model: counts its runs and can be held up."""

  version = 1

  def __init__(self, company=Company.ANY):
    self._company = company
    self.sizes = []
    self.gate = threading.Event()
    self.gate.set()
    self.closed = False

  def check(self, name, inputs):
    return len(inputs["x"])

  def company(self, name):
    return self._company

  def may_be_long(self, inputs, max_pieces, max_windows):
    return False

  def cut(self, name, outputs):
    return outputs

  def run(self, name, inputs, seconds):
    self.seconds = seconds
    self.gate.wait(20)
    if (inputs["x"] < 0).any():
      raise RequestError("negative")
    self.sizes.append(inputs["x"].shape)
    return {"y": inputs["x"] * 2}

  def close(self):
    self.closed = True


def rows(*values):
  return {"x": np.array(values)}


@pytest.fixture
def doubler():
  return Doubler()


def batcher(doubler, **options):
  return Batcher(doubler, BatchingOptions(**{"num_threads": 1, "timeout_ms": 20, **options}))


def test_what_waits_is_answered_together_and_apart(doubler):
  doubler.gate.clear()
  batch = batcher(doubler, max_batch_size=4)
  futures = [batch.submit("s", rows([i])) for i in range(9)]
  doubler.gate.set()
  assert [future.result(20)["y"].tolist() for future in futures] == [[[2 * i]] for i in range(9)]
  assert max(size[0] for size in doubler.sizes) == 4 and len(doubler.sizes) < 9
  batch.close()
  assert doubler.closed


def test_a_bad_request_spoils_no_other(doubler):
  doubler.gate.clear()
  batch = batcher(doubler)
  futures = [batch.submit("s", rows([value])) for value in (1, -1, 3)]
  doubler.gate.set()
  assert futures[0].result(20)["y"] == [[2]] and futures[2].result(20)["y"] == [[6]]
  with pytest.raises(RequestError, match="negative"):
    futures[1].result(20)
  batch.close()


def test_rows_of_different_lengths_are_padded(doubler):
  doubler.gate.clear()
  batch = batcher(doubler)
  first = batch.submit("s", rows([0]))  # Keeps the only thread busy.
  futures = [batch.submit("s", rows([1, 2, 3])), batch.submit("s", rows([4], [5]))]
  doubler.gate.set()
  first.result(20)
  assert futures[0].result(20)["y"].tolist() == [[2, 4, 6]]
  assert [row[0] for row in futures[1].result(20)["y"].tolist()] == [8, 10]
  batch.close()


def test_padding_hides_no_inputs_that_do_not_fit_each_other(doubler):
  doubler.gate.clear()
  batch = batcher(doubler)
  first = batch.submit("s", {**rows([0]), "mask": np.ones([1, 1], np.int32)})
  bad = batch.submit("s", {**rows([1, 2, 3]), "mask": np.ones([1, 2], np.int32)})
  good = batch.submit("s", {**rows([1, 2, 3]), "mask": np.ones([1, 3], np.int32)})
  doubler.gate.set()
  for future in (first, bad, good):
    future.result(20)
  assert (1, 3) in doubler.sizes, "the bad one was answered with another"
  batch.close()


def test_short_texts_do_not_run_with_long_ones(doubler):
  doubler.gate.clear()
  batch = batcher(doubler)
  first = batch.submit("s", rows([0]))  # Keeps the only thread busy.
  futures = [batch.submit("s", rows([1] * n)) for n in (3, 200, 4, 170)]
  doubler.gate.set()
  first.result(20)
  assert [future.result(20)["y"].sum() for future in futures] == [6, 400, 8, 340]
  assert sorted(doubler.sizes) in ([(1, 1), (2, 4), (2, 200)], [(2, 200), (3, 4)])
  batch.close()


def test_the_queue_is_bounded(doubler):
  doubler.gate.clear()
  batch = batcher(doubler, max_queue=2, max_batch_size=1)
  futures, refused = [], 0
  for i in range(8):
    try:
      futures.append(batch.submit("s", rows([i])))
    except RequestError as error:
      assert error.code == "UNAVAILABLE"
      refused += 1
  doubler.gate.set()
  assert refused >= 5 and all(future.result(20) for future in futures)
  with pytest.raises(RequestError, match="at most 256 rows"):
    batch.submit("s", {"x": np.zeros([257, 1])})
  batch.close()


def test_closing_answers_what_waits(doubler):
  doubler.gate.clear()
  batch = batcher(doubler)
  futures = [batch.submit("s", rows([i])) for i in range(3)]
  threading.Timer(0.2, doubler.gate.set).start()
  batch.close()
  assert all(future.done() for future in futures)
  with pytest.raises(RequestError, match="unloaded"):
    batch.submit("s", rows([1]))


def test_closing_waits_no_longer_than_told(doubler):
  doubler.gate.clear()
  batch = batcher(doubler, max_batch_size=1)
  running, waiting = (batch.submit("s", rows([i])) for i in range(2))
  while not running.running():
    time.sleep(0.01)
  assert not batch.close(0.1)
  with pytest.raises(RequestError, match="being stopped") as error:
    waiting.result(5)
  assert error.value.code == "UNAVAILABLE" and not doubler.closed
  doubler.gate.set()
  assert running.result(20)["y"] == [[0]]


def test_an_event_loop_gets_its_answers(doubler):
  """Also when some of those who asked have given up."""
  doubler.gate.clear()
  batch = batcher(doubler)

  async def ask_all():
    tasks = [asyncio.create_task(batch.ask("s", rows([value]))) for value in (1, -1, 3, 4)]
    await asyncio.sleep(0.2)
    tasks[2].cancel()
    doubler.gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)

  one, negative, cancelled, four = asyncio.run(ask_all())
  assert one["y"] == [[2]] and four["y"] == [[8]]
  assert isinstance(negative, RequestError) and isinstance(cancelled, asyncio.CancelledError)
  assert batch.close()


def held_up(batch, doubler):
  """A batcher whose only thread is in a run until the gate opens."""
  doubler.gate.clear()
  first = batch.submit("s", rows([0]))
  while not first.running():
    time.sleep(0.01)
  return first


@pytest.mark.parametrize(
  ("company", "sizes"),
  [
    (Company.ANY, [(1, 1), (3, 4)]),
    (Company.CUT, [(1, 1), (1, 4), (2, 3)]),
    (Company.SAME, [(1, 1), (1, 4), (2, 3)]),
    (Company.ALONE, [(1, 1), (1, 3), (1, 3), (1, 4)]),
  ],
)
def test_ids_are_padded_only_where_no_output_tells(company, sizes):
  doubler = Doubler(company)
  batch = batcher(doubler)
  first = held_up(batch, doubler)
  futures = [batch.submit("s", rows([1] * n)) for n in (3, 4, 3)]
  doubler.gate.set()
  for future in (first, *futures):
    future.result(20)
  assert sorted(doubler.sizes) == sizes
  batch.close()


def test_a_row_that_shows_no_token_is_not_padded(doubler):
  batch = batcher(doubler)
  first = held_up(batch, doubler)
  hidden, shown = (
    batch.submit("s", {**rows([1] * n), "input_mask": np.full([1, n], int(n > 3))}) for n in (3, 5)
  )
  doubler.gate.set()
  assert hidden.result(20)["y"].shape == (1, 3) and shown.result(20)["y"].shape == (1, 5)
  first.result(20)
  batch.close()


def test_a_run_has_the_time_that_its_requests_have_left(doubler):
  batch = batcher(doubler, request_seconds=5.0)
  batch.submit("s", rows([1])).result(20)
  assert 4 < doubler.seconds <= 5
  assert asyncio.run(batch.ask("s", rows([1]), 0.5))["y"] == [[2]]
  assert 0 < doubler.seconds <= 0.5
  batch.close()


def test_what_has_waited_too_long_is_not_run(doubler):
  batch = batcher(doubler, request_seconds=0.2)
  first = held_up(batch, doubler)
  late = batch.submit("s", rows([1]))
  time.sleep(0.3)
  doubler.gate.set()
  with pytest.raises(RequestError, match="waited too long") as raised:
    late.result(20)
  assert raised.value.code == "DEADLINE_EXCEEDED" and first.result(20)["y"] == [[0]]
  assert doubler.sizes == [(1, 1)]
  batch.close()


def test_a_batcher_whose_threads_are_all_held_up_is_stalled(doubler):
  batch = batcher(doubler)
  assert batch.stalled_seconds == 0
  first = held_up(batch, doubler)
  time.sleep(0.1)
  assert batch.stalled_seconds >= 0.1
  doubler.gate.set()
  first.result(20)
  while batch.stalled_seconds:
    time.sleep(0.01)
  batch.close()
