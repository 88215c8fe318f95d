"""Starts a script from its door: the file of its name at the top of the repository."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

from absl import flags

from bert_tf import script
from bert_tf.errors import UserError


def start(module: ModuleType) -> NoReturn:
  """Parses the flags that `module` defines and calls its `main()`; see `script.run`.

  `--help` shows the docstring and the flags of `module`, whichever file was started.
  """
  for flag in flags.FLAGS.get_key_flags_for_module(module):
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  sys.modules["__main__"].__doc__ = module.__doc__
  script.run(lambda: _call(module.main), _parse, flags.FLAGS.__contains__)


def _call(main: Callable[[], None]) -> None:
  """Calls `main()`; where it fails, workers that would wait for this process are told."""
  try:
    main()
  except Exception as error:
    if "cluster_resolver" in flags.FLAGS:
      from bert_tf.scripts import training_flags

      if not isinstance(error, UserError):
        error = UserError(f"a crash, {error!r}")
      training_flags.tell_workers(error)
    raise


def _parse(words: list[str]) -> list[str]:
  """Parses the command line; what is wrong with it is said on one line, as every other error is."""
  try:
    return flags.FLAGS(words)
  except flags.Error as error:
    message = " ".join(str(error).split())
    # "flag --name=value: expected ..., found value" says the value twice.
    message = re.sub(r"^flag (--\w+)=.*?: (?=expected )", r"\1: ", message)
    print(f"error: {message}; see --help", file=sys.stderr)
    sys.exit(1)
