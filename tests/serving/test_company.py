"""A request gets the same answer alone and beside others, to the width of its outputs."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="needs the extra serving")

from bert_tf.serving.batching import Batcher, BatchingOptions
from bert_tf.serving.servable import Company, Servable

TEXTS = (
  "the old house",
  "a river and the house of the old man is new and old",
  "[MASK] is [MASK].",
  "",
)


def ids(*rows: list[int], masks=None) -> dict[str, np.ndarray]:
  array = np.array(rows, np.int32)
  mask = np.ones_like(array) if masks is None else np.array(masks, np.int32)
  return {"input_ids": array, "input_mask": mask, "segment_ids": np.zeros_like(array)}


def examples(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  from bert_tf.export import python_pipeline

  return {"examples": python_pipeline.examples(inputs)}


def text(name: str = "text", **more: str):
  others = {key: np.array([value.encode()], object) for key, value in more.items()}
  return [{name: np.array([one.encode()], object), **others} for one in TEXTS]


IDS = [
  ids([2, 7, 8, 3]),
  ids([2, 9, 3]),
  ids([2, *range(10, 30), 3]),
  ids([2, 7, 3], masks=[[0] * 3]),
]
MASKED = [
  {**part, "masked_lm_positions": np.array([places], np.int32)}
  for part, places in zip(IDS, ([1], [1, 2], [3], [0]), strict=True)
]


@pytest.mark.parametrize(
  ("kind", "signature", "requests", "company"),
  [
    ("tokens", "serving_default", text(), Company.CUT),
    ("tokens", "tensors", IDS, Company.SAME),
    ("tokens", "examples", [examples(part) for part in IDS[:3]], Company.ALONE),
    ("tokens", "tokenize", text(text_pair="b"), Company.CUT),
    ("questions", "tensors", IDS, Company.SAME),
    ("questions", "serving_default", text("question", context=TEXTS[1]), Company.ANY),
    ("pretraining", "fill_mask", text(), Company.CUT),
    ("pretraining", "tensors", MASKED, Company.SAME),
    ("encoder", "token_vectors", text(text_pair=""), Company.CUT),
    ("encoder", "tensors", IDS, Company.ANY),
    ("classifier", "tensors", IDS, Company.ANY),
    ("classifier", "classify", None, Company.ANY),
  ],
)
def test_answers_do_not_depend_on_the_company(
  exports, servables, kind, signature, requests, company
):
  servable = servables(kind)
  assert servable.company(signature) is company
  if requests is None:
    return
  alone = [servable.run(signature, request) for request in requests]
  gate, run = threading.Event(), servable.run
  batcher = Batcher(servable, BatchingOptions(num_threads=1, timeout_ms=50))
  try:
    servable.run = lambda *args: gate.wait(20) and run(*args)
    futures = [batcher.submit(signature, request) for request in requests for _ in range(2)]
    gate.set()
    together = [future.result(60) for future in futures]
  finally:
    servable.run = run
    batcher._closed = True
    with batcher._lock:
      batcher._arrived.notify_all()
  for expected, found in zip((a for a in alone for _ in range(2)), together, strict=True):
    for name, value in expected.items():
      assert found[name].shape == value.shape, name
      if value.dtype == object:
        np.testing.assert_array_equal(found[name], value, name)
      else:
        np.testing.assert_allclose(found[name], value, atol=2e-5, err_msg=name)


@pytest.fixture(scope="module")
def servables(exports):
  """Loads an export by its kind, each once."""
  loaded: dict[str, Servable] = {}

  def load(kind: str) -> Servable:
    if kind not in loaded:
      loaded[kind] = Servable(str(exports[kind]), 1)
    return loaded[kind]

  yield load
  for servable in loaded.values():
    servable.close()
