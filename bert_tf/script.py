"""Runs a script's main function; a UserError becomes one line on stderr and exit code 1."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app

from bert_tf.errors import UserError


def run(main: Callable[[], None]) -> NoReturn:
  """Parses absl flags and calls `main()`.

  Exit codes: 0 success, 1 wrong flags or a UserError, 130 interrupted from the keyboard.
  """
  # TensorFlow prints start-up notes about missing GPU libraries that no CPU user can act on.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  app.run(lambda unused_argv: call(main))


def call(main: Callable[[], None]) -> None:
  """Calls `main()` and turns a UserError or Ctrl-C into a message and an exit code."""
  try:
    main()
  except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)
