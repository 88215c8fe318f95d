from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import checkpoints
from bert_tf.export.graphs import question_context
from bert_tf.export.graphs.question import QuestionModule
from bert_tf.export.kinds.questions import QuestionOptions, answer
from bert_tf.export.options import TextOptions
from bert_tf.heads import SpanModel
from bert_tf.tasks.squad.predictions import PredictionOptions

# The flags of the golden runs.
STRIDE, QUERY = 32, 24


def module_for(golden, config, tokenizer, version_2=False, static=True, **options):
  model = SpanModel(config)
  checkpoints.load(model, str(golden / "tiny_heads_ckpt"))
  text = TextOptions(tuple(tokenizer.vocab), tokenizer.settings, 96, static)
  prediction = PredictionOptions(version_2_with_negative=version_2, **options)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr("bert_tf.export.graphs.text.InGraphTokenizer", lambda *unused, **more: tokenizer)
    return QuestionModule(model, text, STRIDE, QUERY, prediction)


@pytest.fixture(scope="module")
def tokenizer(golden):
  from bert_tf.tokenization import InGraphTokenizer

  return InGraphTokenizer(str(golden / "vocab.txt"), True)


def questions(golden, version):
  with open(golden / f"squad_{version}.json", encoding="utf-8") as file:
    articles = json.load(file)["data"]
  return [
    (qa["id"], qa["question"], paragraph["context"])
    for article in articles
    for paragraph in article["paragraphs"]
    for qa in paragraph["qas"]
  ]


@pytest.mark.parametrize(
  ("version", "options"), [("v1", {}), ("v2", {"null_score_diff_threshold": -2.0})]
)
def test_answers_equal_predictions_of_the_original(golden, config, tokenizer, version, options):
  module = module_for(golden, config, tokenizer, version == "v2", **options)
  rows = questions(golden, version)
  _, asked, contexts = zip(*rows, strict=True)
  found = module._answer_questions(tf.constant(asked), tf.constant(contexts))
  with open(golden / "cli" / f"squad_{version}_predictions.json", encoding="utf-8") as file:
    expected = json.load(file)
  answers = {
    name: text.decode() for (name, *_), text in zip(rows, found["answer"].numpy(), strict=True)
  }
  assert answers == expected
  if version == "v2":
    with open(golden / "cli" / "squad_v2_null_odds.json", encoding="utf-8") as file:
      odds = json.load(file)
    np.testing.assert_allclose(
      found["no_answer_score"], [odds[name] for name, *_ in rows], atol=1e-4
    )
  # The offsets lead to the answer in the context as it was sent.
  for context, text, start, end in zip(
    contexts, found["answer"].numpy(), found["start"].numpy(), found["end"].numpy(), strict=True
  ):
    if start >= 0:
      assert " ".join(context[start:end].split()) == " ".join(text.decode().split())


def random_logits(table):
  """Logits that depend on the piece alone: many spans have the same text or score."""

  def logits(features):
    rows = tf.gather(tf.constant(table), features["input_ids"])
    return {"start_logits": rows[:, :, 0], "end_logits": rows[:, :, 1]}

  return logits


def assert_equals_python(module, logits, asked, contexts):
  """Answers, n best and their places are those of run_squad.py's code."""
  module.answer_text = logits
  found = tf.function(module.answer_questions, autograph=False)(
    tf.constant(asked), tf.constant(contexts)
  )
  for i, pair in enumerate(zip(asked, contexts, strict=True)):
    expected = answer(
      lambda f: {k: v.numpy() for k, v in logits(f).items()},
      module.text,
      pair,
      QuestionOptions(STRIDE, QUERY, module._prediction),
    )
    count = int(found["num_answers"][i])
    texts = [text.decode() for text in found["answers"][i, :count].numpy()]
    assert texts == [one.text for one in expected.nbest]
    for side in ("start", "end"):
      places = [getattr(one, side) for one in expected.nbest]
      assert found[f"{side}s"][i, :count].numpy().tolist() == [
        -1 if place is None else place for place in places
      ], pair
    np.testing.assert_allclose(
      found["probabilities"][i, :count], [a.probability for a in expected.nbest], atol=1e-6
    )
    assert found["answer"][i].numpy().decode() == expected.text
    assert int(found["start"][i]) == (-1 if expected.start is None else expected.start)


def test_nbest_equals_the_python_finder_on_every_question(golden, config, tokenizer):
  """Without padding, and with random logits, which give many spans the same text or score."""
  module = module_for(golden, config, tokenizer, True, static=False)
  draw = np.random.default_rng(3)
  for _ in range(2):
    table = (draw.integers(-16, 16, [1200, 2]) / 4).astype(np.float32)
    _, asked, contexts = zip(*questions(golden, "v2")[::3], strict=True)
    assert_equals_python(module, random_logits(table), asked, contexts)


@pytest.mark.parametrize("answer_offsets", [None, True, False])
def test_places_of_awkward_lines_equal_those_of_python(golden, config, tokenizer, answer_offsets):
  """By default a line decides for itself whether its answers are taken by offsets."""
  module = module_for(golden, config, tokenizer, static=False, answer_offsets=answer_offsets)
  lines = json.loads((golden / "tokenization_lines.json").read_text(encoding="utf-8"))
  lines = [line for line in lines if len(line) < 300][:: 5 if answer_offsets is not None else 2]
  contexts = ["門開著，燈亮著。“門”開著，窗關著。", "a 中文 b", *lines]
  table = np.random.default_rng(5).normal(size=[1200, 2]).astype(np.float32)
  # Lone surrogates cannot be sent.
  contexts = [c for c in contexts if not any(0xD800 <= ord(x) < 0xE000 for x in c)]
  assert_equals_python(module, random_logits(table), ["什么?"] * len(contexts), contexts)


def test_the_place_is_where_the_model_chose(golden, config, tokenizer):
  context = "the moon, the moon and the moon."
  for wanted, answer_offsets in ((4, None), (14, False), (27, None), (14, True)):
    module = module_for(golden, config, tokenizer, static=False, answer_offsets=answer_offsets)
    _, starts, _ = tokenizer.tokenize_with_offsets(tf.constant([context]))
    piece = starts[0].numpy().tolist().index(wanted)

    def logits(features, place=2 + piece):
      row = tf.one_hot(tf.fill(tf.shape(features["input_ids"])[:1], place),
                       tf.shape(features["input_ids"])[1]) * 9.0  # fmt: skip
      return {"start_logits": row, "end_logits": row}

    module.answer_text = logits
    found = tf.function(module.answer_questions, autograph=False)([""], [context])
    text = context[wanted : int(found["end"][0])]
    assert int(found["start"][0]) == wanted and found["answer"][0].numpy().decode() == text


def test_empty_contexts_and_batches(golden, config, tokenizer):
  module = module_for(golden, config, tokenizer, static=False)
  found = module._answer_questions(tf.constant(["Who?", ""]), tf.constant(["", "Ada did."]))
  assert found["answer"][0] == b"empty" and found["start"][0] == -1
  assert found["answer"][1] != b""
  none = tf.zeros([0], tf.string)
  assert module._answer_questions(none, none)["answer"].shape == (0,)


def test_words_are_split_as_the_original_reads_contexts(golden, tokenizer):
  text = "\t Ada\u00a0L.\u202fwrote\r\n it\u3000there "
  context = question_context.read_context(
    tf.constant(["", text, "x"]), tokenizer.tokenize_with_offsets, tokenizer.basic_tokens
  )
  words = [word.decode() for word in context.words.numpy()]
  assert words == ["Ada\u00a0L.", "wrote", "it\u3000there", "x"]
  assert context.word_splits.numpy().tolist() == [0, 0, 3, 4]
  letters = "".join(text[place] for place in context.char_places.numpy()[:-1])
  assert letters == "".join(words[:3])
