"""The official scores of SQuAD 1.1 (Rajpurkar et al., 2016) and 2.0 (Rajpurkar et al., 2018).

Definitions are those of the data sets' own scorers, evaluate-v1.1.py and evaluate-v2.0.py. An
answer is compared after lower-casing and without punctuation, articles and extra white space;
where a question has several right answers, the best match counts. All scores are percentages.
"""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLE = re.compile(r"\b(a|an|the)\b")

Answers = Mapping[str, Sequence[str]]


def normalize_answer(text: str) -> str:
  """Lower-cases `text`; removes ASCII punctuation, then a/an/the, then extra white space."""
  return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, truth: str) -> float:
  """1 if both are the same after normalization, else 0."""
  return float(normalize_answer(prediction) == normalize_answer(truth))


def f1(prediction: str, truth: str, no_tokens: float | None = None) -> float:
  """Harmonic mean of precision and recall over the normalized words as bags.

  Args:
    prediction: what was answered.
    truth: a right answer.
    no_tokens: the score if both have no words left; None: 0, as SQuAD 1.1 has it (2.0: 1).
  """
  found = normalize_answer(prediction).split()
  expected = normalize_answer(truth).split()
  if not found and not expected:
    return no_tokens or 0.0
  common = sum((collections.Counter(found) & collections.Counter(expected)).values())
  # 2pr / (p + r), in the scorers' order of operations, so that results agree to the last bit.
  precision = common / len(found) if found else 0.0
  recall = common / len(expected) if expected else 0.0
  return 2 * precision * recall / (precision + recall) if common else 0.0


def evaluate_v1(answers: Answers, predictions: Mapping[str, str]) -> dict[str, float]:
  """Scores of SQuAD 1.1.

  Args:
    answers: the right answers of each question, at least one.
    predictions: by question; one that is missing scores 0.

  Returns:
    exact_match and f1.
  """
  return {
    "exact_match": _mean(_best(exact_match, answers, predictions).values()),
    "f1": _mean(_best(f1, answers, predictions).values()),
  }


def evaluate_v2(
  answers: Answers, predictions: Mapping[str, str], null_odds: Mapping[str, float] | None = None
) -> dict[str, float]:
  """Scores of SQuAD 2.0: those of evaluate-v2.0.py, names and order included.

  Args:
    answers: the right answers of each question; an empty list if it has none.
    predictions: by question, "" for no answer; one that is missing scores 0.
    null_odds: how much no answer is preferred; given, the best thresholds are searched: the scores
      if every question whose null odds exceed the threshold had no answer.

  Returns:
    exact, f1, total; the same for questions with (HasAns_) and without an answer (NoAns_), where
    there are any; and with null_odds best_exact, best_exact_thresh, best_f1, best_f1_thresh.
  """
  has_answer = {key: bool(texts) for key, texts in answers.items()}
  # A right answer that normalizes to nothing, such as "the", cannot be matched and is left out.
  truths = {
    key: [text for text in texts if normalize_answer(text)] or [""]
    for key, texts in answers.items()
  }
  exact_scores = _best(exact_match, truths, predictions)
  f1_scores = _best(lambda found, truth: f1(found, truth, no_tokens=1.0), truths, predictions)
  scores: dict[str, float] = {}
  groups = {
    "": list(answers),
    "HasAns_": [key for key in answers if has_answer[key]],
    "NoAns_": [key for key in answers if not has_answer[key]],
  }
  for prefix, keys in groups.items():
    if keys:
      scores[f"{prefix}exact"] = _mean([exact_scores[key] for key in keys])
      scores[f"{prefix}f1"] = _mean([f1_scores[key] for key in keys])
      scores[f"{prefix}total"] = len(keys)
  if null_odds is not None:
    for name, of_question in (("exact", exact_scores), ("f1", f1_scores)):
      best, threshold = _best_threshold(of_question, predictions, null_odds, has_answer)
      scores[f"best_{name}"] = best
      scores[f"best_{name}_thresh"] = threshold
  return scores


def _best(
  score: Callable[[str, str], float], answers: Answers, predictions: Mapping[str, str]
) -> dict[str, float]:
  """Each question's highest score over its right answers."""
  return {
    key: max(score(predictions[key], truth) for truth in truths) if key in predictions else 0.0
    for key, truths in answers.items()
  }


def _mean(scores: Any) -> float:
  return 100.0 * sum(scores) / len(scores)


def _best_threshold(
  scores: Mapping[str, float],
  predictions: Mapping[str, str],
  null_odds: Mapping[str, float],
  has_answer: Mapping[str, bool],
) -> tuple[float, float]:
  """The highest mean score over all thresholds on the null odds, and its threshold.

  Starts from "no answer" everywhere and takes the predictions in, most confident first.
  """
  current = best = float(sum(not value for value in has_answer.values()))
  threshold = 0.0
  for key in sorted(null_odds, key=null_odds.__getitem__):
    if key not in scores:
      continue
    if has_answer[key]:
      current += scores[key]
    elif predictions.get(key):
      current -= 1
    if current > best:
      best, threshold = current, null_odds[key]
  return 100.0 * best / len(scores), threshold


def right_answers(squad: Mapping[str, Any]) -> dict[str, list[str]] | None:
  """The right answers in a parsed SQuAD file, to score predictions with.

  Returns:
    The texts by question, [] for a question marked `is_impossible`; None if any other question
    comes without answers, as in a test set.
  """
  answers, unanswered = {}, []
  for article in squad["data"]:
    for paragraph in article["paragraphs"]:
      for qa in paragraph["qas"]:
        found = qa.get("answers")
        if _is_answer_list(found) and (found or qa.get("is_impossible")):
          answers[qa["id"]] = [answer["text"] for answer in found]
        else:
          unanswered.append(qa["id"])
  if not unanswered:
    return answers
  if answers:
    logging.warning(
      "nothing is scored, as %d of %d questions have no right answers in the file: question %r has"
      " none",
      len(unanswered),
      len(answers) + len(unanswered),
      unanswered[0],
    )
  return None


def _is_answer_list(value: Any) -> bool:
  return isinstance(value, list) and all(
    isinstance(answer, dict) and isinstance(answer.get("text"), str) for answer in value
  )
