"""What the engine is told of the features of every task, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from bert_tf.config import BertConfig
from bert_tf.data import records
from bert_tf.data.records import NO_LABEL
from bert_tf.tasks.classification.model import ClassificationTask
from bert_tf.tasks.classification.processors import CLASSIFICATION, MULTILABEL, REGRESSION
from bert_tf.tasks.ner.model import NerTask
from bert_tf.tasks.pretraining.task import PretrainingTask, Source
from bert_tf.tasks.squad.model import SquadTask
from bert_tf.training.nonfinite import ids_out_of_range

CONFIG = BertConfig(
  vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
  type_vocab_size=2,
)  # fmt: skip
LENGTH = 6


def classification(task_type: str, spec: records.FeatureSpec) -> ClassificationTask:
  return ClassificationTask(CONFIG, 3, task_type, spec)


TASKS = {
  "classification": classification(CLASSIFICATION, records.classification(LENGTH)),
  "regression": classification(REGRESSION, records.classification(LENGTH, regression=True)),
  "multilabel": classification(MULTILABEL, records.classification(LENGTH, regression=True)),
  "ner": NerTask(CONFIG, 3, LENGTH),
  "squad": SquadTask(CONFIG, LENGTH),
  "pretraining": PretrainingTask(CONFIG, Source([], records.pretraining(LENGTH, 2))),
}
SPECS = {
  "classification": records.classification(LENGTH),
  "ner": records.token_labelling(LENGTH),
  "squad": records.squad(LENGTH, is_training=True),
  "pretraining": records.pretraining(LENGTH, 2),
}


@pytest.mark.parametrize("name", SPECS)
def test_every_bound_of_the_records_is_known_to_the_engine(name):
  """What a record may hold is said once more, by the model that reads it: both must agree."""
  features = TASKS[name].features
  sizes = {"vocab_size": CONFIG.vocab_size, "type_vocab_size": CONFIG.type_vocab_size}
  for field_name, field in SPECS[name].items():
    below = sizes.get(field.below, field.below)
    if below is not None and field_name != "is_real_example":
      assert features[field_name].limit == below, field_name


@pytest.mark.parametrize(
  ("name", "feature", "good", "bad"),
  [
    ("classification", "label_ids", [0, 2], 3),
    ("classification", "label_ids", [0, 2], -1),
    ("ner", "label_ids", [[0, 2, NO_LABEL]], 3),
    ("squad", "start_positions", [0, 5], 6),
    ("pretraining", "masked_lm_ids", [[0, 49]], 50),
    ("pretraining", "masked_lm_positions", [[0, 5]], 6),
    ("pretraining", "next_sentence_labels", [[0], [1]], 2),
    ("regression", "input_ids", [[0, 49]], 50),
    ("multilabel", "segment_ids", [[0, 1]], 2),
  ],
)
def test_ids_beyond_a_table_are_named(name, feature, good, bad):
  values = np.array(good, np.int32)
  assert ids_out_of_range({feature: values}, TASKS[name].features) == []
  values.flat[-1] = bad
  [said] = ids_out_of_range({feature: values}, TASKS[name].features)
  assert said.startswith(f"{feature} holds {bad}, outside of 0 to ")


@pytest.mark.parametrize("name", ["regression", "multilabel"])
def test_numbers_and_several_labels_have_no_bounds(name):
  batch = {"label_ids": np.array([[-7.5, 1e9]], np.float32)}
  assert ids_out_of_range(batch, TASKS[name].features) == []


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_complete_once_it_is_made(name):
  task = TASKS[name]
  assert task.config is CONFIG
  assert task.settings == {}
  assert task.can_evaluate == (name == "pretraining")


def test_what_a_task_is_given_is_its_own():
  task = NerTask(
    CONFIG, 3, LENGTH, allow_missing=["cls/*"], settings={"a": 1}, scorer=lambda model: {"f1": 1.0}
  )
  assert task.allow_missing == (*NerTask.allow_missing, "cls/*")
  assert task.settings == {"a": 1}
  assert task.can_evaluate
  assert task.evaluate(None) == {"f1": 1.0}
  assert "cls/*" not in NerTask.allow_missing
