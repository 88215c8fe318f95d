"""What people hold texts and labels in, as plain Python: lists, numpy, pandas, tf.data.

Nothing here imports pandas or TensorFlow; what is theirs is known by what it can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.errors import UserError

# A text, and the second one of a pair.
Text = tuple[str, str | None]


def is_single(texts: Any) -> bool:
  """Whether this is one text rather than several."""
  return isinstance(texts, str | bytes)


def texts_of(texts: Any) -> list[Text]:
  """Returns texts, or pairs of texts, row by row.

  Args:
    texts: strings in a list, an array, a pandas column or a `tf.data.Dataset`; or pairs, as a list
      of twos, an array or table of two columns, a dictionary of two columns, or a dataset of twos.
      Bytes are read as UTF-8.

  Raises:
    UserError: something else, or a row that is no text; names its number, from 0.
  """
  if is_single(texts):
    raise UserError(f"expected a list of texts, found a single one, {texts!r:.40}; give [text]")
  rows = [_row(number, row) for number, row in enumerate(_rows(texts))]
  widths = {len(row) for row in rows}
  if len(widths) > 1:
    raise UserError("expected texts or pairs of texts, found both; give pairs only, or texts only")
  return [(row[0] or "", row[1] if len(row) > 1 else None) for row in rows]


def _rows(texts: Any) -> Iterable[Any]:
  if isinstance(texts, Mapping):
    return zip(*map(plain_list, texts.values()), strict=True)
  if hasattr(texts, "iloc") and getattr(texts, "ndim", 1) == 2:
    return texts.itertuples(index=False, name=None)
  return plain_list(texts)


def plain_list(values: Any) -> list[Any]:
  """Returns the entries of a list, array, column, tensor or dataset.

  Raises:
    UserError: it has no entries to go over, or is a sparse matrix.
  """
  if hasattr(values, "as_numpy_iterator"):
    return list(rows_of_dataset(values))
  if hasattr(values, "toarray"):
    raise UserError(
      "expected texts, found a sparse matrix; give the texts themselves, not counts of their words"
    )
  if hasattr(values, "numpy") and not hasattr(values, "iloc"):
    values = values.numpy()
  if not isinstance(values, Iterable) and hasattr(values, "__array__"):
    values = np.asarray(values)
  if not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
    raise UserError(f"expected a list, array or column, found {type(values).__name__}")
  return list(values)


def rows_of_dataset(dataset: Any) -> Iterable[Any]:
  """Yields the examples of a `tf.data.Dataset`, batched or not.

  Raises:
    UserError: it has no end.
  """
  spec = dataset.element_spec
  while isinstance(spec, tuple | list | dict):
    spec = next(iter(spec.values() if isinstance(spec, dict) else spec))
  if spec.shape.rank:
    dataset = dataset.unbatch()
  if int(dataset.cardinality()) == -1:
    raise UserError("expected a dataset with an end, found one that repeats; leave out .repeat()")
  return dataset.as_numpy_iterator()


def split_dataset(dataset: Any) -> tuple[list[Any], list[Any]]:
  """Returns inputs and labels of a dataset of twos; raises UserError where it holds no twos."""
  rows = list(rows_of_dataset(dataset))
  if not rows or not isinstance(rows[0], tuple) or len(rows[0]) != 2:
    raise UserError("expected a dataset of (text, label), found other elements; zip them")
  inputs = [tuple(x.values()) if isinstance(x, Mapping) else x for x, _ in rows]
  return inputs, [y for _, y in rows]


def _row(number: int, row: Any) -> list[str | None]:
  """One or two texts; None stands for a second one that there is not."""
  cells: Sequence[Any] = [row]
  if isinstance(row, tuple | list | np.ndarray) and np.ndim(row) == 1:
    cells = list(row)
  if not 1 <= len(cells) <= 2:
    raise UserError(f"text {number}: expected one text or two, found {len(cells)} columns")
  return [None if i and cell is None else _text(number, cell) for i, cell in enumerate(cells)]


def _text(number: int, value: Any) -> str:
  if isinstance(value, bytes):
    try:
      return value.decode("utf-8")
    except UnicodeDecodeError as error:
      raise UserError(f"text {number}: expected UTF-8, found {error.reason}") from error
  if not isinstance(value, str):
    raise UserError(
      f"text {number}: expected a text, found {value!r:.60}; remove the row, or make it a text"
    )
  return str(value)
