"""What export_model.py does: look beside the weights, check, export.

The run_*.py scripts come here too, with --export_dir. Imports TensorFlow only once it must.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf import model_dir
from bert_tf.errors import UserError
from bert_tf.export.options import (
  ExportOptions,
  QuestionOptions,
  TextOptions,
  check_labels,
  signature_lengths,
)
from bert_tf.model_dir import Description, Given, head_kinds
from bert_tf.tasks.squad.predictions import PredictionOptions


@dataclasses.dataclass(frozen=True)
class ExportRun:
  """The flags of export_model.py; see there. None stands for what lies beside the weights.

  Attributes:
    settings: of a question-answering model: those that are given, by flag.
    about: the model, where it is known already and need not be looked for.
  """

  init_checkpoint: str
  options: ExportOptions
  task: str | None = None
  bert_config_file: str | None = None
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  max_seq_length: int | None = None
  static_length: bool = False
  text_ops: str = "fast"
  labels: Sequence[str] = ()
  pairs: bool | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  top_k: int = 10
  layers: tuple[int, ...] = (-1,)
  about: Description | None = None


class ExportRunner:
  """One export: checked when it is made, written by `export`."""

  def __init__(self, flags: ExportRun):
    """Finds what lies beside the weights, and checks what can be checked without TensorFlow.

    Raises:
      UserError: something is missing or does not fit, or the export cannot be written.
    """
    self._flags = flags
    self.about = about = flags.about or _describe(flags)
    self._text = TextOptions(
      about.vocab_file or "",
      about.tokenizer.do_lower_case,
      flags.max_seq_length or about.max_seq_length or 128,
      flags.static_length,
      flags.text_ops,
    )
    self._text.check(about.config)
    self._question = _question_options({**about.settings, **flags.settings})
    if about.head == head_kinds.QUESTION_ANSWERING:
      self._question.check(self._text.max_seq_length)
    self._labels = about.labels if about.head in head_kinds.LABELLED else ()
    check_labels(self._labels, about.head or "")
    signature_lengths(flags.options.lite_lengths, self._text.max_seq_length)
    flags.options.check_possible()

  def export(self, checkpoint: str | None = None) -> str:
    """Exports and returns the directory of the version.

    Args:
      checkpoint: the weights; default: `init_checkpoint` of the flags.

    Raises:
      UserError: the weights cannot be read or the export failed its check; nothing is left of it.
    """
    from bert_tf.export import exporters

    flags, options = self._flags, self._flags.options
    head, pairs = self.about.head, bool(self.about.pairs)
    source = checkpoint or flags.init_checkpoint, self.about.config, self._text
    if head == head_kinds.TOKENS:
      return exporters.export_token_classifier(*source, self._labels, options)
    if head == head_kinds.QUESTION_ANSWERING:
      return exporters.export_question_answering(*source, self._question, options)
    if head == head_kinds.PRETRAINING:
      return exporters.export_pretraining(*source, options, flags.top_k)
    if head == head_kinds.ENCODER:
      return exporters.export_encoder(*source, options, flags.layers, pairs)
    return exporters.export_classifier(*source, self._labels, options, str(head), pairs)


def _describe(flags: ExportRun) -> Description:
  given = Given(
    flags.bert_config_file, flags.vocab_file, flags.do_lower_case, flags.labels or None, flags.task
  )
  about = model_dir.describe(flags.init_checkpoint, given, needs_vocabulary=True)
  if about.head is None:
    raise UserError(
      f"--task: expected one of {', '.join(head_kinds.HEADS)}, found none, and nothing beside the"
      " weights says which; give the flag"
    )
  return about if flags.pairs is None else dataclasses.replace(about, pairs=flags.pairs)


def _question_options(settings: Mapping[str, Any]) -> QuestionOptions:
  """Those of a run, as far as it left any."""

  def of(kind: type, **more: Any) -> Any:
    names = {field.name for field in dataclasses.fields(kind)} & set(settings)
    return kind(**{name: settings[name] for name in names}, **more)

  return of(QuestionOptions, prediction=of(PredictionOptions))
