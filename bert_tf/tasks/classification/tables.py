"""Reads rows of TSV, CSV and JSON-lines files, and says which line is wrong."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import carriage_returns, existing_file, not_utf8

# By default csv takes no field over 131,072 characters. There is no other bound than memory, as for
# JSON, since what is never closed is found by its lines.
csv.field_size_limit((1 << 31) - 1)

# A quoted field that runs over more lines than this is taken for a quote that was never closed.
_MOST_LINES_IN_A_FIELD = 100

Row = list[str]


def read_tsv(path: str) -> Iterator[tuple[int, Row]]:
  """Yields (line number from 1, columns) of a tab-separated file; quotes are ordinary characters.

  This is how the original reads its tasks (`DataProcessor._read_tsv`). Empty lines at the end are
  left out; one between rows is refused, as the original fails there too.

  Raises:
    UserError: no such file, nothing in it, an empty line, or a line that is no UTF-8.
  """
  yield from _read_delimited(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def read_csv(path: str) -> Iterator[tuple[int, Row]]:
  """Yields (number from 1 of a row's first line, columns) of a file with commas and quotes.

  Raises:
    UserError: as `read_tsv`, and for a quote that is never closed.
  """
  yield from _read_delimited(path, delimiter=",", strict=True)


def _read_delimited(path: str, **options: Any) -> Iterator[tuple[int, Row]]:
  existing_file(path, "data file")
  empty_line = None
  with open(path, encoding="utf-8-sig", newline="\n") as file:
    lines = _Lines(path, file)
    rows = csv.reader(lines, **options)
    while True:
      start = lines.begin_row()
      try:
        row = next(rows)
      except StopIteration:
        return
      except UnicodeDecodeError as error:
        raise not_utf8(path, error) from error
      except csv.Error as error:
        raise _not_a_row(path, start, error) from error
      if not row:
        empty_line = empty_line or start
      elif empty_line:
        raise UserError(
          f"{path}: line {empty_line}: expected a row, found an empty line; remove it"
        )
      else:
        yield start, row


class _Lines:
  """The lines of a file, until a row takes more of them than any should."""

  def __init__(self, path: str, file: Iterable[str]):
    self._path = path
    self._file = iter(file)
    self._number = 0
    self._start = 1

  def begin_row(self) -> int:
    """Returns the number of the next row's first line, from 1."""
    self._start = self._number + 1
    return self._start

  def __iter__(self) -> Iterator[str]:
    return self

  def __next__(self) -> str:
    line = next(self._file)
    self._number += 1
    count = self._number - self._start + 1
    if count > _MOST_LINES_IN_A_FIELD:
      raise UserError(
        f"{self._path}: line {self._start}: expected a row, found a quoted field over {count} lines"
        " and more; close its quote, or double the quotes inside of it"
      )
    return line


def _not_a_row(path: str, number: int, error: csv.Error) -> UserError:
  if "new-line character" in str(error):
    return carriage_returns(path, number)
  return UserError(
    f"{path}: line {number}: expected a row, found: {error}; mend the line, or close its quote"
  )


def read_json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (line number from 1, object); blank lines are left out.

  Raises:
    UserError: as `read_tsv`, and for a line that is no JSON object.
  """
  existing_file(path, "data file")
  with open(path, encoding="utf-8-sig", newline="\n") as file:
    number = 0
    try:
      for number, line in enumerate(file, start=1):
        if line.strip():
          values = json.loads(line)
          if not isinstance(values, dict):
            raise UserError(
              f"{path}: line {number}: expected a JSON object, found {type(values).__name__}; write"
              " one object a line"
            )
          yield number, values
    except UnicodeDecodeError as error:
      raise not_utf8(path, error) from error
    except (json.JSONDecodeError, RecursionError) as error:
      if "\r" in line.rstrip("\r\n"):
        raise carriage_returns(path, number) from error
      raise UserError(
        f"{path}: line {number}: expected a JSON object, found: {error}; write one object a line"
      ) from error


@dataclasses.dataclass(frozen=True)
class Column:
  """How a table's column is named.

  `spec` is a name, a number from 0, or several of them between commas, of which the first that a
  file has is taken: "sentence,3" is the column `sentence`, and where the file has no row of names
  column 3.
  """

  spec: str

  @property
  def names(self) -> list[str]:
    """The names among the alternatives; first the whole, as names may hold commas."""
    parts = [part.strip() for part in self.spec.split(",")]
    return [name for name in dict.fromkeys([self.spec, *parts]) if name and not name.isdecimal()]

  @property
  def number(self) -> int | None:
    """The number among the alternatives, if any."""
    numbers = [int(part) for part in self.spec.split(",") if part.strip().isdecimal()]
    return numbers[0] if numbers else None


def read_table(
  path: str, columns: Sequence[str | None], header: bool | None = None, distinct: int = 0
) -> Iterator[tuple[int, list[Any]]]:
  """Yields (line number, the values of the wanted columns) of a .tsv, .csv or .jsonl file.

  Args:
    path: what kind it is follows from its name; anything but .csv, .json and .jsonl is TSV.
    columns: see `Column`; None stands for a column that is not wanted, its values are None.
    header: whether the first row of a TSV or CSV file holds names; None: it does if one of the
      wanted names is in it.
    distinct: how many of the columns, from the first, must not be the same one.

  Raises:
    UserError: a column that the file lacks (its columns are listed), a row with more or fewer
      columns than the first, no row at all, columns that are the same, or as the readers above.
  """
  wanted = [None if spec is None else Column(spec) for spec in columns]
  extension = os.path.splitext(path)[1].lower()
  if extension in (".jsonl", ".json"):
    rows = _json_rows(path, wanted, distinct)
  else:
    reader = read_csv if extension == ".csv" else read_tsv
    rows = _delimited_rows(path, wanted, header, reader, distinct)
  empty = True
  for row in rows:
    empty = False
    yield row
  if empty:
    raise UserError(f"{path}: expected rows, found none; add examples")


def _check_distinct(path: str, columns: list[Column | None], places: list[Any]) -> None:
  """Raises UserError where two columns turn out to be one; `places` are their keys or numbers."""
  seen: dict[Any, Column] = {}
  for column, place in zip(columns, places, strict=False):
    if column is None:
      continue
    if place in seen:
      raise UserError(
        f"{path}: expected a column for each text and label, found that {seen[place].spec!r} and"
        f" {column.spec!r} are the same one ({place!r}); name another"
      )
    seen[place] = column


def _json_rows(
  path: str, columns: list[Column | None], distinct: int
) -> Iterator[tuple[int, list[Any]]]:
  for number, values in read_json_lines(path):
    row, keys = [], []
    for column in columns:
      key = next((n for n in (column.spec, *column.names) if n in values), None) if column else None
      if column and key is None:
        raise UserError(
          f"{path}: line {number}: expected the key {column.spec!r}, found"
          f" {', '.join(values) or 'none'}"
        )
      keys.append(key)
      row.append(None if key is None else values[key])
    _check_distinct(path, columns, keys[:distinct])
    yield number, row


def _delimited_rows(
  path: str, columns: list[Column | None], header: bool | None, reader: Any, distinct: int
) -> Iterator[tuple[int, list[Any]]]:
  rows = reader(path)
  first = next(rows, None)
  if first is None:
    raise UserError(f"{path}: expected rows, found none; add examples")
  names = first[1]
  if header is None:
    header = any(name in names for column in columns if column for name in column.names)
  indexes = [
    None if c is None else _index(path, c, names if header else None, first) for c in columns
  ]
  _check_distinct(path, columns, indexes[:distinct])
  needed = max((index for index in indexes if index is not None), default=-1) + 1
  if not header:
    yield _values(path, first, indexes, needed, len(names))
  for row in rows:
    yield _values(path, row, indexes, needed, len(names))


def _index(path: str, column: Column, names: Row | None, first: tuple[int, Row]) -> int:
  """Where the column is; `names` are those of the header, if there is one."""
  if names is not None:
    for name in column.names:
      if names.count(name) > 1:
        raise UserError(f"{path}: expected one column {name!r}, found {names.count(name)}")
      if name in names:
        return names.index(name)
  if column.number is not None:
    return column.number
  found = ", ".join(repr(name[:40]) for name in first[1])
  raise UserError(
    f"{path}: expected a column {column.spec!r}, found {found} in line {first[0]}; name one of"
    " these, or, if the file has no row of names, give the column's number, from 0"
  )


def _values(
  path: str, row: tuple[int, Row], indexes: list[int | None], needed: int, width: int
) -> tuple[int, list[Any]]:
  number, values = row
  check_columns(path, number, values, needed)
  check_width(path, number, values, width)
  return number, [None if index is None else values[index] for index in indexes]


def check_columns(path: str, number: int, row: Row, needed: int) -> None:
  """Raises UserError where a row has fewer columns than `needed`."""
  if len(row) < needed:
    raise UserError(
      f"{path}: line {number}: expected at least {needed} columns, found {len(row)}; are they"
      " separated as the file's name says?"
    )


def check_width(path: str, number: int, row: Row, width: int) -> None:
  """Raises UserError where a row has more or fewer columns than the first row."""
  if len(row) != width:
    remedy = (
      "remove the separator from the text"
      if len(row) > width
      else "add what is missing, empty or not"
    )
    raise UserError(
      f"{path}: line {number}: expected {width} columns as in the first row, found {len(row)};"
      f" {remedy}"
    )
