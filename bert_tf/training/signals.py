"""SIGINT and SIGTERM, answered between two steps."""

from __future__ import annotations

import signal
import threading


class Signals:
  """Remembers SIGINT and SIGTERM, so that the loop can save and stop between two steps."""

  def __init__(self):
    self.received: int | None = None

  def _receive(self, number: int, frame) -> None:
    if self.received == signal.SIGINT and number == signal.SIGINT:
      raise KeyboardInterrupt  # The second Ctrl-C means it.
    self.received = number

  def __enter__(self) -> Signals:
    self._previous = {}
    if threading.current_thread() is not threading.main_thread():
      return self  # Python gives signals to the main thread, and lets no other ask for them.
    self._previous = {
      number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
    }
    return self

  def __exit__(self, *unused) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
