"""Shows how a run goes: a bar on a terminal, lines elsewhere, metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping

import tensorflow as tf
import tqdm
from absl import logging

METRICS_FILE = "metrics.jsonl"


class Progress:
  """Reports the metrics of every loop of steps."""

  def __init__(self, directory: str, first_step: int, num_train_steps: int, log_steps: int):
    """Args: steps as counted over all starts of the run; `log_steps`, between two records."""
    os.makedirs(directory, exist_ok=True)
    self._jsonl = open(  # noqa: SIM115 (closed by close())
      os.path.join(directory, METRICS_FILE), "a", encoding="utf-8"
    )
    self._writer = tf.summary.create_file_writer(directory)
    self._num_train_steps = num_train_steps
    self._log_steps = log_steps
    self._last_logged = self._step = first_step
    self._pending: list[tuple[int, Mapping[str, float]]] = []
    self._start = time.perf_counter()
    self._on_terminal = sys.stderr.isatty()
    self._bar = tqdm.tqdm(
      total=num_train_steps,
      initial=first_step,
      unit="step",
      disable=not self._on_terminal,
      dynamic_ncols=True,
    )

  def update(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics of a loop (see `TrainStep.run`) that ended at `step`."""
    self._pending.append((step - self._step, metrics))
    self._bar.set_postfix(
      loss=f"{metrics['loss']:.4f}", lr=f"{metrics['learning_rate']:.2e}", refresh=False
    )
    self._bar.update(step - self._step)
    self._step = step
    if step - self._last_logged >= self._log_steps or step >= self._num_train_steps:
      self._record(step)

  def _record(self, step: int) -> None:
    seconds = time.perf_counter() - self._start
    record = _merge(self._pending)
    record |= {
      "examples_per_second": record["examples"] / seconds,
      "tokens_per_second": record["tokens"] / seconds,
      "padding_ratio": 1 - record["tokens"] / record["positions"],
    }
    for name in ("examples", "tokens", "positions", "finite", "steps"):
      record.pop(name, None)
    self._bar.set_postfix(
      loss=f"{record['loss']:.4f}",
      lr=f"{record['learning_rate']:.2e}",
      ex_s=f"{record['examples_per_second']:.1f}",
    )
    self.write("train", step, record)
    if not self._on_terminal:
      steps_per_second = (step - self._last_logged) / seconds
      left = (self._num_train_steps - step) / steps_per_second
      logging.info(
        "step %d of %d, loss %.4f, learning rate %.3g, %.1f examples/s, %s left",
        step,
        self._num_train_steps,
        record["loss"],
        record["learning_rate"],
        record["examples_per_second"],
        tqdm.tqdm.format_interval(left),
      )
    self._pending.clear()
    self._last_logged = step
    self._start = time.perf_counter()

  def write(self, kind: str, step: int, record: Mapping[str, float]) -> None:
    """Appends a line to metrics.jsonl and scalars to TensorBoard, under `kind`/name."""
    line = {"kind": kind, "step": step, "time": round(time.time(), 3), **record}
    self._jsonl.write(json.dumps(line) + "\n")
    self._jsonl.flush()
    with self._writer.as_default(step):
      for name, value in record.items():
        tf.summary.scalar(f"{kind}/{name}", value)

  def close(self) -> None:
    """Ends the bar and closes the files."""
    self._bar.close()
    self._jsonl.close()
    self._writer.close()


def _merge(loops: list[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
  """Joins the metrics of several loops: sums of counts, means of losses, the last of the rest."""
  steps = sum(count for count, _ in loops)
  merged = dict(loops[-1][1])
  for name in merged:
    if name in ("examples", "tokens", "positions"):
      merged[name] = sum(metrics[name] for _, metrics in loops)
    elif name.endswith("loss"):
      merged[name] = sum(count * metrics[name] for count, metrics in loops) / steps
  return merged
