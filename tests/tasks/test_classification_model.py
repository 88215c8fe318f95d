"""Training and predicting on sentences: what is computed, and of what."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig
from bert_tf.data import records
from bert_tf.data.pipelines import ReadOptions
from bert_tf.heads import ClassifierModel
from bert_tf.tasks.classification.model import ClassificationTask
from bert_tf.tasks.classification.processors import CLASSIFICATION

LENGTH, COUNT = 128, 40
CONFIG = BertConfig(
  vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
)


class Watched(ClassifierModel):
  """Notes the shape of every batch that it computes."""

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.shapes = tf.Variable(np.zeros([0, 2], np.int32), shape=[None, 2], trainable=False)

  def call(self, features, **kwargs):
    self.shapes.assign(tf.concat([self.shapes, [tf.shape(features["input_ids"])]], axis=0))
    return super().call(features, **kwargs)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
  """Sentences as long as those of SST-2: 4 to 40 pieces, one of 60."""
  random = np.random.default_rng(5)
  path = str(tmp_path_factory.mktemp("records") / "dev.tf_record")
  with records.RecordWriter(path) as writer:
    for length in [*random.integers(4, 41, COUNT - 1), 60]:
      ids = random.integers(1, 50, length).tolist()
      padding = [0] * (LENGTH - length)
      writer.write(records.encode_example({
        "input_ids": ids + padding, "input_mask": [1] * length + padding,
        "segment_ids": [0] * LENGTH, "label_ids": [ids[0] % 2], "is_real_example": [1],
      }))  # fmt: skip
  return path


def task_on(path: str, pad: bool) -> ClassificationTask:
  spec = records.classification(LENGTH)
  return ClassificationTask(CONFIG, 2, CLASSIFICATION, spec, path, pad)


def test_prediction_computes_no_more_than_the_longest_of_a_batch(path):
  tf.keras.utils.set_random_seed(1)
  model = Watched(CONFIG, 2)
  results, positions = [], []
  for pad in (True, False):
    model.shapes.assign(np.zeros([0, 2], np.int32))
    results.append(task_on(path, pad).predict_all(model, path, COUNT, 8))
    shapes = model.shapes.numpy()
    assert shapes[:, 0].sum() == COUNT
    positions.append(shapes.prod(axis=1).sum())
  assert positions[0] == COUNT * LENGTH
  assert positions[1] < 0.3 * positions[0]
  for padded, cut in zip(*results, strict=True):
    np.testing.assert_allclose(cut, padded, atol=1e-5)


def test_training_batches_are_of_similar_length(path):
  options = ReadOptions(8, training=True, seed=1)
  batches = list(task_on(path, pad=False).train_dataset(options).take(5))
  positions = sum(int(tf.size(batch["input_mask"])) for batch in batches)
  assert positions < 0.3 * COUNT * LENGTH
