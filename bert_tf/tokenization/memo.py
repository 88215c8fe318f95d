"""A function's results, kept in a dictionary of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any


class Memo(dict):
  """`memo[key]` is `function(key)`, computed once while it stays in the memo.

  A lookup that hits costs as much as one in a plain dictionary, which is what makes the
  tokenizers fast: text repeats its words.
  """

  def __init__(self, function: Callable[[Any], Any], limit: int = 1 << 16, longest_key: int = 64):
    """Remembers `limit` results at most, and none for strings over `longest_key` characters."""
    super().__init__()
    self._function = function
    self._limit = limit
    self._longest_key = longest_key

  def __missing__(self, key: Hashable) -> Any:
    value = self._function(key)
    if isinstance(key, str) and len(key) > self._longest_key:
      return value
    if len(self) >= self._limit:
      self.clear()
    self[key] = value
    return value

  def __reduce__(self) -> tuple:
    # A copy in another process starts empty: sending the results costs more than they save.
    return Memo, (self._function, self._limit, self._longest_key)
