"""Reads a script's command line: says what is wrong with a word of it, and drops none."""

from __future__ import annotations

import re
import sys
from types import ModuleType

from absl import flags

from bert_tf import script
from bert_tf.errors import UserError
from bert_tf.scripts import help_page
from bert_tf.scripts.help_page import is_required

FLAGS = flags.FLAGS

# What the original's README calls a flag -> its name.
_ALIASES = {"do_lower": "do_lower_case"}
_HELP = {"help", "helpshort", "h", "?"}
_BOOLEANS = {"true", "t", "1", "yes", "false", "f", "0", "no"}


def parse(module: ModuleType, words: list[str]) -> list[str]:
  """Gives the flags their values, as absl does; prints the help and ends where it is asked for.

  Args:
    module: the script.
    words: the program's name and its arguments.

  Returns:
    The program's name alone: no argument is left over.

  Raises:
    UserError: a word is no flag, or none that the script has; a value is of another type.
  """
  try:
    words = [words[0], *map(_by_its_name, FLAGS.read_flags_from_files(words[1:], False))]
    _show_help(module, words)
    _refuse_left_over(words)
    rest = FLAGS(words)
  except flags.Error as error:
    raise _of_one_line(error) from error
  for name in FLAGS:
    if script.is_path(name) and isinstance(FLAGS[name].value, str):
      FLAGS[name].value = script.from_home(FLAGS[name].value)
  return rest


def _of_one_line(error: flags.Error) -> UserError:
  required = filter(is_required, map(FLAGS.__getitem__, FLAGS))
  missing = [f"--{flag.name}" for flag in required if flag.value is None]
  if isinstance(error, flags.IllegalFlagValueError) and missing and "other than None" in str(error):
    return UserError(f"expected {' and '.join(missing)}, found none; see --help")
  message = " ".join(str(error).split()).rstrip(" .")
  # "flag --name=value: expected ..., found value" says the value twice.
  message = re.sub(r"^flag (--\w+)=.*?: (?=expected )", r"\1: ", message).removeprefix("flag ")
  return UserError(f"{message}{'' if message.endswith('?') else ';'} see --help")


def _by_its_name(word: str) -> str:
  """The word with an alias replaced: --do_lower=False, --nodo_lower."""
  dashes = word[: len(word) - len(word.lstrip("-"))]
  name, equals, value = word.lstrip("-").partition("=")
  negated = name.startswith("no") and name[2:] in _ALIASES
  known = _ALIASES.get(name[2:] if negated else name)
  if not dashes or known is None or known not in FLAGS:
    return word
  return f"{dashes}{'no' * negated}{known}{equals}{value}"


def _show_help(module: ModuleType, words: list[str]) -> None:
  asked = {word.lstrip("-") for word in words[1:] if word.startswith("-")}
  if asked & (_HELP | {"helpfull"}):
    print(help_page.page(module, program=words[0], complete="helpfull" in asked))
    sys.exit(0)


def _refuse_left_over(words: list[str]) -> None:
  """Raises UserError for the first word of no flag: absl drops it and all that follow."""
  index = 1
  while index < len(words):
    word = words[index]
    if not word.startswith("-") or word == "--":
      raise _left_over(words[index - 1].lstrip("-"), word)
    name, equals, _ = word.lstrip("-").partition("=")
    takes_next = not equals and name in FLAGS and not FLAGS[name].boolean
    index += 2 if takes_next else 1


def _left_over(before: str, word: str) -> UserError:
  if before in FLAGS and FLAGS[before].boolean and word.lower() in _BOOLEANS:
    return UserError(
      f"expected --{before}={word}, found --{before} {word}, of which the second word would be"
      " dropped; write the value of a flag that is true or false after an equals sign"
    )
  spelled = word.lstrip("-–—")
  named = spelled.partition("=")[0] in FLAGS
  hint = f"did you mean --{spelled}?" if named else "a value with spaces stands in quotes"
  return UserError(f"expected flags such as --name=value, found the word {word!r}; {hint}")
