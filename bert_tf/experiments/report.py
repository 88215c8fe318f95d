"""Tables and pictures of many runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.experiments import statistics
from bert_tf.experiments.plan import FAILED, Result, Run, stem
from bert_tf.files import atomic_writer

TABLE_FILE, SUMMARY_FILE, PICTURE_FILE = "summary.txt", "summary.json", "scores.png"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Columns side by side: the first to the left, the others to the right."""
  everything = [header, *rows]
  widths = [max(len(row[i]) for row in everything) for i in range(len(header))]
  lines = []
  for row in everything:
    right = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    lines.append("  ".join([row[0].ljust(widths[0]), *right]).rstrip())
  return "\n".join(lines)


def numbers_of(results: Sequence[Result]) -> dict[str, Any]:
  """What results of one group say together, as JSON: see `statistics.Summary`; and the names of
  runs that failed, and of those that learnt nothing.
  """
  scored = [result for result in results if result.score is not None]
  values = [result.score for result in scored if result.score is not None]
  found: dict[str, Any] = {
    "failed": [result.name for result in results if result.status == FAILED],
    "learnt_nothing": [result.name for result in scored if result.learnt_nothing],
    "baseline": next((r.baseline for r in scored), None),
    "seconds": sum(result.seconds for result in results),
    "scores": {result.name: result.score for result in scored},
  }
  if values:
    summary = statistics.summarise(values)
    found |= {
      "mean": summary.mean,
      "deviation": summary.deviation,
      "least": summary.least,
      "most": summary.most,
      "expected_maximum": statistics.expected_maximum(values),
    }
  return found


def row_of(name: str, found: Mapping[str, Any]) -> list[str]:
  """A row of the table of groups."""
  marks = []
  if found["failed"]:
    marks.append(f"{len(found['failed'])} crashed")
  if found["learnt_nothing"]:
    marks.append(f"{len(found['learnt_nothing'])} learnt nothing")
  cells = [number(found.get(key)) for key in ("mean", "deviation", "least", "most", "baseline")]
  return [
    name,
    str(len(found["scores"])),
    *cells,
    ", ".join(marks) or "-",
    f"{found['seconds']:.0f}",
  ]


HEADER = ("", "runs", "mean", "deviation", "least", "most", "baseline", "failed", "seconds")


def number(value: float | None) -> str:
  """A score, as tables show it."""
  return "-" if value is None else f"{value:.4f}"


def groups_of(runs: Sequence[Run], results: Sequence[Result]) -> dict[str, dict[str, Any]]:
  """Group -> what its runs say together, see `numbers_of`."""
  by_name = {result.name: result for result in results}
  groups: dict[str, list[Result]] = {}
  for run in runs:
    if run.name in by_name:
      groups.setdefault(run.group or stem(run.script), []).append(by_name[run.name])
  return {group: numbers_of(members) for group, members in groups.items()}


def of_seeds(output_dir: str, runs: Sequence[Run], results: Sequence[Result]) -> str:
  """Writes table, JSON and picture of runs that differ by their seeds; returns the table.

  Args:
    output_dir: where to.
    runs: of one group or of several.
    results: of the runs.
  """
  found = groups_of(runs, results)
  text = table(HEADER, [row_of(group, numbers) for group, numbers in found.items()])
  text += "".join(
    f"\n{name}: no better than always the same answer: a failed run"
    for numbers in found.values()
    for name in numbers["learnt_nothing"]
  )
  write(output_dir, text, found)
  draw_seeds(os.path.join(output_dir, PICTURE_FILE), found)
  return text


def write(output_dir: str, text: str, found: Any) -> None:
  """Writes the table and what it was made of."""
  with atomic_writer(os.path.join(output_dir, TABLE_FILE)) as file:
    file.write(text + "\n")
  with atomic_writer(os.path.join(output_dir, SUMMARY_FILE)) as file:
    json.dump(found, file, indent=2, ensure_ascii=False)
    file.write("\n")


def draw_seeds(path: str, found: Mapping[str, Mapping[str, Any]]) -> None:
  """Every score as a point, and the expected best of 1, 2, ... runs, group by group."""
  groups = {name: numbers for name, numbers in found.items() if numbers["scores"]}
  if not groups:
    return
  figure, (left, right) = _figure(2)
  for place, (name, numbers) in enumerate(groups.items()):
    values = list(numbers["scores"].values())
    left.plot([place] * len(values), values, "o", alpha=0.6)
    left.plot([place - 0.25, place + 0.25], [numbers["baseline"]] * 2, "k:", linewidth=1)
    curve = numbers["expected_maximum"]
    right.plot(range(1, len(curve) + 1), curve, "o-", label=name)
  left.set_xticks(range(len(groups)), list(groups), rotation=45, ha="right")
  left.set_title("scores; dotted: always the same answer")
  right.set_title("expected best of so many runs")
  right.set_xlabel("runs")
  right.legend(fontsize="small")
  save(figure, path)


def draw_search(path: str, points: Sequence[tuple[Mapping[str, Any], float]]) -> None:
  """Score against each parameter.

  Args: `points`, the parameters and the score of each trial.
  """
  names = list(dict.fromkeys(name for settings, _ in points for name in settings))
  if not names:
    return
  figure, axes = _figure(len(names))
  for axis, name in zip(axes, names, strict=True):
    values = [settings[name] for settings, _ in points if name in settings]
    scores = [score for settings, score in points if name in settings]
    if not all(isinstance(value, int | float) for value in values):
      values = [str(value) for value in values]
    elif min(values) > 0 and max(values) / min(values) >= 10:
      axis.set_xscale("log")
    axis.plot(values, scores, "o", alpha=0.6)
    axis.set_xlabel(name)
  axes[0].set_ylabel("score")
  save(figure, path)


def _figure(columns: int) -> tuple[Any, Any]:
  from matplotlib.figure import Figure

  figure = Figure(figsize=(4.5 * columns, 4), layout="constrained")
  return figure, figure.subplots(1, columns, squeeze=False)[0]


def save(figure: Any, path: str) -> None:
  """Writes a figure as PNG."""
  with atomic_writer(path, "wb") as file:
    figure.savefig(file, format="png", dpi=120)
