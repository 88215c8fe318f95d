"""What an export of each kind of head is: its model, graph, samples and words for the card.

To add a kind: its head in `model_dir.head_kinds`, its graph in `export.graphs`, a `Kind` here and
its line in the table.
"""

from __future__ import annotations

import importlib

from bert_tf.errors import UserError
from bert_tf.export.kinds.base import Kind
from bert_tf.export.options import GraphPlan, check_labels
from bert_tf.model_dir import head_kinds

# Where each is written; a kind is imported when it is asked for, so that nobody else's task is.
_KINDS = {
  head_kinds.CLASSIFICATION: ("sequences", "Classification"),
  head_kinds.MULTILABEL: ("sequences", "MultiLabel"),
  head_kinds.REGRESSION: ("sequences", "Regression"),
  head_kinds.TOKENS: ("tokens", "Tokens"),
  head_kinds.QUESTION_ANSWERING: ("questions", "Questions"),
  head_kinds.PRETRAINING: ("masks", "Masks"),
  head_kinds.ENCODER: ("vectors", "Vectors"),
}


def kind_of(head: str | None) -> Kind:
  """Returns what is exported of a head; raises UserError where it is none of `HEADS`."""
  if head not in _KINDS:
    raise UserError(
      f"`task`: expected one of {', '.join(_KINDS)}, found {head or 'none'}, and nothing beside the"
      " weights says which; give the flag"
    )
  room, name = _KINDS[head]
  return getattr(importlib.import_module(f"bert_tf.export.kinds.{room}"), name)()


def check(plan: GraphPlan) -> None:
  """Finds out without TensorFlow what cannot be exported; raises UserError."""
  kind = kind_of(plan.about.head)
  check_labels(plan.about.labels, plan.about.head or "")
  plan.text.check(plan.about.config)
  kind.check(plan)
