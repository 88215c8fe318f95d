"""Runs a script's main function; a UserError becomes one line on stderr and exit code 1."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, logging

from bert_tf.errors import UserError, printable

# Of paths in buckets. The vocabulary alone may lie in one.
_BUCKETS = ("gs://", "s3://", "hdfs://")
# A setting in the text of an error, with a value or without, see `UserError`.
_SETTING = re.compile(r"`([a-z]\w*)(=[^`]*)?`")
_HELP_FLAGS = frozenset({"helpxml"})
# Flags and arguments whose values are paths.
_PATH = re.compile(r"(^|_)(file|dir|checkpoint)$|^(input|output|model)$")


class Stopped(Exception):
  """A signal ended the work early, after everything was saved; the message says how to go on."""

  def __init__(self, signal_number: int, message: str):
    super().__init__(message)
    self.exit_code = 128 + signal_number


def run(
  main: Callable[[], None],
  flags_parser: Callable[[list[str]], list[str]],
  is_flag: Callable[[str], bool] = lambda name: True,
) -> NoReturn:
  """Parses absl flags and calls `main()`.

  Args:
    main: what the script does.
    flags_parser: gives the flags the values of the command line, see `scripts.command_line`.
    is_flag: whether the script has a flag of that name.

  Exit codes: 0 success, 1 wrong flags or a UserError, 128 + the number of the
  signal that ended it early.
  """
  quiet_tensorflow()

  def parse(words: list[str]) -> list[str]:
    rest: list[str] = []
    call(lambda: rest.extend(flags_parser(words)))
    return rest

  try:
    app.run(lambda unused_argv: call(lambda: _checked(main), is_flag), flags_parser=parse)
  except SystemExit as end:
    # absl answers a call for help with exit code 1, as if it had been a mistake.
    asked = any(word.lstrip("-") in _HELP_FLAGS for word in sys.argv[1:] if word.startswith("-"))
    sys.exit(0 if asked and end.code == 1 else end.code)
  raise AssertionError("absl's run() ends the process")


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


def is_path(name: str) -> bool:
  """Whether a flag or an argument of that name holds a path, or several between commas."""
  return bool(_PATH.search(name))


def from_home(paths: str) -> str:
  """Paths between commas, with `~` at their beginning as the home directory.

  A shell only does so at the beginning of a word: not in --output_dir=~/out.
  """
  return ",".join(map(os.path.expanduser, paths.split(",")))


def quiet_tensorflow() -> None:
  """Hides TensorFlow's start-up notes; call it before TensorFlow is imported.

  Without an NVIDIA driver its errors are hidden too: all it has to say is that there is none.
  """
  level = "2" if os.path.exists("/dev/nvidiactl") else "3"
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", level)


def spelled_as_flags(text: str, is_flag: Callable[[str], bool] = lambda name: True) -> str:
  """Writes the settings in a text as the flags of the command line.

  Args: `is_flag`, whether there is a flag of that name; what is none is written as it is.
  """

  def spelled(match: re.Match[str]) -> str:
    name, value = match[1], match[2] or ""
    return f"--{name}{value}" if is_flag(name) else f"{name}{value}"

  return _SETTING.sub(spelled, text)


def call(main: Callable[[], None], is_flag: Callable[[str], bool] = lambda name: True) -> None:
  """Calls `main()` and turns a UserError or Ctrl-C into a message and an exit code.

  Args: `is_flag`, see `spelled_as_flags`, which errors and lines of log go through.
  """

  def spell_log(record) -> bool:
    record.msg, record.args = printable(spelled_as_flags(record.getMessage(), is_flag)), ()
    return True

  handler = logging.get_absl_handler()
  handler.addFilter(spell_log)
  try:
    main()
  except UserError as error:
    print(f"error: {printable(spelled_as_flags(str(error), is_flag))}", file=sys.stderr)
    sys.exit(1)
  except Stopped as stopped:
    print(f"stopped: {printable(str(stopped))}", file=sys.stderr)
    sys.exit(stopped.exit_code)
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    sys.exit(130)
  finally:
    handler.removeFilter(spell_log)
