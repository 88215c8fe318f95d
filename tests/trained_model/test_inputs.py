"""Texts and labels in what people hold them in."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import tensorflow as tf
from scipy import sparse

from bert_tf import UserError
from bert_tf.trained_model import inputs
from bert_tf.trained_model.words import split_words

TEXTS = ["good", "näive 的", ""]
PAIRS = [("a", "b"), ("c", "d"), ("e", "")]


@pytest.mark.parametrize("texts", [
  TEXTS, tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), np.array(TEXTS)[:, None],
  pandas.Series(TEXTS), pandas.Series(TEXTS, index=[7, 3, 3]), pandas.DataFrame({"t": TEXTS}),
  tf.constant(TEXTS), tf.data.Dataset.from_tensor_slices(TEXTS),
  tf.data.Dataset.from_tensor_slices(TEXTS).batch(2), [t.encode() for t in TEXTS],
  (t for t in TEXTS),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_one_text_a_row(texts):
  assert inputs.texts_of(texts) == [(text, None) for text in TEXTS]


@pytest.mark.parametrize("pairs", [
  PAIRS, [list(p) for p in PAIRS], np.array(PAIRS), pandas.DataFrame(PAIRS, columns=["x", "y"]),
  {"x": [a for a, _ in PAIRS], "y": pandas.Series([b for _, b in PAIRS])},
  tf.data.Dataset.from_tensor_slices((["a", "c", "e"], ["b", "d", ""])),
  tf.data.Dataset.from_tensor_slices((["a", "c", "e"], ["b", "d", ""])).batch(2),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_two_texts_a_row(pairs):
  assert inputs.texts_of(pairs) == PAIRS


def test_what_was_read_can_be_read_again():
  for rows in (TEXTS, PAIRS):
    assert inputs.texts_of(inputs.texts_of(rows)) == inputs.texts_of(rows)


@pytest.mark.parametrize(("texts", "message"), [
  ("one text", "expected a list of texts, found a single one, 'one text'"),
  (["a", None], "text 1: expected a text, found None"),
  (pandas.Series(["a", None]), "text 1: expected a text, found nan"),
  ([1, 2], "text 0: expected a text, found 1"),
  (np.array([[1.0, 2.0]]), "text 0: expected a text, found"),
  ([("a", "b", "c")], "text 0: expected one text or two, found 3 columns"),
  ([("a", "b"), "c"], "expected texts or pairs of texts, found both"),
  (sparse.csr_matrix([[1]]), "found a sparse matrix"),
  (3, "expected a list, array or column, found int"),
  ([b"\xff"], "text 0: expected UTF-8"),
  (tf.data.Dataset.from_tensor_slices(["a"]).repeat(), "found one that repeats"),
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_what_is_no_text_is_refused_by_its_number(texts, message):
  with pytest.raises(UserError, match=message):
    inputs.texts_of(texts)


def test_a_dataset_of_twos_is_split():
  dataset = tf.data.Dataset.from_tensor_slices((TEXTS, [1, 0, 1]))
  for given in (dataset, dataset.batch(2)):
    texts, labels = inputs.split_dataset(given)
    assert inputs.texts_of(texts) == [(text, None) for text in TEXTS]
    assert [int(label) for label in labels] == [1, 0, 1]
  with pytest.raises(UserError, match=r"expected a dataset of \(text, label\)"):
    inputs.split_dataset(tf.data.Dataset.from_tensor_slices(TEXTS))


@pytest.mark.parametrize(("text", "words"), [
  ('Ada, (née "King") didn\'t.', ["Ada", ",", "(", "née", '"', "King", '"', ")", "didn't", "."]),
  ("他在London 见", ["他", "在", "London", "见"]),
  (" -- ", ["-", "-"]),
  ("", []),
])  # fmt: skip
def test_words_of_running_text(text, words):
  assert [text[start:end] for start, end in split_words(text)] == words
