"""Runs a script's main function; a UserError becomes one line on stderr and exit code 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app

from bert_tf.errors import UserError

# Of paths in buckets. The vocabulary alone may lie in one.
_BUCKETS = ("gs://", "s3://", "hdfs://")
_HELP_FLAGS = frozenset({"help", "helpfull", "helpshort", "helpxml", "?"})


class Stopped(Exception):
  """A signal ended the work early, after everything was saved; the message says how to go on."""

  def __init__(self, signal_number: int, message: str):
    super().__init__(message)
    self.exit_code = 128 + signal_number


def run(main: Callable[[], None]) -> NoReturn:
  """Parses absl flags and calls `main()`.

  Exit codes: 0 success, 1 wrong flags or a UserError, 128 + the number of the
  signal that ended it early.
  """
  quiet_tensorflow()
  try:
    app.run(lambda unused_argv: call(lambda: _checked(main)))
  except SystemExit as end:
    # absl answers a call for help with exit code 1, as if it had been a mistake.
    asked = any(word.lstrip("-") in _HELP_FLAGS for word in sys.argv[1:] if word.startswith("-"))
    sys.exit(0 if asked and end.code == 1 else end.code)


def _checked(main: Callable[[], None]) -> None:
  _refuse_buckets(sys.argv[1:])
  main()


def _refuse_buckets(arguments: list[str]) -> None:
  """Raises UserError for a path in a bucket, which would become a local directory "gs:"."""
  flag = ""
  for word in arguments:
    value = word
    if word.startswith("-"):
      flag, _, value = word.lstrip("-").partition("=")
    for path in value.split(","):
      if path.startswith(_BUCKETS) and flag != "vocab_file":
        raise UserError(
          f"--{flag}: expected a local path, found {path!r}; mount the bucket as a directory"
          " (gcsfuse does this for gs://) and give the path in there, or copy the files"
        )


def quiet_tensorflow() -> None:
  """Hides TensorFlow's start-up notes; call it before TensorFlow is imported.

  Without an NVIDIA driver its errors are hidden too: all it has to say is that there is none.
  """
  level = "2" if os.path.exists("/dev/nvidiactl") else "3"
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", level)


def call(main: Callable[[], None]) -> None:
  """Calls `main()` and turns a UserError or Ctrl-C into a message and an exit code."""
  try:
    main()
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
  except Stopped as stopped:
    print(f"stopped: {stopped}", file=sys.stderr)
    sys.exit(stopped.exit_code)
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)
