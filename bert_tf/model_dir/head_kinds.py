"""What stands on an encoder: the kinds of heads, and how files say which one it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bert_tf.errors import UserError

CLASSIFICATION, MULTILABEL, REGRESSION = "classification", "multilabel", "regression"
TOKENS, QUESTION_ANSWERING = "tokens", "question_answering"
PRETRAINING, ENCODER = "pretraining", "encoder"
# One label, several labels, a number; a label for every token; an answer's place in a text; masked
# words (and next sentence); none.
HEADS = (
  CLASSIFICATION, MULTILABEL, REGRESSION, TOKENS, QUESTION_ANSWERING, PRETRAINING, ENCODER,
)  # fmt: skip
# Those that have names for their outputs.
LABELLED = (CLASSIFICATION, MULTILABEL, TOKENS)
# Those whose weights are `output_weights` on the pooled vector.
SEQUENCE_HEADS = (CLASSIFICATION, MULTILABEL, REGRESSION)

# transformers' classes, less "Bert" or "TFBert", of models that are not classifiers of sequences.
_ARCHITECTURES = {
  "ForTokenClassification": TOKENS, "ForQuestionAnswering": QUESTION_ANSWERING,
  "ForMaskedLM": PRETRAINING, "ForPreTraining": PRETRAINING,
  "ForNextSentencePrediction": PRETRAINING, "Model": ENCODER,
}  # fmt: skip
PROBLEM_TYPES = {
  "single_label_classification": CLASSIFICATION, "multi_label_classification": MULTILABEL,
  "regression": REGRESSION,
}  # fmt: skip


def of_hugging_face(config: Mapping[str, Any], path: str) -> str | None:
  """Returns the head that a Hugging Face config.json names, or None where it names none.

  Args:
    config: its content.
    path: its name, for messages.

  Raises:
    UserError: the model has a head that there is none of here, such as multiple choice.
  """
  architectures = config.get("architectures")
  if not isinstance(architectures, list) or not architectures:
    return PROBLEM_TYPES.get(str(config.get("problem_type")))
  name = re.sub(r"^(TF|Flax)?Bert", "", str(architectures[0]))
  if name == "ForSequenceClassification":
    return _of_sequences(config)
  if name == "ForMultipleChoice":
    raise UserError(
      f"{path}: expected one of the heads {', '.join(HEADS)}, found multiple choice"
      f" ({architectures[0]}), which scores every choice by itself; no head here does that"
    )
  return _ARCHITECTURES.get(name)


def _of_sequences(config: Mapping[str, Any]) -> str:
  """As transformers decides where `problem_type` is absent: by the number of labels."""
  stated = PROBLEM_TYPES.get(str(config.get("problem_type")))
  if stated:
    return stated
  id2label = config.get("id2label")
  count = len(id2label) if isinstance(id2label, dict) else config.get("num_labels", 2)
  return REGRESSION if count == 1 else CLASSIFICATION


def problem_type(head: str) -> str | None:
  """Returns transformers' `problem_type` of a head, or None where it has none."""
  return next((name for name, kind in PROBLEM_TYPES.items() if kind == head), None)


def check(head: str, stated: str | None, where: str) -> None:
  """Refuses a head that contradicts what lies beside the weights.

  Args:
    head: the one asked for.
    stated: what the files say; None: nothing. Weights with a head can serve as an encoder.
    where: names the files in the message.

  Raises:
    UserError: the two contradict each other.
  """
  if stated in (None, head) or head == ENCODER:
    return
  raise UserError(
    f"expected the task {stated}, as {where} says of these weights, found {head}; leave the task"
    " out, or give the weights that were trained for it"
  )
