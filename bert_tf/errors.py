"""The one exception for everything that a user can cause and mend."""


class UserError(ValueError):
  """A mistake in the input: says on one line what was expected, what was found and what to do.

  Scripts print the message after `error: ` and exit with code 1; library callers can catch it
  as a ValueError.

  Settings are named in backquotes, by the names that the library has for them, with a value or
  without: "`learning_rate`: expected at least 0", "give `eval_steps=100`". Scripts show them as
  the flags that they are (`script.spelled_as_flags`).
  """

  def __init__(self, message: str):
    super().__init__(" ".join(message.split()))
