"""Settings that travel with weights: what an export answers by, and what is said of it."""

from __future__ import annotations

from typing import TypeVar

from absl import logging

from bert_tf.tasks.task_data import setting

T = TypeVar("T")


def settle(name: str, given: T | None, known: T | None, default: T) -> T:
  """Returns the value of a flag: as it is given, else as the weights were trained with, else the
  default; says so where it is not known.

  Args:
    name: of the flag.
    given: its value; None where it was left out.
    known: the value beside the weights; None where it is not known.
    default: what is taken otherwise.
  """
  if given is None and known is None:
    logging.warning("`%s` is not known of these weights; taking %s", name, default)
  return setting(name, given, known, default)
