"""How many steps to run before the next look at the clock, and what the clock says."""

from __future__ import annotations

import time

# The loop looks at the clock, at signals and at the losses about this often, in seconds.
_LOOP_SECONDS = 2.0


class Pace:
  """Chooses how many steps to run in one go, from how long they have taken."""

  def __init__(self, steps_per_loop: int):
    self._most = steps_per_loop
    self.steps = 1

  def took(self, steps: int, seconds: float) -> None:
    """Learns from a loop."""
    if steps < self.steps:
      return  # Cut short: it says little.
    wanted = int(_LOOP_SECONDS * steps / max(seconds, 1e-9))
    # At most twice as many: the first loops also pay for tracing.
    self.steps = max(1, min(wanted, 2 * self.steps, self._most))


class Clock:
  """Counts the seconds of training over all starts of a run."""

  def __init__(self, elapsed_seconds: float, total_seconds: float):
    """Args: seconds of earlier starts; seconds that are granted, 0 for no limit."""
    self._start = time.monotonic() - elapsed_seconds
    self._total = total_seconds

  def elapsed(self) -> float:
    """Seconds so far."""
    return time.monotonic() - self._start

  def step(self, elapsed: float, num_train_steps: int) -> float:
    """The step that the schedule would be at by the clock; 0 where there is no limit."""
    return num_train_steps * min(1.0, elapsed / self._total) if self._total else 0.0

  def is_over(self, elapsed: float) -> bool:
    """Whether the time that was granted is used up."""
    return bool(self._total) and elapsed >= self._total
