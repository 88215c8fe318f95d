"""The one exception for everything that a user can cause and mend, and how it is printed."""

from __future__ import annotations

import unicodedata


class UserError(ValueError):
  """A mistake in the input: says on one line what was expected, what was found and what to do.

  Scripts print the message after `error: ` and exit with code 1; library callers can catch it
  as a ValueError.

  >>> import bert_tf
  >>> try:
  ...   bert_tf.load("no_such_directory")
  ... except bert_tf.UserError as error:
  ...   print(error)
  init checkpoint: expected a checkpoint, found nothing at 'no_such_directory'; give ...

  Settings are named in backquotes, by the names that the library has for them, with a value or
  without: "`learning_rate`: expected at least 0", "give `eval_steps=100`". Scripts show them as
  the flags that they are (`script.spelled_as_flags`).
  """

  def __init__(self, message: str):
    super().__init__(" ".join(message.split()))


def printable(text: str, lines: bool = True) -> str:
  r"""Text for a terminal: characters that would move its cursor or give it orders become `\x1b`.

  Names of tensors, labels and texts come from files of others.

  Args:
    text: what shall be printed.
    lines: whether line feeds and tabs stay as they are; names in a table have none.
  """
  kept = "\n\t" if lines else ""
  return "".join(_escaped(c) if _is_control(c) and c not in kept else c for c in text)


def _is_control(character: str) -> bool:
  # Cc: orders to terminals; Cs: what no encoding has.
  return unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTIONS


def _escaped(character: str) -> str:
  code = ord(character)
  return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


# What turns the direction of writing, or ends a line, so that a text shows as another one.
_DIRECTIONS = frozenset(
  "\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
