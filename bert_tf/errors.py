"""The one exception for everything that a user can cause and mend."""


class UserError(ValueError):
  """A mistake in the input: says on one line what was expected, what was found and what to do.

  Scripts print the message after `error: ` and exit with code 1; library callers can catch it
  as a ValueError.
  """

  def __init__(self, message: str):
    super().__init__(" ".join(message.split()))
