"""What export_model.py does: look beside the weights, check, export.

The run_*.py scripts come here too, with --export_dir. Imports TensorFlow only once it must.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf import model_dir
from bert_tf.errors import UserError
from bert_tf.export import kinds
from bert_tf.export.options import (
  DEFAULT_MAX_SEQ_LENGTH,
  ExportOptions,
  GraphPlan,
  check_labels,
  signature_lengths,
)
from bert_tf.export.settings import settle
from bert_tf.files import existing_checkpoint
from bert_tf.model_dir import Description, Given, head_kinds


@dataclasses.dataclass(frozen=True)
class ExportRun:
  """The flags of export_model.py; see there. None stands for what lies beside the weights.

  Attributes:
    settings: those that are given of a task's own, by flag, such as `doc_stride`.
    about: the model, where it is known already and need not be looked for.
  """

  init_checkpoint: str
  options: ExportOptions
  task: str | None = None
  bert_config_file: str | None = None
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  max_seq_length: int | None = None
  static_length: bool | None = None
  text_ops: str = "fast"
  dtype: str = "float32"
  labels: Sequence[str] = ()
  pairs: bool | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  top_k: int = 10
  layers: tuple[int, ...] = (-1,)
  allow_missing: tuple[str, ...] = ()
  checkpoint_prefix: str | None = None
  about: Description | None = None


class ExportRunner:
  """One export: checked when it is made, written by `export`.

  Attributes:
    plan: what the graph will compute.
  """

  def __init__(self, flags: ExportRun):
    """Finds what lies beside the weights, and checks what can be checked without TensorFlow.

    Raises:
      UserError: something is missing or does not fit, or the export cannot be written.
    """
    self._flags = flags
    about = _settled(flags.about or _describe(flags), flags)
    self.plan = GraphPlan(
      about,
      _static_length(flags.static_length, about),
      flags.text_ops,
      flags.dtype,
      flags.top_k,
      flags.layers,
      flags.allow_missing,
      flags.checkpoint_prefix,
    )
    kinds.check(self.plan)
    if flags.options.lite and about.head == head_kinds.PRETRAINING:
      raise UserError("expected no `lite`, which has no form for masks; leave it out")
    if flags.options.lite and self.plan.text.long_text.in_windows:
      raise UserError("expected no `lite`, which has no form for `long_text=windows`; leave it out")
    signature_lengths(flags.options.lite_lengths, self.plan.text.max_seq_length)
    flags.options.check_possible()

  def export(self, checkpoint: str | None = None, settings: Mapping[str, Any] | None = None) -> str:
    """Exports and returns the directory of the version.

    Args:
      checkpoint: the weights; default: `init_checkpoint` of the flags.
      settings: what has been found out of the weights since the plan was made, such as thresholds.

    Raises:
      UserError: the weights cannot be read or the export failed its check; nothing is left of it.
    """
    from bert_tf.export import exporters

    flags = self._flags
    if settings is not None:
      about = self.plan.about
      settings = kinds.kind_of(about.head).settings(flags.settings, {**about.settings, **settings})
      about = dataclasses.replace(about, settings=settings)
      self.plan = dataclasses.replace(self.plan, about=about)
    return exporters.export(checkpoint or flags.init_checkpoint, self.plan, flags.options)


def _describe(flags: ExportRun) -> Description:
  """The model that the flags name, as far as flags and files say."""
  given = Given(
    flags.bert_config_file, flags.vocab_file, flags.do_lower_case, flags.labels or None, flags.task
  )
  existing_checkpoint(flags.init_checkpoint)
  about = model_dir.describe(flags.init_checkpoint, given, needs_vocabulary=True)
  kinds.kind_of(about.head)
  if about.head not in head_kinds.LABELLED:
    check_labels(flags.labels, str(about.head))
  return about


def _settled(about: Description, flags: ExportRun) -> Description:
  """The model with all that its graph must know; what nobody knows is said."""
  kind = kinds.kind_of(about.head)
  longest = min(DEFAULT_MAX_SEQ_LENGTH, about.config.max_position_embeddings)
  pairs = False
  if kind.takes_pairs:
    pairs = settle("pairs", flags.pairs, about.pairs, False)
  return dataclasses.replace(
    about,
    labels=about.labels if about.head in head_kinds.LABELLED else (),
    pairs=pairs,
    max_seq_length=settle("max_seq_length", flags.max_seq_length, about.max_seq_length, longest),
    settings=kind.settings(flags.settings, about.settings),
  )


def _static_length(given: bool | None, about: Description) -> bool:
  """Whether to pad to the longest sequence.

  Where the weights answered questions so, they do it again: padding takes places among the n best
  starts and ends of an answer, as in the original.
  """
  if given is not None:
    return given
  return about.settings.get("dynamic_padding") is False
