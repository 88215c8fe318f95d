"""Profiles of a range of steps."""

from __future__ import annotations

import os

import tensorflow as tf
from absl import logging

from bert_tf.training.options import TrainingOptions


class Profiler:
  """Profiles a range of steps for TensorBoard."""

  def __init__(self, options: TrainingOptions | None):
    """Args: None for no profile."""
    self._range = options.profile_steps if options else None
    self._directory = options.output_dir if options else ""
    self._runs = False

  def stops(self, step: int) -> list[int]:
    """The steps from `step` on that a loop must not go past."""
    first, last = self._range or (0, 0)
    return [stop for stop in (first - 1, last) if stop > step]

  def before(self, step: int) -> None:
    """Starts the profile where it is time to; `step` is the last one done."""
    if self._range and step == self._range[0] - 1:
      tf.profiler.experimental.start(self._directory)
      self._runs = True

  def after(self, step: int) -> None:
    """Ends the profile where it is time to."""
    if self._runs and self._range and step >= self._range[1]:
      self.stop()
      logging.info(
        "Profile of steps %d to %d: %s", *self._range, os.path.join(self._directory, "plugins")
      )

  def stop(self) -> None:
    """Ends the profile, whatever the step."""
    if self._runs:
      tf.profiler.experimental.stop()
    self._runs = False
