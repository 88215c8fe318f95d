"""Answers against those of the original on the same logits (tests/golden/squad/wp_*)."""

from __future__ import annotations

import gzip
import json
import logging as python_logging

import numpy as np
import pytest
from squad_goldens import convert, golden_lines, read, tokenizer_of

from bert_tf.tasks.squad.examples import SquadExample, read_squad_examples
from bert_tf.tasks.squad.features import convert_examples_to_features
from bert_tf.tasks.squad.predictions import (
  NO_SPAN_NULL_ODDS,
  AnswerFinder,
  PredictionOptions,
  WindowLogits,
  align,
  get_final_text,
  predictions_by_question,
  write_predictions,
)
from bert_tf.tokenization import FullTokenizer

RUNS = [
  "v1_random", "v1_spiky", "v1_ties", "v1_cased_spiky", "v1_checkpoint",
  "v2_random_small_nbest", "v2_spiky", "v2_spiky_thr-2", "v2_ties", "v2_checkpoint",
  "v2_checkpoint_thr-2",
]  # fmt: skip


def predict(golden, run):
  """Runs the predictions of a golden; returns (its settings, {qas_id: Prediction})."""
  settings = json.loads((golden / "squad" / "summary.json").read_text())[f"wp_{run}"]
  args = golden_lines(golden, settings["features"])[0]["args"]
  windows = list(convert(golden, args))
  logits = np.load(golden / "squad" / settings["logits"])
  assert logits["unique_ids"].tolist() == [window.unique_id for window in windows]
  starts, ends = (
    logits[name].astype(np.float32) for name in ("start_logits", "end_logits")
  )  # fmt: skip
  finder = AnswerFinder(
    tokenizer_of(golden, args["vocab"]),
    PredictionOptions(
      settings["n_best_size"],
      settings["max_answer_length"],
      settings["version_2_with_negative"],
      settings["null_score_diff_threshold"],
    ),
  )
  answers = predictions_by_question(
    read(golden, args), map(WindowLogits, windows, starts, ends), finder
  )
  return settings, {example.qas_id: prediction for example, prediction in answers}


def golden_json(golden, run, name):
  """A file of a golden run; the runs with another threshold share the n-best list and the odds."""
  path = golden / "squad" / f"wp_{run}_{name}"
  if not path.exists():
    path = golden / "squad" / f"wp_{run.removesuffix('_thr-2')}_{name}"
  opener = gzip.open if path.suffix == ".gz" else open
  with opener(path, "rt", encoding="utf-8") as file:
    return file.read()


@pytest.mark.parametrize("run", RUNS)
def test_files_are_the_originals(golden, run, tmp_path):
  settings, predictions = predict(golden, run)
  crashed = {key: predictions.pop(key) for key in settings["crashing_qas_ids_left_out"]}
  files = [tmp_path / name for name in ("predictions", "nbest", "null_odds")]
  version_2 = settings["version_2_with_negative"]
  write_predictions(predictions, files[0], files[1], files[2] if version_2 else None)
  assert files[0].read_text() == golden_json(golden, run, "predictions.json")
  expected = json.loads(golden_json(golden, run, "nbest.json.gz"))
  found = json.loads(files[1].read_text())
  assert list(found) == list(expected)
  for qas_id, answers in expected.items():
    assert [list(answer) for answer in found[qas_id]] == [list(answer) for answer in answers]
    assert [answer["text"] for answer in found[qas_id]] == [answer["text"] for answer in answers]
    for name in ("probability", "start_logit", "end_logit"):
      np.testing.assert_allclose(
        [answer[name] for answer in found[qas_id]],
        [answer[name] for answer in answers],
        rtol=0,
        atol=1e-6,
      )
  if version_2:
    expected_odds = json.loads(golden_json(golden, run, "null_odds.json"))
    odds = json.loads(files[2].read_text())
    assert list(odds) == list(expected_odds)
    np.testing.assert_allclose(list(odds.values()), list(expected_odds.values()), atol=1e-6)
  else:
    assert not files[2].exists()
  for prediction in crashed.values():
    assert prediction.text == ""
    assert [(answer.text, answer.probability) for answer in prediction.nbest] == [("", 1.0)]
    assert prediction.null_odds == NO_SPAN_NULL_ODDS


@pytest.mark.parametrize("run", ["v1_random", "v2_spiky"])
def test_files_are_equal_byte_for_byte_where_logits_are_exact(golden, run, tmp_path):
  _, predictions = predict(golden, run)
  write_predictions(predictions, tmp_path / "predictions", tmp_path / "nbest")
  assert (tmp_path / "nbest").read_text() == golden_json(golden, run, "nbest.json.gz")


def windows_of(golden, example, start_logits, end_logits):
  tokenizer = tokenizer_of(golden, "uncased")
  windows = convert_examples_to_features([example], tokenizer, 16, 8, 4, False)
  return tokenizer, [
    WindowLogits(window, np.array(start_logits), np.array(end_logits)) for window in windows
  ]


def test_no_valid_span(golden):
  """[CLS] the [SEP] the moon [SEP]: the only best start lies after the only best end."""
  example = SquadExample("q", "the", ["The", "Moon"])
  tokenizer, windows = windows_of(golden, example, [1, 0, 0, 0, 5, 0], [2, 0, 0, 5, 0, 0])
  version_1 = AnswerFinder(tokenizer, PredictionOptions(n_best_size=1)).predict(example, windows)
  assert (version_1.text, version_1.null_odds) == ("empty", None)
  options = PredictionOptions(n_best_size=1, version_2_with_negative=True)
  version_2 = AnswerFinder(tokenizer, options).predict(example, windows)
  assert (version_2.text, version_2.null_odds) == ("", NO_SPAN_NULL_ODDS)
  assert [(a.text, a.start_logit, a.end_logit) for a in version_2.nbest] == [("", 1.0, 2.0)]


@pytest.mark.parametrize(("version_2", "text"), [(False, "empty"), (True, "")])
def test_context_without_words(golden, version_2, text):
  options = PredictionOptions(version_2_with_negative=version_2)
  finder = AnswerFinder(tokenizer_of(golden, "uncased"), options)
  examples = [SquadExample(f"q{i}", "the", []) for i in range(2)]
  predictions = list(predictions_by_question(examples, [], finder))
  assert [(example.qas_id, answer.text) for example, answer in predictions] == [
    ("q0", text),
    ("q1", text),
  ]


def test_threshold_and_null_odds(golden):
  example = SquadExample("q", "the", ["The", "Moon"])
  logits = [3, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0]
  tokenizer, windows = windows_of(golden, example, *logits)
  for threshold, text in [(0, ""), (2.9, ""), (3, "The Moon")]:
    options = PredictionOptions(version_2_with_negative=True, null_score_diff_threshold=threshold)
    prediction = AnswerFinder(tokenizer, options).predict(example, windows)
    assert (prediction.text, prediction.null_odds) == (text, 3.0)
    assert sum(answer.probability for answer in prediction.nbest) == pytest.approx(1)


def test_longest_answer(golden):
  example = SquadExample("q", "the", ["The", "Moon"])
  tokenizer, windows = windows_of(golden, example, [0, 0, 0, 4, 1, 0], [0, 0, 0, 1, 4, 0])
  texts = {}
  for length in (1, 2):
    finder = AnswerFinder(tokenizer, PredictionOptions(max_answer_length=length))
    texts[length] = [answer.text for answer in finder.predict(example, windows).nbest]
  assert texts == {1: ["The", "Moon"], 2: ["The Moon", "The", "Moon"]}


@pytest.mark.parametrize(
  ("predicted", "original", "expected", "reason"),
  [
    ("steve smith", "Steve Smith's", "Steve Smith", None),
    ("smith ' s", "Steve Smith's", "Smith's", None),
    ("cafe", "(Café)", "Café", None),
    ("moon", "Sun", "Sun", "Unable to find text"),
    ("[UNK]", "茶", "茶", "Unable to find text"),
    # Control characters vanish in tokens; U+00A0 is white space there, but not in words.
    ("ab", "a\x07b", "a\x07b", "Length not equal"),
    ("a", "a\u00a0b", "a\u00a0b", "Length not equal"),
    ("", "some text", "some text", "Couldn't map"),
  ],
)
def test_final_text(golden, caplog, predicted, original, expected, reason):
  basic = tokenizer_of(golden, "uncased").basic_tokenizer
  alignment = align(original, " ".join(basic.tokenize(original)))
  with caplog.at_level(python_logging.INFO, logger="absl"):
    for verbose in (False, True):
      assert get_final_text(predicted, original, alignment, verbose) == expected
  messages = [record.getMessage() for record in caplog.records]
  assert len(messages) == (reason is not None)
  assert reason is None or messages[0].startswith(reason)


@pytest.mark.parametrize("seed", range(3))
def test_best_span_is_the_best_of_all(golden, seed):
  """With every position among the candidates, nothing valid may score higher."""
  rng = np.random.default_rng(seed)
  words = ["the", "moon", "pulls", "water", "salt"]
  example = SquadExample("q", "the", [words[i] for i in rng.integers(0, 5, 60)])
  tokenizer = tokenizer_of(golden, "uncased")
  windows = [
    WindowLogits(window, *rng.normal(size=[2, 24]))
    for window in convert_examples_to_features([example], tokenizer, 24, 6, 4, False)
  ]
  assert len(windows) > 4
  best = max(
    window.start_logits[start] + window.end_logits[end]
    for window in windows
    for start in range(window.features.first_doc_token, window.features.num_tokens - 1)
    for end in range(start, min(start + 7, window.features.num_tokens - 1))
    if window.features.max_context[start - window.features.first_doc_token]
  )
  finder = AnswerFinder(tokenizer, PredictionOptions(n_best_size=24, max_answer_length=7))
  answers = finder.predict(example, windows).nbest
  assert answers[0].start_logit + answers[0].end_logit == best
  assert [answer.probability for answer in answers] == sorted(
    (answer.probability for answer in answers), reverse=True
  )


@pytest.mark.parametrize(
  ("squad", "vocab", "do_lower_case"),
  [
    ("cmrc2018/cmrc2018_trial.json", "chinese", True),
    ("squad/xquad.zh.json", "multilingual-cased", False),
    ("squad/xquad.en.json", "uncased", True),
  ],
)
def test_answers_are_parts_of_real_contexts(real_data, squad, vocab, do_lower_case):
  tokenizer = FullTokenizer(real_data / "vocabs" / f"bert-base-{vocab}-vocab.txt", do_lower_case)
  examples = read_squad_examples(str(real_data / squad), is_training=False)[::4]
  rng = np.random.default_rng(1)
  windows = convert_examples_to_features(examples, tokenizer, 384, 128, 64, False)
  logits = (WindowLogits(window, *rng.normal(size=[2, 384])) for window in windows)
  finder = AnswerFinder(tokenizer, PredictionOptions(max_answer_length=60))
  shorter = 0
  for example, prediction in predictions_by_question(examples, logits, finder):
    # Answers by offsets are written as in the text, others as words with single spaces.
    context = example.context.text if example.by_offsets else " ".join(example.doc_tokens)
    assert [a.text for a in prediction.nbest if a.text not in context] in ([], ["empty"])
    shorter += len(prediction.text) < len(context) / 2
  assert shorter > 0.9 * len(examples)
