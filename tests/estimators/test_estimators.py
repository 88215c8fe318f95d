"""The estimators: the engine of the scripts behind scikit-learn's protocol."""

from __future__ import annotations

import dataclasses
import pickle
import random

import fine_tuning_runs
import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import bert_tf
from bert_tf import UserError
from bert_tf.estimators import base
from bert_tf.names import named_variables
from bert_tf.tasks.classification.processors import TableOptions
from bert_tf.tasks.fine_tuning import steps_of_epochs
from bert_tf.training.options import DeviceOptions, TrainingOptions

TEXTS = [
  "a good film", "a bad film", "the story is good", "the story is bad", "good", "bad", "it is good",
  "it is bad", "good people and a good day", "a long bad day", "so good", "so bad",
]  # fmt: skip
LABELS = ["pos", "neg"] * 6


def weights(trained) -> dict[str, np.ndarray]:
  return {name: v.numpy() for name, v in named_variables(trained.model).items()}


def same_weights(one, other) -> None:
  first, second = weights(one), weights(other)
  assert first.keys() == second.keys()
  for name, value in first.items():
    np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.fixture(scope="module")
def fitted(small, tmp_path_factory):
  """A classifier of labels that are numbers, with validation, and its run."""
  output_dir = str(tmp_path_factory.mktemp("run") / "out")
  numbers = [int(label == "pos") for label in LABELS]
  classifier = bert_tf.BertClassifier(
    **small, output_dir=output_dir, epochs=20, learning_rate=5e-3, eval_steps=30
  )
  state, python = np.random.get_state()[1].copy(), random.getstate()
  assert classifier.fit(np.array(TEXTS), numbers, validation_data=(TEXTS, numbers)) is classifier
  # The engine seeds both generators; they are the caller's.
  np.testing.assert_array_equal(np.random.get_state()[1], state)
  assert random.getstate() == python
  return classifier


def test_weights_are_those_of_the_script_bit_for_bit(small, fitted, tmp_path):
  rows = [f"{int(label == 'pos')}\t{t}\n" for t, label in zip(TEXTS, LABELS, strict=True)]
  for split in ("train", "dev"):
    (tmp_path / f"{split}.tsv").write_text("label\ttext\n" + "".join(rows))
  flags = {name: small[name] for name in ("bert_config_file", "vocab_file", "max_seq_length")}
  run = fine_tuning_runs.classifier(
    **flags, do_lower_case=True, do_train=True, output_dir=str(tmp_path / "out"), takes_best=True,
    task_name="table", data_dir=str(tmp_path), table=TableOptions(), eval_batch_size=32,
  )  # fmt: skip
  steps = steps_of_epochs(run.num_train_examples, 4, 20, 0.1)
  options = TrainingOptions(
    str(tmp_path / "out"), *steps, train_batch_size=4, learning_rate=5e-3, eval_steps=30
  )
  run.train(options, DeviceOptions())
  same_weights(bert_tf.load(run.weights), fitted.trained_)


def test_labels_keep_their_kind(fitted):
  assert fitted.classes_.tolist() == [0, 1] and fitted.classes_.dtype.kind == "i"
  assert fitted.predict(TEXTS).dtype.kind == "i"
  probabilities = fitted.predict_proba(pandas.Series(TEXTS))
  np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
  np.testing.assert_array_equal(probabilities.argmax(1), fitted.predict(TEXTS))
  numbers = [int(label == "pos") for label in LABELS]
  assert fitted.score(TEXTS, numbers) == np.mean(fitted.predict(TEXTS) == numbers) > 0.9


def test_the_history_is_that_of_the_run(fitted):
  kinds = {record["kind"] for record in fitted.history_}
  assert kinds == {"train", "eval"}
  assert max(record["step"] for record in fitted.history_) == 60


def test_the_same_fit_goes_on_and_another_is_refused(fitted, caplog):
  again = clone(fitted)
  numbers = [int(label == "pos") for label in LABELS]
  with caplog.at_level("WARNING"):
    again.fit(TEXTS, numbers, validation_data=(TEXTS, numbers))
  assert "Skipping training" in caplog.text
  same_weights(fitted.trained_, again.trained_)
  with pytest.raises(UserError, match=r"holds a run with .*train_examples"):
    clone(fitted).fit([*TEXTS[1:], "another"], numbers, validation_data=(TEXTS, numbers))
  with pytest.raises(UserError, match="learning_rate"):
    clone(fitted).set_params(learning_rate=1.0).fit(
      TEXTS, numbers, validation_data=(TEXTS, numbers)
    )


def test_saved_pickled_and_copied_models_answer_alike(fitted, tmp_path):
  expected = fitted.predict_proba(TEXTS)
  loaded = bert_tf.load(fitted.save(tmp_path / "saved"))
  assert loaded.labels == ("0", "1")
  copies = [loaded, pickle.loads(pickle.dumps(fitted))]
  for copy in copies:
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), expected)
  assert copies[1].get_params() == fitted.get_params()
  assert copies[1].predict(TEXTS).tolist() == fitted.predict(TEXTS).tolist()


def test_pipelines_and_searches(small):
  pipeline = Pipeline(
    [
      ("clean", FunctionTransformer(lambda texts: [text.strip() for text in texts])),
      ("bert", bert_tf.BertClassifier(**small, epochs=1)),
    ]
  )
  search = GridSearchCV(pipeline, {"bert__learning_rate": [1e-3]}, cv=2, refit=False)
  search.fit(np.array(TEXTS), LABELS)
  assert np.isfinite(search.cv_results_["mean_test_score"]).all()
  assert search.best_params_ == {"bert__learning_rate": 1e-3}


@pytest.mark.long
def test_cross_validation_of_all(small):
  numbers = np.linspace(0, 1, len(TEXTS))
  several = [["good"] if "good" in text else ["bad", "other"] for text in TEXTS]
  words = [text.split() for text in TEXTS]
  tags = [["B-X" if word in ("good", "bad") else "O" for word in row] for row in words]
  questions = [("What?", text) for text in TEXTS]
  answers = [text.split()[-1] for text in TEXTS]
  squad = {**small, "max_seq_length": 32, "max_query_length": 8, "doc_stride": 8, "epochs": 1}
  matrix = np.array([["good" in text, "bad" in text] for text in TEXTS], int)
  # By a number of folds scikit-learn takes no lists of labels, as it would make strata of them.
  lists = cross_val_score(
    bert_tf.BertClassifier(**small, epochs=1), TEXTS, several, cv=KFold(2), error_score="raise"
  )
  assert np.isfinite(lists).all()
  for estimator, X, y in (
    (bert_tf.BertClassifier(**small, epochs=1), TEXTS, LABELS),
    (bert_tf.BertClassifier(**small, epochs=1), TEXTS, matrix),
    (bert_tf.BertRegressor(**small, epochs=1), TEXTS, numbers),
    (bert_tf.BertTagger(**small, epochs=1), words, tags),
    (bert_tf.BertQuestionAnswerer(**squad), questions, answers),
  ):
    assert np.isfinite(cross_val_score(estimator, X, y, cv=2, error_score="raise")).all()


def test_several_labels_as_lists_or_as_a_matrix(small):
  lists = [["good"] if "good" in text else ["bad", "other"] for text in TEXTS]
  several = bert_tf.BertClassifier(**small, epochs=20, learning_rate=5e-3).fit(TEXTS, lists)
  assert several.trained_.head == "multilabel" and several.classes_.tolist()[0] == "bad"
  assert several.predict(["so good"]) == [["good"]]
  assert several.score(TEXTS, lists) > 0.9
  matrix = np.array([[0, 1] if "good" in text else [1, 0] for text in TEXTS])
  with pytest.raises(UserError, match="example 0: expected 0 or 1"):
    clone(several).fit(TEXTS, matrix * 2)
  with pytest.raises(UserError, match="`multilabel=False`: expected one label"):
    clone(several).set_params(multilabel=False).fit(TEXTS, lists)
  with pytest.raises(UserError, match="`multilabel=True`: expected a list of labels"):
    clone(several).set_params(multilabel=True).fit(TEXTS, LABELS)


def test_parameters_are_those_of_the_training_with_its_defaults():
  params = bert_tf.BertClassifier().get_params()
  for options in (TrainingOptions, DeviceOptions):
    for field in dataclasses.fields(options):
      if field.name in (*base.LEFT_OUT, *base.LEFT_OUT_DEVICES):
        continue
      assert field.name in params, f"{field.name}: add it to BertEstimator, or to LEFT_OUT"
      if field.default is not dataclasses.MISSING:
        assert params[field.name] == field.default, field.name


def test_what_is_refused(small):
  classifier = bert_tf.BertClassifier(**small)
  with pytest.raises(NotFittedError):
    classifier.predict(TEXTS)
  for X, y, message in (
    (TEXTS, LABELS[:-1], "expected a label for every input, found 11 for 12"),
    (TEXTS, None, "requires y to be passed"),
    ([], [], "found 0 samples"),
    (TEXTS, ["one"] * 12, "at least two different labels to train on, found 1 class"),
    (TEXTS, [None, *LABELS[1:]], "example 0: expected a label of one line"),
    (TEXTS, [" pos", *LABELS[1:]], "example 0: expected a label of one line"),
    (TEXTS, np.linspace(0, 1, 12), "Unknown label type: .* take BertRegressor"),
    ([*TEXTS[:-1], 3], LABELS, "text 11: expected a text, found 3"),
    ("text", ["a"], "found a single one"),
  ):
    with pytest.raises(UserError, match=message):
      classifier.fit(X, y)
  with pytest.raises(UserError, match="example 3: expected a finite number"):
    bert_tf.BertRegressor(**small).fit(TEXTS, [0, 1, 2, float("nan"), *range(8)])
  with pytest.raises(UserError, match="sentence 0: expected a tag for each of 2 words, found 1"):
    bert_tf.BertTagger(**small).fit([["a", "b"]], [["O"]])
  with pytest.raises(UserError, match="sentence 0: expected a list of words, found the text"):
    bert_tf.BertTagger(**small).fit(["a b"], [["O", "O"]])
  answerer = bert_tf.BertQuestionAnswerer(**small, max_query_length=8)
  with pytest.raises(UserError, match="expected an answer out of its context, found 'Eve'"):
    answerer.fit([("Who?", "Ada came.")], ["Eve"])
  with pytest.raises(UserError, match="expected pairs"):
    answerer.fit(["Who?"], ["Ada"])
  with pytest.raises(UserError, match="bert_config_file"):
    bert_tf.BertClassifier().fit(TEXTS, LABELS)
