"""Questions and contexts from a SQuAD JSON file."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.squad.contexts import Context
from bert_tf.tasks.squad.layouts import load_squad, squad_paragraphs
from bert_tf.tasks.squad.training_answers import TrainingAnswers


@dataclasses.dataclass(frozen=True, slots=True)
class SquadExample:
  """One question about one context.

  Attributes:
    qas_id: the question's id in the file.
    question_text: the question.
    doc_tokens: words of the context; all questions of a paragraph share one list.
    orig_answer_text: the answer; None unless read for training, "" if there is none.
    start_position: index in doc_tokens of the answer's first word; None unless read for training,
      -1 if there is no answer.
    end_position: index of the answer's last word, like start_position.
    is_impossible: the question has no answer in this context (SQuAD 2.0 training data).
    context: where the words come from; without it answers have no places in the text.
    answer_span: first character of the answer in the context, and the one after its last; None
      unless read for training from a context whose answers are taken by offsets.
  """

  qas_id: str
  question_text: str
  doc_tokens: list[str]
  orig_answer_text: str | None = None
  start_position: int | None = None
  end_position: int | None = None
  is_impossible: bool = False
  # The original has neither.
  context: Context | None = dataclasses.field(default=None, compare=False, repr=False)
  answer_span: tuple[int, int] | None = dataclasses.field(default=None, compare=False)

  @property
  def by_offsets(self) -> bool:
    """Whether the answer is what its pieces' offsets say, not found again among words."""
    return self.context is not None and self.context.by_offsets


def question_about(qas_id: str, question: str, context: Context) -> SquadExample:
  """A question to be answered."""
  return SquadExample(qas_id, question, context.words, context=context)


def read_squad_examples(
  path: str,
  is_training: bool,
  version_2_with_negative: bool = False,
  answer_offsets: bool | None = None,
  train_answers: str | None = None,
) -> list[SquadExample]:
  """Reads a SQuAD 1.1 or 2.0 JSON file, or one of CMRC 2018 or DRCD (`layouts`).

  Follows `read_squad_examples` of the original's run_squad.py, save for contexts whose answers are
  taken by offsets. When training, a question whose answer is not found at its offset is left out
  with a warning.

  Args:
    path: a JSON file with the key `data`.
    is_training: also read answers; see `train_answers`.
    version_2_with_negative: the file may hold questions without an answer.
    answer_offsets: whether answers are taken by character offsets; None: in contexts that are
      written without spaces between words.
    train_answers: "first" or "all": what is learnt of questions that have several answers. None:
      the first in contexts whose answers are taken by offsets; elsewhere it is an error, as in the
      original.

  Raises:
    UserError: no such file, no JSON, another layout than SQuAD's, a training answer that does not
      lie in its context, or questions without an answer in spite of version_2_with_negative=False;
      in prediction, where answers are kept by the questions' ids, also an id that occurs twice.
  """
  examples: list[SquadExample] = []
  report = _Report(path, is_training)
  answers = TrainingAnswers(path, version_2_with_negative, train_answers)
  for paragraph in squad_paragraphs(load_squad(path), path):
    context = Context(paragraph["context"], answer_offsets)
    report.add_context(context)
    for qa in paragraph["qas"]:
      _check_version(qa, path, version_2_with_negative)
      report.add_question(qa["id"])
      example = question_about(qa["id"], qa["question"], context)
      found = answers.of(qa, context) if is_training else [{}]
      examples += [dataclasses.replace(example, **answer) for answer in found]
      report.num_used += bool(found)
  if not examples:
    raise UserError(f"{path}: expected at least one question, found none that can be used")
  report.log()
  answers.log()
  return examples


class _Report:
  """Counts contexts and questions, and watches for questions that are lost."""

  def __init__(self, path: str, is_training: bool):
    self._path = path
    self._is_training = is_training
    self._seen: set[str] = set()
    self._contexts = self._by_offsets = self._num_questions = 0
    self.num_used = 0

  def add_context(self, context: Context) -> None:
    """Notes a context."""
    self._contexts += 1
    self._by_offsets += context.by_offsets

  def add_question(self, qa_id: str | int) -> None:
    """Notes a question; in prediction of two with one id one would lose its answer."""
    self._num_questions += 1
    # In predictions.json, 7 and "7" are one key.
    if str(qa_id) in self._seen and not self._is_training:
      raise UserError(
        f"{self._path}: expected every question to have an id of its own, found {qa_id!r} twice;"
        " predictions are kept by id, so one answer would be lost: rename one"
      )
    self._seen.add(str(qa_id))

  def log(self) -> None:
    """Says how answers are found, how many questions cannot be learnt, and that ids repeat."""
    if self._by_offsets:
      logging.info(
        "%s: answers of %d of %d contexts are taken by character offsets (`answer_offsets`): by"
        " default those of contexts written without spaces between words",
        self._path,
        self._by_offsets,
        self._contexts,
      )
    if repeated := self._num_questions - len(self._seen):
      logging.warning(
        "%s: %d of %d questions have an id that an earlier one has; all are learnt, but a"
        " prediction on this file would be refused",
        self._path,
        repeated,
        self._num_questions,
      )
    if self.num_used < self._num_questions:
      logging.warning(
        "%s: %d of %d questions are left out, as their answers are not found at their offsets"
        " (answer_start); the warnings above name them",
        self._path,
        self._num_questions - self.num_used,
        self._num_questions,
      )


def _check_version(qa: dict[str, Any], path: str, version_2_with_negative: bool) -> None:
  if qa.get("is_impossible") and not version_2_with_negative:
    raise UserError(
      f"{path}: question {qa['id']!r}: expected SQuAD 1.1, where every question has an answer,"
      " found 'is_impossible': true (SQuAD 2.0); pass `version_2_with_negative=True`"
    )
