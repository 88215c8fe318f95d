"""Answers to questions about texts in memory, as run_squad.py finds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bert_tf.model_dir import Description
from bert_tf.tasks.squad.contexts import Context
from bert_tf.tasks.squad.examples import question_about
from bert_tf.tasks.squad.features import convert_examples_to_features
from bert_tf.tasks.squad.predictions import (
  AnswerFinder,
  Prediction,
  PredictionOptions,
  WindowLogits,
  predictions_by_question,
)
from bert_tf.tasks.vectors.token_vectors import InputFeatures
from bert_tf.tokenization import FullTokenizer
from bert_tf.trained_model import computation
from bert_tf.trained_model.computation import Computation
from bert_tf.trained_model.inputs import Text


def answer(
  pairs: Sequence[Text],
  tokenizer: FullTokenizer,
  compute: Computation,
  about: Description,
  max_seq_length: int,
  batch_size: int,
) -> list[Prediction]:
  """Returns the answer to every (question, context), with the settings of the training."""
  settings = about.settings
  # A model that never said so has no longer question than leaves half of a window to the context.
  longest = settings.get("max_query_length", min(64, max_seq_length // 2))
  names = {field.name for field in dataclasses.fields(PredictionOptions)} & set(settings)
  prediction = PredictionOptions(**{n: settings[n] for n in names})
  contexts = {text: Context(text or "", prediction.answer_offsets) for _, text in pairs}
  examples = [
    question_about(str(i), question, contexts[context])
    for i, (question, context) in enumerate(pairs)
  ]
  stride = settings.get("doc_stride", min(128, max_seq_length - longest - 3))
  windows = list(
    convert_examples_to_features(examples, tokenizer, max_seq_length, stride, longest, False)
  )
  sequences = [InputFeatures(w.unique_id, [], w.input_ids, w.segment_ids) for w in windows]
  results = compute.run(sequences, "spans", computation.spans, batch_size)
  logits = [WindowLogits(w, *found) for w, found in zip(windows, results, strict=True)]
  finder = AnswerFinder(tokenizer, prediction)
  return [found for _, found in predictions_by_question(examples, logits, finder)]
