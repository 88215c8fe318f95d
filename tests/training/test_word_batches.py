"""The loss of labelled words is a mean over the whole batch, however the batch is cut."""

from __future__ import annotations

import json
import os
import pathlib

import numpy as np
import pytest
import shared_once
from runs import finish, golden_config, in_process, log_of, weights_of

from bert_tf.data import records
from bert_tf.data.records import NO_LABEL

LENGTH, BATCH = 32, 8
CUTS = {
  "whole": ("one_device", {}),
  "pieces of tokens": ("one_device", {"tokens_per_batch": 48}),
  "replicas, accumulated": ("mirrored", {"gradient_accumulation_steps": 2}),
}


def write_windows(path: pathlib.Path) -> None:
  """One batch of windows with 1 to 25 words: means of means would be others."""
  random = np.random.default_rng(4)
  with records.RecordWriter(path) as writer:
    for words in (1, 25, 2, 20, 3, 3, 12, 1):
      count = words + 4
      labels = np.full(LENGTH, NO_LABEL)
      labels[1 : words + 1] = random.integers(0, 3, words)
      ids = np.where(np.arange(LENGTH) < count, random.integers(20, 1200, LENGTH), 0)
      writer.write(records.encode_example({
        "input_ids": ids.tolist(), "input_mask": [1] * count + [0] * (LENGTH - count),
        "segment_ids": [0] * LENGTH, "label_ids": labels.tolist(), "is_real_example": [1],
      }))  # fmt: skip


def train_all(directory: str) -> None:
  import tensorflow as tf

  from bert_tf.heads import TokenClassifierModel
  from bert_tf.tasks.ner.model import NerTask
  from bert_tf.training import loop
  from bert_tf.training.options import DeviceOptions, TrainingOptions

  class WithoutDropout(TokenClassifierModel):
    """The head has some of its own whatever the config says."""

    def call(self, features, training=False, dropout_seed=None):
      return super().call(features)

  class Task(NerTask):
    def create_model(self, dtype, recompute_activations=False):
      return WithoutDropout(golden_config("tiny"), 3, dtype)

  log = open(os.path.join(directory, "log"), "a")  # noqa: SIM115
  os.dup2(log.fileno(), 2)
  cpu = tf.config.list_physical_devices("CPU")[0]
  tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
  for name, (strategy, options) in CUTS.items():
    task = Task(golden_config("tiny"), 3, LENGTH, f"{directory}/train.tf_record")
    run = TrainingOptions(
      f"{directory}/{name}", 3, 0, train_batch_size=BATCH, learning_rate=1e-2, log_steps=1,
      **options,
    )  # fmt: skip
    loop.train(task, run, DeviceOptions(distribution_strategy=strategy))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> pathlib.Path:
  def make(root: pathlib.Path) -> None:
    write_windows(root / "train.tf_record")
    code = finish(in_process(train_all, str(root)), 120)
    assert code == 0, log_of(root)

  return shared_once.directory_of(tmp_path_factory, "words", make)


@pytest.mark.parametrize("cut", [name for name in CUTS if name != "whole"])
def test_the_update_is_that_of_the_whole_batch(cut, trained):
  log, expected_log = (
    [json.loads(line) for line in (trained / name / "metrics.jsonl").open()]
    for name in (cut, "whole")
  )
  assert len(log) == 3
  for line, reference in zip(log, expected_log, strict=True):
    for name in ("loss", "gradient_norm"):
      assert line[name] == pytest.approx(reference[name], rel=1e-4), name
  found, expected = weights_of(trained / cut), weights_of(trained / "whole")
  for name, value in expected.items():
    # The true gradient of key biases is zero: Adam scales rounding noise.
    if not name.startswith("bert_tf/") and "key/bias" not in name:
      np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-4, err_msg=name)


def test_the_loss_is_the_mean_over_words(trained):
  """By definition, from the weights that the run started with."""
  import tensorflow as tf

  from bert_tf import checkpoints
  from bert_tf.heads import TokenClassifierModel

  model = TokenClassifierModel(golden_config("tiny"), 3)
  start = next(iter((trained / "whole").glob("model.ckpt-0.index")), None)
  if start is None:
    pytest.skip("the run keeps no weights of step 0")
  checkpoints.load(model, str(start).removesuffix(".index"))
  rows = [records.decode_example(r) for r in records.read_records(trained / "train.tf_record")]
  features = {
    name: tf.constant([row[name] for row in rows], tf.int32)
    for name in ("input_ids", "input_mask", "segment_ids")
  }
  probabilities = tf.nn.softmax(model(features)["logits"]).numpy()
  losses = [
    -np.log(probabilities[i, place, label])
    for i, row in enumerate(rows)
    for place, label in enumerate(row["label_ids"])
    if label != NO_LABEL
  ]
  assert len(losses) == 67
  first = json.loads((trained / "whole" / "metrics.jsonl").open().readline())
  assert first["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
