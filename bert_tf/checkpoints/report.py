"""What a load did: which weights came from the file and which did not."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping

from bert_tf.errors import UserError, printable

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class LoadReport:
  """The outcome of loading a checkpoint into a model, by the original's variable names.

  Attributes:
    path: what was read.
    format: which of the supported formats it is.
    matched: names that were read into the model.
    missing: names of the model that the checkpoint does not hold; they keep their values.
    mismatched: name -> (expected shape, found shape); they keep their values.
    unexpected: names that only the checkpoint holds, optimizer slots left out.
    not_finite: names of weights that were read and hold NaN or infinite values.
  """

  path: str
  format: str
  matched: tuple[str, ...]
  missing: tuple[str, ...]
  mismatched: dict[str, tuple[Shape, Shape]]
  unexpected: tuple[str, ...]
  not_finite: tuple[str, ...] = ()

  def __str__(self) -> str:
    rows = [
        ("matched", len(self.matched), ""),
        ("missing (initialised afresh)", len(self.missing), _some(self.missing)),
        ("mismatched (initialised afresh)", len(self.mismatched), _some(
            f"{name} expected {list(expected)} found {list(found)}"
            for name, (expected, found) in self.mismatched.items())),
        ("unexpected (not used)", len(self.unexpected), _some(self.unexpected)),
    ]  # fmt: skip
    if self.not_finite:
      rows.append(("NaN or infinite", len(self.not_finite), _some(self.not_finite)))
    table = "\n".join(f"  {title:<32}{count:>5}  {names}".rstrip() for title, count, names in rows)
    return printable(f"{self.path} ({self.format})\n{table}")


def compare(
  path: str,
  format_name: str,
  expected: Mapping[str, Shape],
  found: Mapping[str, Shape],
  allow_missing: Iterable[str] = (),
  refused: Mapping[str, str] | None = None,
) -> LoadReport:
  """Compares a model's variables with a checkpoint's.

  Args:
    path: names the checkpoint in the report and in errors.
    format_name: the checkpoint's format.
    expected: name -> shape in the model.
    found: name -> shape in the checkpoint, without optimizer slots.
    allow_missing: names, or patterns as of `fnmatch`, that may be missing or of another shape.
    refused: name -> why a weight of the checkpoint is not what its name says. It counts as
      missing.

  Raises:
    UserError: a weight is missing or of another shape and not allowed to be, or the two share
      no weight at all.
  """
  refused = refused or {}
  mismatched = {
    name: (shape, found[name])
    for name, shape in expected.items()
    if name in found and found[name] != shape and name not in refused
  }
  report = LoadReport(
    path=path,
    format=format_name,
    matched=tuple(n for n in expected if n in found and n not in mismatched and n not in refused),
    missing=tuple(n for n in expected if n not in found or n in refused),
    mismatched=mismatched,
    unexpected=tuple(sorted(n for n in found if n not in expected)),
  )
  patterns = tuple(allow_missing)
  _check(report, refused, lambda name: any(fnmatch.fnmatchcase(name, p) for p in patterns))
  return report


def _check(report: LoadReport, refused: Mapping[str, str], allowed) -> None:
  wrong = [n for n in report.mismatched if not allowed(n)]
  if wrong:
    expected, found = report.mismatched[wrong[0]]
    raise UserError(
      f"{report.path}: expected {wrong[0]} of shape {list(expected)}, found {list(found)}"
      f"{_more(wrong)}; use the config that belongs to this checkpoint, or, to train them afresh,"
      " name the weights in `allow_missing`"
    )
  missing = [n for n in report.missing if not allowed(n)]
  for name in missing:
    if name in refused:
      raise UserError(f"{report.path}: {name} cannot be used: {refused[name]}")
  if missing and not report.matched:
    raise UserError(
      f"{report.path}: shares no weight with the model (expected {missing[0]}, found"
      f" {_some(report.unexpected, 3) or 'nothing'}); is it a BERT checkpoint?"
    )
  if missing:
    raise UserError(
      f"{report.path}: expected {missing[0]}, which it does not hold{_more(missing)}; use"
      " another checkpoint, or, to train them afresh, name the weights in `allow_missing`"
    )


def _some(names: Iterable[str], most: int = 4) -> str:
  names = [printable(name, lines=False) for name in names]
  return ", ".join(names[:most]) + (f", ... (+{len(names) - most})" if len(names) > most else "")


def _more(names: list[str]) -> str:
  return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
