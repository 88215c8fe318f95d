"""What export_model.py does: look beside the weights, check, export.

The run_*.py scripts come here too, with --export_dir. Imports TensorFlow only once it must.
"""

from __future__ import annotations

import dataclasses

from bert_tf.serving import trained
from bert_tf.serving.options import (
  ExportOptions,
  QuestionOptions,
  TextOptions,
  check_labels,
  signature_lengths,
)
from bert_tf.tokenization import load_vocab, require_special_tokens


@dataclasses.dataclass(frozen=True)
class ExportRun:
  """The flags of export_model.py; see there. None stands for what lies beside the weights.

  Attributes:
    labels: empty where a task has none, and for what lies beside the weights.
  """

  task: str
  init_checkpoint: str
  options: ExportOptions
  bert_config_file: str | None = None
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  max_seq_length: int | None = None
  static_length: bool = False
  text_ops: str = "fast"
  labels: tuple[str, ...] = ()
  pairs: bool = False
  question: QuestionOptions = dataclasses.field(default_factory=QuestionOptions)
  top_k: int = 10
  layers: tuple[int, ...] = (-1,)


class ExportRunner:
  """One export: checked when it is made, written by `export`."""

  def __init__(self, flags: ExportRun):
    """Finds what lies beside the weights, and checks what can be checked without TensorFlow.

    Raises:
      UserError: something is missing or does not fit, or the export cannot be written.
    """
    checkpoint = flags.init_checkpoint
    self._config = trained.config(checkpoint, flags.bert_config_file)
    vocab_file = trained.vocab_file(checkpoint, flags.vocab_file)
    vocabulary = load_vocab(vocab_file)
    require_special_tokens(vocabulary, path=vocab_file)
    self._config.check_vocabulary_size(len(vocabulary), vocab_file)
    self._text = TextOptions(
      vocab_file,
      trained.do_lower_case(checkpoint, flags.do_lower_case, vocabulary),
      flags.max_seq_length or trained.max_seq_length(checkpoint, 128),
      flags.static_length,
      flags.text_ops,
    )
    self._text.check(self._config)
    if flags.task == "question_answering":
      flags.question.check(self._text.max_seq_length)
    self._labels = flags.labels
    if not self._labels and flags.task in ("classification", "multilabel", "tokens"):
      self._labels = tuple(trained.labels(checkpoint))
    check_labels(self._labels, flags.task)
    signature_lengths(flags.options.lite_lengths, self._text.max_seq_length)
    flags.options.check_possible()
    self._flags = flags

  def export(self, checkpoint: str | None = None) -> str:
    """Exports and returns the directory of the version.

    Args:
      checkpoint: the weights; default: `init_checkpoint` of the flags.

    Raises:
      UserError: the weights cannot be read or the export failed its check; nothing is left of it.
    """
    from bert_tf.serving import export

    flags, options = self._flags, self._flags.options
    source = checkpoint or flags.init_checkpoint, self._config, self._text
    if flags.task == "tokens":
      return export.export_token_classifier(*source, self._labels, options)
    if flags.task == "question_answering":
      return export.export_question_answering(*source, flags.question, options)
    if flags.task == "pretraining":
      return export.export_pretraining(*source, options, flags.top_k)
    if flags.task == "encoder":
      return export.export_encoder(*source, options, flags.layers, flags.pairs)
    return export.export_classifier(*source, self._labels, options, flags.task, flags.pairs)
