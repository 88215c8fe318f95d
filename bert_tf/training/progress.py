"""Shows how a run goes: a bar on a terminal, lines elsewhere, metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping

import tensorflow as tf
import tqdm
from absl import logging

from bert_tf import progress_bars
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.training.memory import memory_metrics
from bert_tf.training.step import COUNTS

METRICS_FILE = "metrics.jsonl"


class Heartbeat:
  """What all workers but the chief report: a line now and then, and nothing in the directory."""

  def __init__(self, worker: int, first_step: int, num_train_steps: int, log_steps: int):
    """Args: `worker`, the number of this one; `log_steps`, between two lines."""
    self._worker = worker
    self._num_train_steps = num_train_steps
    self._log_steps = log_steps
    self._last_logged = first_step

  def update(self, step: int, metrics: Mapping[str, float], is_last: bool = False) -> None:
    """As `Progress.update`; the metrics are those of the chief."""
    if is_last or step >= self._num_train_steps or step - self._last_logged >= self._log_steps:
      logging.info("worker %d: step %d of %d", self._worker, step, self._num_train_steps)
      self._last_logged = step

  def write(self, kind: str, step: int, record: Mapping[str, float]) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


class Progress:
  """Reports the metrics of every loop of steps."""

  def __init__(
    self,
    directory: str,
    first_step: int,
    num_train_steps: int,
    log_steps: int,
    wandb_project: str | None = None,
    total_training_time: float = 0.0,
    elapsed_seconds: float = 0.0,
  ):
    """Args: steps and seconds as counted over all starts of the run; `log_steps`, between two
    records.
    """
    path = os.path.join(directory, METRICS_FILE)
    _forget_after(path, first_step)
    self._jsonl = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close())
    self._writer = tf.summary.create_file_writer(directory)
    self._wandb = _start_wandb(wandb_project, directory) if wandb_project else None
    self._num_train_steps = num_train_steps
    self._time_limit = total_training_time
    self._began = time.perf_counter() - elapsed_seconds
    self._log_steps = log_steps
    self._last_logged = self._step = first_step
    self._pending: list[Mapping[str, float]] = []
    self._start = time.perf_counter()
    self._is_watched = progress_bars.is_watched()
    self._bar = progress_bars.bar(
      total=num_train_steps,
      initial=first_step,
      unit="step",
      dynamic_ncols=True,
    )

  def update(self, step: int, metrics: Mapping[str, float], is_last: bool = False) -> None:
    """Takes the metrics of a loop (see `TrainStep.run`) that ended at `step`.

    Args: `is_last`, whether the run ends here, whatever the number of the step.
    """
    self._pending.append(metrics)
    self._bar.update(step - self._step)
    self._step = step
    seconds = time.perf_counter() - self._start
    record = _merge(self._pending)
    record |= {
      "examples_per_second": record.pop("examples") / seconds,
      "tokens_per_second": record["tokens"] / seconds,
      "padding_ratio": 1 - record.pop("tokens") / record.pop("positions"),
    }
    skipped = step - self._last_logged - record.pop("updates")
    if skipped:
      record["skipped_steps"] = skipped
    self._bar.set_postfix_str(_short(record), refresh=False)
    is_last = is_last or step >= self._num_train_steps
    if is_last or step - self._last_logged >= self._log_steps:
      self._record(step, record, seconds)

  def _record(self, step: int, record: dict[str, float], seconds: float) -> None:
    record |= memory_metrics()
    self.write("train", step, record)
    if not self._is_watched:
      left = (self._num_train_steps - step) * seconds / (step - self._last_logged)
      if self._time_limit:
        left = min(left, max(0.0, self._began + self._time_limit - time.perf_counter()))
      logging.info(
        "step %d of %d, %s, %s left",
        step,
        self._num_train_steps,
        _short(record),
        tqdm.tqdm.format_interval(left),
      )
    self._pending.clear()
    self._last_logged = step
    self._start = time.perf_counter()

  def write(self, kind: str, step: int, record: Mapping[str, float]) -> None:
    """Appends a line to metrics.jsonl and scalars to TensorBoard, under `kind`/name."""
    line = {"kind": kind, "step": step, "time": round(time.time(), 3), **record}
    # JSON knows no NaN.
    line = {
      name: None if isinstance(value, float) and not math.isfinite(value) else value
      for name, value in line.items()
    }
    self._jsonl.write(json.dumps(line) + "\n")
    self._jsonl.flush()
    with self._writer.as_default(step):
      for name, value in record.items():
        tf.summary.scalar(f"{kind}/{name}", value)
    if self._wandb:
      self._wandb.log({f"{kind}/{name}": value for name, value in record.items()}, step=step)

  def close(self) -> None:
    """Ends the bar and closes the files."""
    self._bar.close()
    self._jsonl.close()
    self._writer.close()
    if self._wandb:
      self._wandb.finish()


def _short(record: Mapping[str, float]) -> str:
  return (
    f"loss {record['loss']:.4f}, learning rate {record['learning_rate']:.3g},"
    f" {record['examples_per_second']:.1f} examples/s, {record['tokens_per_second']:.0f} tokens/s"
  )


def _merge(loops: list[Mapping[str, float]]) -> dict[str, float]:
  """Joins the metrics of several loops: sums of counts, means of losses, the last of the rest."""
  updates = sum(metrics["updates"] for metrics in loops)
  merged = {k: v for k, v in loops[-1].items() if k not in ("halted", "last_loss")}
  for name in merged:
    if name in COUNTS:
      merged[name] = sum(metrics[name] for metrics in loops)
    elif name.endswith("loss"):
      total = sum(metrics["updates"] * metrics[name] for metrics in loops)
      merged[name] = total / updates if updates else float("nan")
  return merged


def _forget_after(path: str, step: int) -> None:
  """Removes the lines of later steps, which a killed run had done and will do again."""
  if not os.path.exists(path):
    return
  kept = []
  with open(path, encoding="utf-8", errors="replace") as file:
    for line in file:
      try:
        if json.loads(line)["step"] <= step and line.endswith("\n"):
          kept.append(line)
      except (ValueError, KeyError, TypeError):
        logging.warning("%s: leaving out a line that was not written to its end", path)
  with atomic_writer(path) as file:
    file.writelines(kept)


def _start_wandb(project: str, directory: str):
  try:
    import wandb
  except ImportError as error:
    raise UserError(
      f"`wandb_project`: expected the package wandb, found: {error}; pip install bert_tf[wandb]"
    ) from error
  name = os.path.basename(os.path.abspath(directory))
  # The same id for every start, so that a resumed run goes on in the same chart.
  return wandb.init(project=project, dir=directory, name=name, id=name, resume="allow")
