"""Answers to questions, as parts of a context."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.estimators.base import BertEstimator, columns_of, two
from bert_tf.files import atomic_writer
from bert_tf.tasks.squad import character_scores, evaluation, scores
from bert_tf.tasks.squad.data import SquadData, SquadOptions
from bert_tf.trained_model import inputs

if TYPE_CHECKING:
  from typing_extensions import Self

_FILES = {"train": "train_questions.json", "dev": "validation_questions.json"}


@dataclasses.dataclass(repr=False, eq=False, kw_only=True)
class BertQuestionAnswerer(BertEstimator):
  """Finds answers in contexts, as run_squad.py does; for the parameters see its base.

  >>> import bert_tf
  >>> pairs = [("Who came?", "Ada came late."), ("When did Ada come?", "Ada came late.")]
  >>> answerer = bert_tf.BertQuestionAnswerer(
  ...   "tiny_bert", epochs=1, train_batch_size=2, max_seq_length=32, max_query_length=10
  ... )
  >>> answerer.fit(pairs, ["Ada", "late"]).predict(pairs).shape
  (2,)

  Args:
    doc_stride: how many pieces windows on long contexts start apart.
    max_query_length: longer questions are cut.
    n_best_size: how many answers are kept.
    max_answer_length: longest answer, in pieces.
    version_2_with_negative: whether a question may have no answer; None: as in the training data,
      where "" says so.
    null_score_diff_threshold: no answer is predicted if its score is ahead by more than this.
    answer_offsets: whether answers are taken by character offsets; None: in contexts written
      without spaces between words.

  Attributes:
    trained_: the model, see `bert_tf.load`.
    history_: losses and scores of the training, as in metrics.jsonl.
  """

  doc_stride: int = 128
  max_query_length: int = 64
  n_best_size: int = 20
  max_answer_length: int = 30
  version_2_with_negative: bool | None = None
  null_score_diff_threshold: float = 0.0
  answer_offsets: bool | None = None

  def fit(self, X: Any, y: Any = None, validation_data: Any = None) -> Self:
    """Fine-tunes the checkpoint.

    Args:
      X: pairs (question, context), see `inputs.texts_of`.
      y: the answers: a part of the context, whose first place counts; (answer, place) where another
        one is meant; "" where there is none.
      validation_data: (X, y), which `eval_steps` evaluates on.

    Raises:
      UserError: an answer is not in its context, or see `FineTuning`.
    """
    found = {"train": _squad(X, y)}
    if validation_data is not None:
      found["dev"] = _squad(*two(validation_data))
    negative = self.version_2_with_negative
    if negative is None:
      negative = any(qa["is_impossible"] for qa in _questions(found["train"]))

    def make_data(run, weights, directory):
      paths = {split: os.path.join(directory, _FILES[split]) for split in found}
      for split, squad in found.items():
        with atomic_writer(paths[split]) as file:
          json.dump(squad, file)
      options = SquadOptions(
        paths["train"],
        paths.get("dev"),
        self.doc_stride,
        self.max_query_length,
        self.n_best_size,
        self.max_answer_length,
        negative,
        self.null_score_diff_threshold,
        answer_offsets=self.answer_offsets,
      )
      return SquadData(options, run, weights)

    self._train(make_data, SquadData.default_max_seq_length, do_predict="dev" in found)
    return self

  def predict(self, X: Any) -> np.ndarray:
    """The answer to every (question, context): strings [n], "" where there is none."""
    pairs = _pairs(X)
    questions, contexts = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    found = self._fitted().answer(questions, contexts, self.predict_batch_size)
    return np.array([prediction.text for prediction in found], dtype=object)

  def score(self, X: Any, y: Any) -> float:
    """The mean F1 of the answers' words, from 0 to 1, as SQuAD's scorer counts them.

    Of Chinese it is that of characters, as CMRC's does.
    """
    squad = _squad(X, y)
    truth = evaluation.right_answers(squad) or {}
    texts = dict(zip(truth, self.predict(X).tolist(), strict=True))
    if any(not any(answers) for answers in truth.values()):
      return evaluation.evaluate_v2(truth, texts, dict.fromkeys(texts, 0.0))["f1"] / 100
    if scores.is_chinese_set(squad):
      return character_scores.evaluate(truth, texts)["f1"] / 100
    return evaluation.evaluate_v1(truth, texts)["f1"] / 100


def _pairs(X: Any) -> list[tuple[str, str]]:
  pairs = inputs.texts_of(X)
  if any(context is None for _, context in pairs):
    raise UserError("expected pairs (question, context), found single texts")
  return [(question, context or "") for question, context in pairs]


def _squad(X: Any, y: Any) -> dict[str, Any]:
  """A file of SQuAD, with a paragraph for every question."""
  rows, answers = columns_of(X, y)
  paragraphs: list[dict[str, Any]] = []
  repeated = 0
  for number, ((question, context), answer) in enumerate(zip(_pairs(rows), answers, strict=True)):
    text, place = _answer(answer)
    repeated += place is None and bool(text) and context.count(text) > 1
    place = context.find(text) if place is None else place
    if text and context[place : place + len(text)] != text:
      raise UserError(f"example {number}: expected an answer out of its context, found {text!r}")
    qa = {"id": str(number), "question": question, "is_impossible": not text}
    qa["answers"] = [{"text": text, "answer_start": place}] if text else []
    # Questions about one context follow each other in a paragraph, which is read once.
    if not paragraphs or paragraphs[-1]["context"] != context:
      paragraphs.append({"context": context, "qas": []})
    paragraphs[-1]["qas"].append(qa)
  if repeated:
    logging.warning(
      "%d answers stand at several places of their contexts; the first ones are taken. Give"
      " (answer, place) where others are meant",
      repeated,
    )
  return {"version": "2.0", "data": [{"title": "", "paragraphs": paragraphs}]}


def _answer(answer: Any) -> tuple[str, int | None]:
  if isinstance(answer, str):
    return str(answer), None
  if isinstance(answer, Sequence) and len(answer) == 2 and isinstance(answer[0], str):
    return answer[0], int(answer[1])
  raise UserError(f"expected an answer as a text, or (text, place), found {answer!r:.60}")


def _questions(squad: dict[str, Any]) -> list[dict[str, Any]]:
  return [qa for article in squad["data"] for p in article["paragraphs"] for qa in p["qas"]]
