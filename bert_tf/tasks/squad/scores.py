"""Which official scores a file of questions gets: SQuAD's, or CMRC 2018's for Chinese."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.squad import character_scores, evaluation
from bert_tf.tasks.squad.contexts import Context
from bert_tf.tasks.squad.layouts import load_squad, squad_paragraphs
from bert_tf.tasks.squad.predictions import Prediction
from bert_tf.tokenization.writing_systems import is_chinese

METRICS = ("squad", "cmrc")

Scorer = Callable[[Mapping[str, Prediction]], dict[str, float]]


def scorer(path: str, metric: str | None, version_2_with_negative: bool) -> Scorer | None:
  """What scores predictions for the questions of a file; None if it lacks right answers.

  Args:
    path: the file.
    metric: "squad": those of SQuAD 1.1, or of 2.0; "cmrc": those of CMRC 2018, with SQuAD's beside
      them; None: CMRC's where most contexts are Chinese and every question has an answer.
    version_2_with_negative: whether questions may have no answer.

  Raises:
    UserError: a metric that there is not, or CMRC's where questions have no answer.
  """
  if metric not in (None, *METRICS):
    raise UserError(f"`metric`: expected {' or '.join(METRICS)}, found {metric!r}")
  if metric == "cmrc" and version_2_with_negative:
    raise UserError(
      "`metric=cmrc`: expected an answer to every question, found `version_2_with_negative`; pass"
      " `metric=squad`"
    )
  squad = load_squad(path)
  # Checks the layout, under the file's name.
  for _ in squad_paragraphs(squad, path):
    pass
  answers = evaluation.right_answers(squad)
  if answers is None:
    return None
  if version_2_with_negative:
    return lambda predictions: _version_2(answers, predictions)
  if metric is None and is_chinese_set(squad):
    metric = "cmrc"
    logging.info(
      "%s is Chinese: exact_match and f1 are those of CMRC 2018, by characters; SQuAD's stand"
      " beside them (`metric=squad` for these alone)",
      path,
    )
  score = _cmrc if metric == "cmrc" else evaluation.evaluate_v1
  return lambda predictions: score(answers, _texts(predictions))


def _cmrc(answers: evaluation.Answers, texts: Mapping[str, str]) -> dict[str, float]:
  of_squad = evaluation.evaluate_v1(answers, texts)
  return {
    **character_scores.evaluate(answers, texts),
    **{f"squad_{name}": value for name, value in of_squad.items()},
  }


def _version_2(
  answers: evaluation.Answers, predictions: Mapping[str, Prediction]
) -> dict[str, float]:
  null_odds = {key: prediction.null_odds or 0.0 for key, prediction in predictions.items()}
  return evaluation.evaluate_v2(answers, _texts(predictions), null_odds)


def _texts(predictions: Mapping[str, Prediction]) -> dict[str, str]:
  return {key: prediction.text for key, prediction in predictions.items()}


def is_chinese_set(squad: dict[str, Any]) -> bool:
  """Whether most contexts of a parsed file are Chinese."""
  paragraphs = squad_paragraphs(squad, "")
  found = [is_chinese(Context(paragraph["context"]).words) for paragraph in paragraphs]
  return sum(found) > len(found) / 2
