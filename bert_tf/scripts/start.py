"""Starts a script: from the file of its name at the top of the repository, or as a command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

from absl import flags

from bert_tf import script
from bert_tf.errors import UserError
from bert_tf.scripts import command_line


def start(module: ModuleType) -> NoReturn:
  """Parses the flags that `module` defines and calls its `main()`; see `script.run`.

  `--help` shows the docstring and the flags of `module`, whichever file was started.
  """
  parse = functools.partial(command_line.parse, module)
  script.run(lambda: _call(module.main), parse, flags.FLAGS.__contains__)


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
