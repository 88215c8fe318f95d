"""Reads rows of TSV, CSV and JSON-lines files, and says which line is wrong."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file

# A quoted field that runs over more lines than this is taken for a quote that was never closed.
_MOST_LINES_IN_A_FIELD = 100

Row = list[str]


def read_tsv(path: str) -> Iterator[tuple[int, Row]]:
  """Yields (line number from 1, columns) of a tab-separated file; quotes are ordinary characters.

  This is how the original reads its tasks (`DataProcessor._read_tsv`).

  Raises:
    UserError: no such file, nothing in it, or a line that is no UTF-8.
  """
  yield from _read_delimited(path, delimiter="\t", quoting=csv.QUOTE_NONE)


def read_csv(path: str) -> Iterator[tuple[int, Row]]:
  """Yields (line number from 1, columns) of a comma-separated file with quoted fields.

  Raises:
    UserError: as `read_tsv`, and for a quote that is never closed.
  """
  last = 0
  for number, row in _read_delimited(path, delimiter=",", strict=True):
    if number - last > _MOST_LINES_IN_A_FIELD:
      raise UserError(
        f"{path}: line {last + 1}: expected a row, found a quoted field over"
        f" {number - last} lines; close its quote, or double the quotes inside of it"
      )
    last = number
    yield number, row


def _read_delimited(path: str, **options: Any) -> Iterator[tuple[int, Row]]:
  existing_file(path, "data file")
  with open(path, encoding="utf-8-sig", newline="\n") as file:
    rows = csv.reader(file, **options)
    while True:
      start = rows.line_num + 1
      try:
        row = next(rows)
      except StopIteration:
        return
      except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
      except csv.Error as error:
        raise UserError(
          f"{path}: line {start}: expected a row, found: {error}; mend the line, or close its quote"
        ) from error
      yield rows.line_num, row


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
              f"{path}: line {number}: expected a JSON object, found {type(values).__name__}"
            )
          yield number, values
    except UnicodeDecodeError as error:
      raise _not_utf8(path, error) from error
    except json.JSONDecodeError as error:
      raise UserError(f"{path}: line {number}: expected a JSON object, found: {error}") from error


def _not_utf8(path: str, error: UnicodeDecodeError) -> UserError:
  with open(path, "rb") as file:
    for number, line in enumerate(file, start=1):
      try:
        line.decode("utf-8")
      except UnicodeDecodeError as found:
        return UserError(
          f"{path}: line {number}: expected UTF-8, found {found.reason} at byte {found.start};"
          " convert the file to UTF-8"
        )
  return UserError(f"{path}: expected UTF-8, found {error.reason}; convert the file to UTF-8")


def read_table(
  path: str, columns: list[str | None], header: bool = True
) -> Iterator[tuple[int, list[Any]]]:
  """Yields (line number, the values of the wanted columns) of a .tsv, .csv or .jsonl file.

  Args:
    path: what kind it is follows from its name; anything but .csv, .json and .jsonl is TSV.
    columns: names, or with `header` false numbers from 0; None stands for a column that is not
      wanted, its values are None.
    header: whether the first row of a TSV or CSV file holds names.

  Raises:
    UserError: a column that the file lacks (its columns are listed), a row with too few, or as
      the readers above.
  """
  extension = os.path.splitext(path)[1].lower()
  if extension in (".jsonl", ".json"):
    for number, values in read_json_lines(path):
      missing = [name for name in columns if name is not None and name not in values]
      if missing:
        raise UserError(
          f"{path}: line {number}: expected the key {missing[0]!r}, found {', '.join(values)}"
        )
      yield number, [None if name is None else values[name] for name in columns]
    return
  rows = (read_csv if extension == ".csv" else read_tsv)(path)
  indexes = _column_indexes(path, next(rows)[1], columns) if header else _numbers(columns)
  needed = max((index for index in indexes if index is not None), default=-1) + 1
  for number, row in rows:
    check_columns(path, number, row, needed)
    yield number, [None if index is None else row[index] for index in indexes]


def check_columns(path: str, number: int, row: Row, needed: int) -> None:
  """Raises UserError where a row has fewer columns than `needed`."""
  if len(row) < needed:
    raise UserError(
      f"{path}: line {number}: expected at least {needed} columns, found {len(row)}; are they"
      " separated as the file's name says?"
    )


def _column_indexes(path: str, names: Row, columns: list[str | None]) -> list[int | None]:
  for name in columns:
    if name is not None and name not in names:
      raise UserError(
        f"{path}: expected a column {name!r}, found {', '.join(names)}; name one of these, or"
        " pass --noheader and give the number of the column, from 0"
      )
  return [None if name is None else names.index(name) for name in columns]


def _numbers(columns: list[str | None]) -> list[int | None]:
  for column in columns:
    if column is not None and not column.isdecimal():
      raise UserError(
        f"--noheader: expected the numbers of columns, from 0, found {column!r}; give a number, or"
        " leave --noheader out"
      )
  return [None if column is None else int(column) for column in columns]
