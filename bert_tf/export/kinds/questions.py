"""The export of a question-answering model: parts of a context, as run_squad.py finds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bert_tf.errors import UserError
from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan, TextOptions
from bert_tf.export.settings import settle
from bert_tf.tasks.squad.features import check_lengths
from bert_tf.tasks.squad.predictions import Prediction, PredictionOptions
from bert_tf.tasks.task_data import setting

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Arrays, Samples

_SAMPLES = (
  ("What is sweet?", "Crème  brûlée is a (sweet) dish;\tit isn't salty, said O'Brien."),
  ("Who? " * 40, "One of a thousand words. " * 60),
  ("Why?", ""),
  ("门怎样？", "门开着，灯亮着。“门”开着，窗关着。"),
)


@dataclasses.dataclass(frozen=True)
class QuestionOptions:
  """How contexts are read and answers chosen; flags of run_squad.py have the same names."""

  doc_stride: int = 128
  max_query_length: int = 64
  prediction: PredictionOptions = dataclasses.field(default_factory=PredictionOptions)

  @classmethod
  def of(cls, settings: Mapping[str, Any]) -> QuestionOptions:
    """Those among the settings of a model; what is not there has its default."""

    def pick(kind: type, **more: Any) -> Any:
      names = {field.name for field in dataclasses.fields(kind)} & settings.keys()
      return kind(**{name: settings[name] for name in names}, **more)

    return pick(cls, prediction=pick(PredictionOptions))


def _defaults() -> dict[str, Any]:
  """The settings by which a question is answered, as run_squad.py has them."""
  defaults = dataclasses.asdict(QuestionOptions())
  prediction = defaults.pop("prediction")
  del prediction["verbose_logging"]
  return {**defaults, **prediction}


class Questions(Kind):
  """Answers a question with a part of its context."""

  does = "answers questions with a part of a given context"
  example = {"question": "Who wrote it?", "context": "Ada wrote it."}  # noqa: RUF012

  def settings(self, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """See `Kind`."""
    of_answers = {
      # By default every context decides for itself: nothing that weights would have to know.
      name: (setting if default is None else settle)(
        name, given.get(name), known.get(name), default
      )
      for name, default in _defaults().items()
    }
    return {**known, **{name: value for name, value in of_answers.items() if value is not None}}

  def check(self, plan: GraphPlan) -> None:
    """See `Kind`."""
    options = QuestionOptions.of(plan.about.settings)
    check_lengths(plan.text.max_seq_length, options.doc_stride, options.max_query_length)
    for name in ("n_best_size", "max_answer_length"):
      if (value := getattr(options.prediction, name)) < 1:
        raise UserError(f"`{name}`: expected at least 1, found {value}")

  def facts(self, plan: GraphPlan) -> dict[str, Any]:
    """See `Kind`."""
    return dataclasses.asdict(QuestionOptions.of(plan.about.settings))

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`; no answer depends on a pooler."""
    from bert_tf.heads import SpanModel

    return SpanModel(plan.about.config, policy, add_pooler=False)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs.question import QuestionModule

    options = QuestionOptions.of(plan.about.settings)
    return QuestionModule(
      model, plan.text, options.doc_stride, options.max_query_length, options.prediction
    )

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`; the answers are those of run_squad.py's code."""
    from bert_tf.export import samples

    def answers(features: Arrays) -> dict[str, np.ndarray]:
      outputs = samples.run(model, features)
      return {name: outputs[name].numpy() for name in ("start_logits", "end_logits")}

    found = samples.of_texts(answers, plan.text, pairs=False)
    del found["pairs"]
    options = QuestionOptions.of(plan.about.settings)
    asked, shown = found["tokenize"]
    pairs = zip(*samples.columns(), strict=True)
    windows = [len(_windows(plan.text, pair, options)[1]) for pair in pairs]
    found["tokenize"] = asked, {**shown, "num_windows": np.array(windows, np.int32)}
    predictions = [answer(answers, plan.text, pair, options) for pair in _SAMPLES]
    questions, contexts = (np.array(column, object) for column in zip(*_SAMPLES, strict=True))
    expected = {
      "answer": np.array([prediction.text for prediction in predictions], object),
      "num_answers": np.array([len(prediction.nbest) for prediction in predictions], np.int32),
      **{
        side: np.array(
          [-1 if (place := getattr(p, side)) is None else place for p in predictions], np.int32
        )
        for side in ("start", "end")
      },
    }
    asked = {"question": questions, "context": contexts}
    return {**found, "serving_default": (asked, expected)}


def answer(
  run: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
  text: TextOptions,
  question_and_context: tuple[str, str],
  options: QuestionOptions,
) -> Prediction:
  """The answer of run_squad.py to one question.

  Args:
    run: features [windows, S] to `start_logits` and `end_logits`.
    text: how the model reads.
    question_and_context: the two texts.
    options: how the context is cut and spans are chosen.
  """
  from bert_tf.tasks.squad.predictions import AnswerFinder, WindowLogits
  from bert_tf.tokenization import FullTokenizer

  logits = []
  example, windows = _windows(text, question_and_context, options)
  for window in windows:
    width = text.max_seq_length if text.static_length else window.num_tokens
    record = window.to_record(width)
    names = ("input_ids", "input_mask", "segment_ids")
    outputs = run({name: np.array([record[name]], np.int32) for name in names})
    logits.append(WindowLogits(window, outputs["start_logits"][0], outputs["end_logits"][0]))
  tokenizer = FullTokenizer(text.tokens, settings=text.tokenizer)
  return AnswerFinder(tokenizer, options.prediction).predict(example, logits)


def _windows(text: TextOptions, question_and_context: tuple[str, str], options: QuestionOptions):
  """The example of a question, and the windows of its context, as run_squad.py makes them."""
  from bert_tf.tasks.squad.contexts import Context
  from bert_tf.tasks.squad.examples import question_about
  from bert_tf.tasks.squad.features import convert_examples_to_features
  from bert_tf.tokenization import FullTokenizer

  tokenizer = FullTokenizer(text.tokens, settings=text.tokenizer)
  question, context = question_and_context
  example = question_about("q", question, Context(context, options.prediction.answer_offsets))
  lengths = text.max_seq_length, options.doc_stride, options.max_query_length
  return example, list(convert_examples_to_features([example], tokenizer, *lengths, False))
