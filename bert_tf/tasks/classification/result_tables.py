"""An evaluation for people: which labels are taken for which, as text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_tf.files import atomic_writer

PICTURE = "evaluation.png"
# Beyond so many a table is no longer read, and a picture no longer seen.
_MOST_COLUMNS, _MOST_ROWS, _MOST_PICTURED = 12, 40, 60
_LONGEST_NAME = 20
_CORNER = "true \\ predicted"
_SCORES = ("precision", "recall", "f1-score")


def per_label(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Lines of a table: precision, recall, F1 and count of each label.

  Args: `scores`, `per_label` of `metrics.compute`.
  """
  names = {label: _short(label) for label in list(scores)[:_MOST_ROWS]}
  width = max(5, *map(len, names.values()))
  lines = [f"{'label':<{width}}  precision  recall      f1   count"]
  for label, name in names.items():
    precision, recall, f1 = (scores[label][key] for key in _SCORES)
    count = int(scores[label]["support"])
    lines.append(f"{name:<{width}}  {precision:9.4f}  {recall:6.4f}  {f1:6.4f}  {count:6d}")
  if len(scores) > _MOST_ROWS:
    lines.append(f"... {len(scores)} labels in all, see eval_metrics.json")
  return lines


def confusion(matrix: np.ndarray, labels: Sequence[str]) -> list[str]:
  """Lines of a table, or of many labels the pairs that are confused most.

  Args: `matrix`, int [L, L]: how many examples of each label, a row, were given which, a column.
  """
  if len(labels) > _MOST_COLUMNS:
    return _most_confused(matrix, labels)
  names = [_short(label) for label in labels]
  first = max(len(_CORNER), *map(len, names))
  widths = [max(len(name), len(str(matrix.max()))) for name in names]
  head = "  ".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
  lines = [f"{_CORNER:<{first}}  {head}"]
  for name, row in zip(names, matrix, strict=True):
    cells = "  ".join(f"{value:>{width}}" for value, width in zip(row, widths, strict=True))
    lines.append(f"{name:<{first}}  {cells}")
  return lines


def _most_confused(matrix: np.ndarray, labels: Sequence[str]) -> list[str]:
  wrong = matrix * (1 - np.eye(len(labels), dtype=matrix.dtype))
  lines = ["confused most, of all labels (all counts are in eval_metrics.json):"]
  for place in np.argsort(-wrong, axis=None, kind="stable")[:10]:
    true, given = divmod(int(place), len(labels))
    if wrong[true, given]:
      lines.append(f"  {wrong[true, given]} x {_short(labels[true])} as {_short(labels[given])}")
  return lines if len(lines) > 1 else ["no label was taken for another"]


def draw(path: str, scores: Mapping[str, Any], labels: Sequence[str], title: str) -> bool:
  """Draws the confusion matrix, of one label for an example, and the scores of each label.

  Args:
    path: of a PNG.
    scores: of `metrics.compute`.
    labels: in the order of the outputs.
    title: what was evaluated.

  Returns:
    Whether it was drawn: not of more labels than can be seen.
  """
  if len(labels) > _MOST_PICTURED:
    return False
  from matplotlib.figure import Figure  # Without pyplot, which would choose a window system.

  matrix = scores.get("confusion_matrix")
  side = max(3.0, 0.45 * len(labels) + 1.5)
  figure = Figure(figsize=(5 + side * (matrix is not None), side + 0.8), layout="constrained")
  axes = figure.subplots(1, 1 + (matrix is not None), squeeze=False)[0]
  figure.suptitle(title, parse_math=False)
  if matrix is not None:
    _draw_matrix(axes[0], np.array(matrix), labels)
  _draw_scores(axes[-1], scores["per_label"], labels)
  with atomic_writer(path, "wb") as file:
    figure.savefig(file, format="png", dpi=120)
  return True


def _draw_matrix(axes: Any, matrix: np.ndarray, labels: Sequence[str]) -> None:
  shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
  axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
  places, names = range(len(labels)), _drawable(labels)
  upright = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(labels) > 2 else {}
  axes.set_xticks(places, names, parse_math=False, **upright)
  axes.set_yticks(places, names, parse_math=False)
  axes.set_xlabel("predicted")
  axes.set_ylabel("true")
  axes.set_title("examples (colour: share of the row)", fontsize="medium")
  size = 9 if len(labels) <= 15 else 6
  for row, column in np.ndindex(*matrix.shape):
    colour = "white" if shares[row, column] > 0.5 else "black"
    axes.text(
      column, row, str(matrix[row, column]), ha="center", va="center", color=colour, fontsize=size
    )


def _draw_scores(
  axes: Any, scores: Mapping[str, Mapping[str, float]], labels: Sequence[str]
) -> None:
  places = np.arange(len(labels))
  for number, key in enumerate(_SCORES):
    values = [scores[label][key] for label in labels]
    axes.barh(places + (number - 1) * 0.27, values, 0.25, label="F1" if key == "f1-score" else key)
  counts = [int(scores[label]["support"]) for label in labels]
  names = [f"{name} ({n})" for name, n in zip(_drawable(labels), counts, strict=True)]
  axes.set_yticks(places, names, parse_math=False)
  axes.set_ylim(len(labels) - 0.4, -0.6)
  axes.set_xlim(0, 1)
  axes.set_xlabel("score")
  axes.set_title("labels (examples)", fontsize="medium")
  axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, fontsize="small")


def _drawable(labels: Sequence[str]) -> list[str]:
  """Names that the font of pictures has all characters of; of others their number, from 0."""
  from matplotlib import font_manager

  known = font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap()
  names = map(_short, labels)
  return [
    name if all(ord(character) in known for character in name) else f"#{number}"
    for number, name in enumerate(names)
  ]


def _short(label: str) -> str:
  """A name that fits, with nothing that a terminal would obey."""
  name = "".join(c if c.isprintable() else "?" for c in label)
  return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "\u2026"
