"""Two-way tables between the original's names of weights and those of another format.

A format is data: rows of (our name, their name, layout). `{}` in a name stands for the number of
an encoder layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

Shape = tuple[int, ...]


class Layout:
  """How another format stores a weight: here as we do, unchanged."""

  def shape(self, theirs: Shape) -> Shape:
    """The shape of our weight, from the shape of theirs."""
    return theirs

  def from_theirs(self, array: np.ndarray) -> np.ndarray:
    """Their weight -> ours."""
    return array.reshape(self.shape(array.shape))

  def to_theirs(self, array: np.ndarray, num_heads: int) -> np.ndarray:
    """Our weight -> theirs, in a model with `num_heads` attention heads."""
    return array


class _Transposed(Layout):
  """A matrix stored [out, in] where we have [in, out], or the reverse."""

  def shape(self, theirs: Shape) -> Shape:
    return theirs[::-1]

  def from_theirs(self, array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.T)

  def to_theirs(self, array: np.ndarray, num_heads: int) -> np.ndarray:
    return np.ascontiguousarray(array.T)


class _HeadsOut(Layout):
  """A projection to attention heads stored [H, N, D] where we have [H, N * D]."""

  def shape(self, theirs: Shape) -> Shape:
    return (theirs[0], theirs[1] * theirs[2]) if len(theirs) == 3 else theirs

  def to_theirs(self, array: np.ndarray, num_heads: int) -> np.ndarray:
    return array.reshape(array.shape[0], num_heads, -1)


class _HeadsIn(Layout):
  """A projection from attention heads stored [N, D, H] where we have [N * D, H]."""

  def shape(self, theirs: Shape) -> Shape:
    return (theirs[0] * theirs[1], theirs[2]) if len(theirs) == 3 else theirs

  def to_theirs(self, array: np.ndarray, num_heads: int) -> np.ndarray:
    return array.reshape(num_heads, -1, array.shape[1])


class _HeadsBias(Layout):
  """The bias of a projection to attention heads stored [N, D] where we have [N * D]."""

  def shape(self, theirs: Shape) -> Shape:
    return (theirs[0] * theirs[1],) if len(theirs) == 2 else theirs

  def to_theirs(self, array: np.ndarray, num_heads: int) -> np.ndarray:
    return array.reshape(num_heads, -1)


SAME = Layout()
TRANSPOSED = _Transposed()
HEADS_OUT = _HeadsOut()
HEADS_IN = _HeadsIn()
HEADS_BIAS = _HeadsBias()


class Row(NamedTuple):
  """One weight, or one of every layer: its name here, its name there, how it is stored there."""

  ours: str
  theirs: str
  layout: Layout = SAME


class Table:
  """The weights that a format and this project have in common."""

  def __init__(self, rows: Iterable[tuple]):
    """Args: `rows`, of (ours, theirs) or (ours, theirs, layout)."""
    self.rows = tuple(Row(*row) for row in rows)
    self._by_ours = {row.ours: row for row in self.rows}
    self._by_theirs = {row.theirs: row for row in self.rows}
    if not len(self._by_ours) == len(self._by_theirs) == len(self.rows):
      raise AssertionError("a name occurs twice in a table of weights")

  def from_theirs(self, name: str) -> tuple[str, Layout] | None:
    """Their name -> our name and their layout; None where the table does not have it."""
    found = _look_up(self._by_theirs, name)
    return (_fill(found[0].ours, found[1]), found[0].layout) if found else None

  def to_theirs(self, name: str) -> tuple[str, Layout] | None:
    """Our name -> their name and their layout; None where the table does not have it."""
    found = _look_up(self._by_ours, name)
    return (_fill(found[0].theirs, found[1]), found[0].layout) if found else None


_NUMBER = re.compile(r"(?<=[._/])\d+(?=[._/])")


def _look_up(rows: dict[str, Row], name: str) -> tuple[Row, str] | None:
  if name in rows:
    return rows[name], ""
  for match in _NUMBER.finditer(name):
    row = rows.get(f"{name[: match.start()]}{{}}{name[match.end() :]}")
    if row:
      return row, match.group()
  return None


def _fill(template: str, number: str) -> str:
  return template.replace("{}", number)
