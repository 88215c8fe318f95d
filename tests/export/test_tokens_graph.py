from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.export import python_pipeline
from bert_tf.export.graphs.tokens import TokenClassifierModule

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
TEXTS = [
  "the old house of the river",
  "Anna (the old one), went to O'Brien's -- house.",
  "",
  "  \t ",
  "Ünïted\u0301 短い文 and \u200dthe 🎉 river",
  "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 4,
]


@pytest.fixture(scope="module")
def module(token_model, text_options):
  return TokenClassifierModule(token_model, text_options, LABELS)


def entities_by_definition(words, labels, scores):
  """IOB2, read leniently: a type that starts without B begins an entity too."""
  entities, previous = [], "O"
  for (start, end), label, score in zip(words, labels, scores, strict=True):
    prefix, _, kind = label.partition("-")
    if label != "O":
      if prefix == "B" or previous.partition("-")[2] != kind:
        entities.append([start, end, kind, [score]])
      else:
        entities[-1][1] = end
        entities[-1][3].append(score)
    previous = label
  return [(start, end, kind, np.mean(s)) for start, end, kind, s in entities]


def test_labels_of_plain_words_are_those_of_their_first_pieces(module, token_model, text_options):
  """Words apart by spaces, as a labelled corpus has them: what the evaluation of training sees."""
  from bert_tf.tokenization import FullTokenizer

  tokenizer = FullTokenizer(text_options.tokens)
  text = TEXTS[0]
  features = python_pipeline.features([text], [""], text_options)
  logits = token_model({k: tf.constant(v) for k, v in features.items()})["logits"].numpy()[0]
  place, expected, scores = 1, [], []
  for word in text.split():
    expected.append(LABELS[logits[place].argmax()])
    scores.append(tf.nn.softmax(logits[place]).numpy().max())
    place += len(tokenizer.tokenize(word))
  found = module.answers_to_text(tf.constant([text]))
  assert [w.decode() for w in found["words"].numpy()[0]] == text.split()
  assert [label.decode() for label in found["word_labels"].numpy()[0]] == expected
  assert len(set(expected)) > 1, "the model labels everything alike; the test would see nothing"
  spans, start = [], 0
  for word in text.split():
    start = text.index(word, start)
    spans.append((start, start + len(word)))
    start += len(word)
  for i, (begin, end, kind, score) in enumerate(entities_by_definition(spans, expected, scores)):
    assert found["entities"][0, i].numpy().decode() == text[begin:end]
    assert (int(found["starts"][0, i]), int(found["ends"][0, i])) == (begin, end)
    assert found["entity_labels"][0, i].numpy().decode() == kind
    assert float(found["scores"][0, i]) == pytest.approx(score, abs=1e-5)


def test_entities_of_any_text(module):
  found = {
    name: value.numpy() for name, value in module.answers_to_text(tf.constant(TEXTS)).items()
  }
  total = 0
  for i, text in enumerate(TEXTS):
    count = found["num_entities"][i]
    total += count
    last = 0
    for start, end, entity, label in zip(
      *(found[n][i, :count] for n in ("starts", "ends", "entities", "entity_labels")), strict=True
    ):
      assert last <= start < end <= len(text)
      assert entity.decode() == text[start:end] == text[start:end].strip()
      assert label.decode() in ("PER", "LOC")
      last = end
    assert (found["starts"][i, count:] == -1).all() and (found["entities"][i, count:] == b"").all()
  assert total > 5


def test_a_text_alone_gets_the_same_entities(module):
  together = {k: v.numpy() for k, v in module.answers_to_text(tf.constant(TEXTS)).items()}
  for i, text in enumerate(TEXTS):
    alone = {k: v.numpy() for k, v in module.answers_to_text(tf.constant([text])).items()}
    count = alone["num_entities"][0]
    assert count == together["num_entities"][i]
    for name in ("entities", "starts", "ends", "entity_labels"):
      np.testing.assert_array_equal(alone[name][0, :count], together[name][i, :count])


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("the (old), house's end.", ["the", "(", "old", ")", ",", "house's", "end", "."]),
    ("...", [".", ".", "."]),
    ("Ünïted\u0301x 短い文", ["Ünïted\u0301x", "短", "い", "文"]),
    ("a\u00a0b a\u200bb", ["a", "b", "a\u200bb"]),
  ],
)
def test_words_are_what_stands_between_spaces_and_punctuation(module, text, words):
  found = module.answers_to_text(tf.constant([text]))["words"].numpy()[0]
  assert [word.decode() for word in found] == words


SENTENCES = [
  ["the", "U.S.", "house", "(", "O'Brien's", ")", "3.50", "-", "river"],
  ["\u200d", "old", "...", "state-of-the-art"],
  ["Anna"],
  [f"old{'.' * (n % 4)}" for n in range(150)],
]


@pytest.fixture(scope="module")
def tagged(token_model, text_options):
  """Tags and probabilities of `SENTENCES` as run_ner.py and `bert_tf.load` give them."""
  from bert_tf.tasks.ner.features import SentenceEncoder
  from bert_tf.tokenization import FullTokenizer
  from bert_tf.trained_model import words
  from bert_tf.trained_model.computation import Computation

  encoder = SentenceEncoder(FullTokenizer(text_options.tokens), LABELS, 64)
  return words.tag(SENTENCES, encoder, Computation(token_model, 64), 8)


def test_words_are_labelled_as_in_training(module, tagged):
  """With punctuation in them, and more of them than a window holds."""
  width = max(map(len, SENTENCES))
  padded = [[*words, *[""] * (width - len(words))] for words in SENTENCES]
  found = {k: v.numpy() for k, v in module.answers_to_words(tf.constant(padded)).items()}
  for row, (words, (tags, probabilities)) in enumerate(zip(SENTENCES, tagged, strict=True)):
    assert [label.decode() for label in found["word_labels"][row]] == [
      *tags, *[""] * (width - len(words)),
    ]  # fmt: skip
    scores = found["scores"][row]
    np.testing.assert_allclose(scores[: len(words)], probabilities, atol=1e-5)
    assert not scores[len(words) :].any()
  assert len({tag for tags, _ in tagged for tag in tags}) > 2
  none = module.answers_to_words(tf.constant([], tf.string, [0, 3]))
  assert none["word_labels"].shape == (0, 3)


def test_long_texts_are_labelled_to_their_end(module, token_model, text_options):
  """Window by window, as run_ner.py reads them; words apart by spaces are words there, too."""
  from bert_tf.tasks.ner.features import SentenceEncoder
  from bert_tf.tokenization import FullTokenizer
  from bert_tf.trained_model import words
  from bert_tf.trained_model.computation import Computation

  texts = [" ".join(["the old house of Anna by the river"] * 20), TEXTS[5], "Anna"]
  encoder = SentenceEncoder(FullTokenizer(text_options.tokens), LABELS, 64)
  expected = words.tag([t.split() for t in texts], encoder, Computation(token_model, 64), 8)
  found = {k: v.numpy() for k, v in module.answers_to_text(tf.constant(texts)).items()}
  for row, (tags, _) in enumerate(expected):
    assert [label.decode() for label in found["word_labels"][row]][: len(tags)] == tags
  assert found["truncated"].tolist() == [False] * 3


def test_schemes_with_ends(token_model, text_options, monkeypatch):
  """In IOBES and BILOU two entities of a type can touch without B."""
  labels = ["O", "S-PER", "I-PER", "E-PER", "B-PER"]
  module = TokenClassifierModule(token_model, text_options, labels)
  order = iter([[1, 1, 4, 2, 3, 2, 0]])

  def answers(features):
    places = next(order)
    return {"probabilities": tf.one_hot([[0, *places, 0]], 5)}

  monkeypatch.setattr(module, "answer_text", answers)
  found = module.answers_to_text(tf.constant(["a b c d e f g"]))
  assert [e.decode() for e in found["entities"].numpy()[0]] == ["a", "b", "c d e", "f"]
