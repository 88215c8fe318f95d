"""What an example is, and what to say of many of them: counts, and labels that look the same."""

from __future__ import annotations

import collections
import dataclasses
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from absl import logging

CLASSIFICATION, REGRESSION, MULTILABEL = "classification", "regression", "multilabel"
TASK_TYPES = (CLASSIFICATION, REGRESSION, MULTILABEL)
# How many labels are listed.
_MOST_LABELS = 100
# What tables hold where there is nothing; "none" may well be a label.
_NO_VALUES = {"nan", "null", "n/a", "<na>", "#n/a"}


@dataclasses.dataclass(frozen=True, slots=True)
class InputExample:
  """One text or pair of texts.

  Attributes:
    guid: names the example.
    text_a: the text.
    text_b: the second text of a pair.
    label: None where it is not known.
    where: file and line, for messages.
  """

  guid: str
  text_a: str
  text_b: str | None = None
  label: str | None = None
  where: str = ""


def text_of_labels(examples: Sequence[InputExample], labels: set[str]) -> str | None:
  """The attribute, "text_a" or "text_b", that holds nothing but labels in all examples."""
  for name in ("text_a", "text_b"):
    texts = [getattr(example, name) for example in examples]
    if texts and all(text is not None and text.strip() in labels for text in texts):
      return name
  return None


def describe_labels(
  split: str, examples: Sequence[InputExample], labels_of: Callable[[InputExample], list[str]]
) -> None:
  """Says how many examples there are of each label; warns of labels that are nearly the same."""
  counts = collections.Counter(label for example in examples for label in labels_of(example))
  shown = sorted(counts, key=natural_order)
  listed = ", ".join(f"{label!r} ({counts[label]})" for label in shown[:_MOST_LABELS])
  if len(shown) > _MOST_LABELS:
    listed += f", ... ({len(shown)} labels in all)"
  if empty := sum(not labels_of(example) for example in examples):
    listed += f", none ({empty})"
  logging.info("%s: %d examples of the labels %s", split, len(examples), listed)
  _warn_of_near_labels(split, counts)


def describe_numbers(split: str, examples: Sequence[InputExample]) -> None:
  """Says how many examples there are, and what range their targets have."""
  try:
    numbers = [float(example.label or "nan") for example in examples]
  except ValueError:
    return  # Refused, with its line, where labels are encoded.
  logging.info(
    "%s: %d examples with targets from %g to %g, %g in the mean",
    split,
    len(numbers),
    min(numbers, default=0.0),
    max(numbers, default=0.0),
    sum(numbers) / max(len(numbers), 1),
  )


def _warn_of_near_labels(split: str, counts: Mapping[str, int]) -> None:
  """Warns of spellings that a reader takes for one label, and of what stands for no value."""
  groups: dict[str | float, list[str]] = {}
  for label in sorted(counts, key=natural_order):
    groups.setdefault(_meaning(label), []).append(label)
  for group in groups.values():
    if len(group) > 1:
      logging.warning(
        "%s: %s are labels of their own, though they look the same; write them in one way",
        split,
        ", ".join(f"{label!r} ({counts[label]})" for label in group),
      )
  for label in counts:
    if label.strip().lower() in _NO_VALUES:
      logging.warning(
        "%s: %r (%d) is taken for a label, though tables say so where a value is missing",
        split,
        label,
        counts[label],
      )


def _meaning(label: str) -> str | float:
  """What labels have in common that look the same: a number, or letters whatever their case."""
  text = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
  try:
    number = float(text)
  except ValueError:
    return text
  return number if math.isfinite(number) else text


def natural_order(label: str) -> tuple[int, float, str]:
  """Numbers by their value, before words by their spelling."""
  try:
    return (0, float(label), label)
  except ValueError:
    return (1, 0.0, label)
