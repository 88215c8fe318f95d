"""Counters of the server, in the format of Prometheus."""

from __future__ import annotations

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
  """Requests, latencies, batch sizes and the queue of one server."""

  CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST

  def __init__(self):
    self._registry = CollectorRegistry()
    self._requests = Counter(
      "bert_tf_requests", "Requests by interface, method and status.", ["api", "method", "code"],
      registry=self._registry,
    )  # fmt: skip
    self._seconds = Histogram(
      "bert_tf_request_seconds", "Seconds from request to answer.", ["api"], registry=self._registry
    )
    self._rows = Histogram(
      "bert_tf_batch_rows", "Rows in a run of the model.", ["signature"],
      buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256), registry=self._registry,
    )  # fmt: skip
    self._waiting = Gauge(
      "bert_tf_waiting_rows", "Rows that wait in the queue.", registry=self._registry
    )

  def count(self, api: str, method: str, code: str, seconds: float) -> None:
    """Counts a request."""
    self._requests.labels(api, method, code).inc()
    self._seconds.labels(api).observe(seconds)

  def batch(self, signature: str, rows: int) -> None:
    """Counts a run of the model."""
    self._rows.labels(signature).observe(rows)

  def set_waiting(self, rows: int) -> None:
    """Notes the length of the queue."""
    self._waiting.set(rows)

  def text(self) -> bytes:
    """All metrics."""
    return prometheus_client.generate_latest(self._registry)
