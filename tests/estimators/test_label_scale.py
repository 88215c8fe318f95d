"""Numbers that a fresh head does not get to are learnt in deviations from their mean."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import pearsonr

import bert_tf
from bert_tf import UserError, checkpoints
from bert_tf.model_dir import label_scale

TEXTS = [f"{a} {b} film" for a in ("good", "bad", "a", "some") for b in ("day", "story", "people")]
WORTH = {"good": 800.0, "bad": 100.0, "a": 350.0, "some": 600.0}
NUMBERS = [WORTH[text.split()[0]] for text in TEXTS]


def test_chosen_where_a_head_does_not_get_to():
  assert label_scale.choose(None, [100, 800]) == (450, 350)
  assert label_scale.choose(None, [0.001, 0.003]) == pytest.approx((0.002, 0.001))
  assert label_scale.choose(None, [1000, 1001]) == (1000.5, 0.5)
  # STS-B, and a constant.
  assert label_scale.choose(None, [0, 2.6, 5]) is None
  assert label_scale.choose(None, [3, 3]) is None
  assert label_scale.choose(False, [100, 800]) is None
  assert label_scale.choose(True, [3, 3]) == (3, 1)


@pytest.mark.parametrize(
  "said", ["1", {"mean": 1}, {"mean": 1, "deviation": 0}, {"mean": "1", "deviation": 2}]
)
def test_what_cannot_be_one_is_refused(said):
  with pytest.raises(UserError, match="expected a mean and a positive deviation"):
    label_scale.of({"label_scale": said})


@pytest.fixture(scope="module")
def trained(small):
  regressor = bert_tf.BertRegressor(**small, epochs=40, learning_rate=2e-3)
  return regressor.fit(TEXTS, NUMBERS)


def test_large_numbers_are_learnt(small, trained):
  found = trained.predict(TEXTS)
  assert pearsonr(found, NUMBERS).statistic > 0.95
  assert trained.score(TEXTS, NUMBERS) > 0.8
  # As they are, the same training learns nothing: it is worse than the mean.
  plain = bert_tf.BertRegressor(**small, epochs=40, learning_rate=2e-3, standardize_labels=False)
  assert plain.fit(TEXTS, NUMBERS).score(TEXTS, NUMBERS) < 0


def test_every_way_to_the_model_gives_the_same_numbers(trained, tmp_path):
  expected = trained.predict(TEXTS)
  trained.save(tmp_path / "saved")
  about = json.loads((tmp_path / "saved" / "head.json").read_text())
  assert "label_scale" not in about["settings"]  # It is in the weights, which others read, too.
  np.testing.assert_allclose(bert_tf.load(tmp_path / "saved").predict(TEXTS), expected, rtol=1e-5)
  plain = bert_tf.load(tmp_path / "saved").model
  assert plain.label_scale is None
  for kind in ("huggingface", "model_garden"):
    checkpoints.conversion.convert(str(tmp_path / "saved"), str(tmp_path / kind), kind)
  answers = bert_tf.load(tmp_path / "huggingface").predict(TEXTS)
  np.testing.assert_allclose(answers, expected, rtol=1e-5)


def test_only_numbers_have_one(small):
  with pytest.raises(TypeError, match="standardize_labels"):
    bert_tf.BertClassifier(**small, standardize_labels=True)
