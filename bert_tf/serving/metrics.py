"""Counters of the server, in the format of Prometheus."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Mapping

import numpy as np
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
  """Requests, latencies, batch sizes, queues, answers and connections of one server."""

  CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

  def __init__(self, max_queue: int = 0):
    """Args: `max_queue`, the most rows that wait for a model, to compare the queue with."""
    self._registry = CollectorRegistry()
    self._requests = Counter(
      "bert_tf_requests", "Requests by interface, method and status; 499: the client hung up.",
      ["api", "method", "code"], registry=self._registry,
    )  # fmt: skip
    self._seconds = Histogram(
      "bert_tf_request_seconds", "Seconds from request to answer.", ["api"],
      buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
      registry=self._registry,
    )  # fmt: skip
    self._rows = Histogram(
      "bert_tf_batch_rows", "Rows in a run of a model.", ["model", "signature"],
      buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self._registry,
    )  # fmt: skip
    self._waiting = self._gauge("bert_tf_waiting_rows", "Rows that wait for a run.", ["model"])
    self._gauge("bert_tf_max_waiting_rows", "Most rows that may wait for a model.").set(max_queue)
    self._labels = Counter(
      "bert_tf_labels", "Rows by the label that a classifier gave them.", ["model", "label"],
      registry=self._registry,
    )  # fmt: skip
    self._texts = Counter(
      "bert_tf_texts", "Rows of text whose answer says whether some of it was cut off.", ["model"],
      registry=self._registry,
    )  # fmt: skip
    self._truncated = Counter(
      "bert_tf_truncated_texts", "Those of which some was cut off.", ["model"],
      registry=self._registry,
    )  # fmt: skip
    self._connections = self._gauge("bert_tf_connections", "Open HTTP connections.")
    self._dropped = Counter(
      "bert_tf_dropped_connections", "HTTP connections that the server closed, by reason.",
      ["reason"], registry=self._registry,
    )  # fmt: skip

  def _gauge(self, name: str, what: str, labels: tuple[str, ...] | list[str] = ()) -> Gauge:
    return Gauge(name, what, labels, registry=self._registry)

  def count(self, api: str, method: str, code: str, seconds: float) -> None:
    """Counts a request."""
    self._requests.labels(api, method, code).inc()
    self._seconds.labels(api).observe(seconds)

  def observer(self, model: str) -> Callable[[str, Mapping[str, np.ndarray]], None]:
    """A function that is told of every run of a model: its signature and outputs."""

    def observe(signature: str, outputs: Mapping[str, np.ndarray]) -> None:
      rows = len(next(iter(outputs.values())))
      self._rows.labels(model, signature).observe(rows)
      if "label" in outputs and outputs["label"].dtype == object:
        for label, count in Tally(outputs["label"].tolist()).items():
          self._labels.labels(model, label.decode("utf-8", "replace")).inc(count)
      if "truncated" in outputs:
        cut = outputs["truncated"].astype(bool).reshape(rows, -1).any(axis=1).sum()
        self._texts.labels(model).inc(rows)
        self._truncated.labels(model).inc(int(cut))

    return observe

  def set_waiting(self, rows: Mapping[str, int]) -> None:
    """Notes the lengths of the queues, by model."""
    for model, count in rows.items():
      self._waiting.labels(model).set(count)

  def set_connections(self, count: int) -> None:
    """Notes how many connections are open."""
    self._connections.set(count)

  def dropped(self, reason: str) -> None:
    """Counts a connection that the server closed."""
    self._dropped.labels(reason).inc()

  def text(self) -> bytes:
    """All metrics."""
    return prometheus_client.generate_latest(self._registry)
