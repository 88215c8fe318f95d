"""Ends this process where a call that cannot be interrupted takes too long.

A call into TensorFlow that holds Python's lock stops every thread and every handler of a signal
that Python has, so the watch is kept by a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

# Ends with its standard input: this process closes it, or is gone.
_WATCH = """
import os, select, signal, sys
seconds, process, message = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if not select.select([sys.stdin], [], [], seconds)[0]:
  print(message, file=sys.stderr, flush=True)
  os.kill(process, signal.SIGKILL)
"""


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
  """Kills this process, with a message, where the block takes longer.

  Ctrl-C ends it at once in the block, whatever the block does.

  Args:
    seconds: that it may take.
    what: it waits for, as the message says.
  """
  message = f"error: waited {seconds:g} s for {what}; start all workers again"
  command = [sys.executable, "-S", "-E", "-c", _WATCH, str(seconds), str(os.getpid()), message]
  before = signal.getsignal(signal.SIGINT)
  with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as watch:
    try:
      _set_interrupt(signal.SIG_DFL)
      yield
    finally:
      _set_interrupt(before)
      if watch.stdin:
        watch.stdin.close()


def _set_interrupt(handler) -> None:
  with contextlib.suppress(ValueError):  # Not in the main thread.
    signal.signal(signal.SIGINT, handler)
