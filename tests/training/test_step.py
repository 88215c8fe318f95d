"""The training step against the original's log of 15 steps."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from runs import GOLDEN, golden_batches, golden_config, golden_task, weights_of

from bert_tf import checkpoints, fused_ops
from bert_tf.optimization import fused_update
from bert_tf.training import loop
from bert_tf.training.options import DeviceOptions, TrainingOptions

LOGS = {
  "tiny": ("train.json", "tiny_ckpt/bert_model.ckpt"),
  "relu": ("train_relu.json", "relu_ckpt/model.ckpt"),
}
ONE_DEVICE = DeviceOptions(distribution_strategy="one_device")


def original_options(directory, **changes) -> TrainingOptions:
  """The options of the golden runs."""
  values = {
    "num_train_steps": 15,
    "num_warmup_steps": 4,
    "train_batch_size": 4,
    "learning_rate": 1e-3,
    "log_steps": 1,
    "init_checkpoint": str(GOLDEN / "tiny_ckpt" / "bert_model.ckpt"),
    **changes,
  }
  return TrainingOptions(str(directory), **values)


def without_dropout(name: str):
  return golden_config(name, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def check_final(found: dict, name: str, log: dict) -> None:
  """Weights and moments: 5e-6; key biases 5e-5, as their true gradient is zero (noise)."""
  if name == "relu":
    expected = trained_relu()
  else:
    expected = dict(np.load(GOLDEN / "model" / "train_final_weights.npz"))
  for variable, value in expected.items():
    key, _, rows = variable.partition("[:")
    tensor = found[key][: int(rows[:-1])] if rows else found[key]
    atol = 5e-5 if "key/bias" in key else 5e-6
    np.testing.assert_allclose(tensor, value, rtol=0, atol=atol, err_msg=key)
  assert set(log["final_adam_l2"]) <= set(found)
  for slot, l2 in log["final_adam_l2"].items():
    assert np.linalg.norm(found[slot]) == pytest.approx(l2, rel=1e-4, abs=5e-6), slot


def trained_relu() -> dict[str, np.ndarray]:
  reader = tf.train.load_checkpoint(str(GOLDEN / "trained_relu_ckpt" / "model.ckpt-15"))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def train_records(directory) -> list[dict]:
  lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
  return [line for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("path", ["plain", "kernels"])
@pytest.mark.parametrize("name", LOGS)
def test_fifteen_steps_of_the_original(name, path, tmp_path, monkeypatch):
  if path == "kernels":
    # Models this narrow do not use them by themselves.
    monkeypatch.setattr(fused_ops, "_LEAST_WIDTH", 0)
    monkeypatch.setattr(fused_update, "_LARGE", 0)
    if not fused_ops.available(32):
      pytest.skip("not everything runs on CPUs here")
  log_file, checkpoint = LOGS[name]
  log = json.loads((GOLDEN / "model" / log_file).read_text())
  options = original_options(tmp_path, init_checkpoint=str(GOLDEN / checkpoint))
  assert loop.train(golden_task(without_dropout(name)), options, ONE_DEVICE) == 15

  rates = {entry["step"]: entry["learning_rate"] for entry in log["steps"]}
  found = train_records(tmp_path)
  assert len(found) == len(log["steps"]) == 15
  for record, entry in zip(found, log["steps"], strict=True):
    assert record["loss"] == pytest.approx(entry["total_loss"], abs=2e-5)
    assert record["masked_lm_loss"] == pytest.approx(entry["masked_lm_loss"], abs=2e-5)
    assert record["next_sentence_loss"] == pytest.approx(entry["next_sentence_loss"], abs=2e-5)
    assert record["gradient_norm"] == pytest.approx(entry["grad_global_norm_before_clip"], rel=1e-5)
    # The log holds the rate as of the step's start; the update is made with the next one.
    if record["step"] < 15:
      assert record["learning_rate"] == pytest.approx(rates[record["step"]], rel=1e-6)
  weights = weights_of(tmp_path)
  assert weights["global_step"] == 15
  check_final(weights, name, log)


def test_resumes_the_original_s_own_checkpoint(tmp_path):
  """A run that the original stopped at step 15 goes on, moments and all."""
  for path in (GOLDEN / "trained_relu_ckpt").iterdir():
    shutil.copy(path, tmp_path)
  before = trained_relu()
  options = original_options(tmp_path, num_train_steps=16, num_warmup_steps=0)
  task = golden_task(without_dropout("relu"), golden_batches() + golden_batches()[:1])
  assert loop.train(task, options, ONE_DEVICE) == 16
  log = json.loads((GOLDEN / "model" / "train_relu.json").read_text())
  [record] = train_records(tmp_path)
  assert record["step"] == 16
  # Batch 0 again: the original evaluated it after training.
  assert record["loss"] == pytest.approx(log["loss_on_batch_0_after_training"][0], abs=2e-5)
  after = weights_of(tmp_path)
  # The last rate of a schedule is 0, so only the moments move.
  name = "bert/encoder/layer_0/attention/self/query/kernel"
  np.testing.assert_array_equal(after[name], before[name])
  assert not np.array_equal(after[name + "/adam_m"], before[name + "/adam_m"])
  ratio = after[name + "/adam_v"] / before[name + "/adam_v"]
  assert ratio.min() >= 0.999 * (1 - 1e-6)


def test_rows_of_a_repeated_id_are_added_before_they_are_squared(tmp_path):
  """The trap: an optimizer that squares the slices of an embedding gradient one by one."""
  options = original_options(tmp_path, num_train_steps=1, num_warmup_steps=0)
  task = golden_task(without_dropout("tiny"))
  loop.train(task, options, ONE_DEVICE)
  model = task.create_model("float32")
  checkpoints.load(model, options.init_checkpoint)
  features = {k: tf.constant(v) for k, v in golden_batches()[0].items()}
  ids = features["input_ids"].numpy()
  assert len(np.unique(ids)) < ids.size
  table = model.bert.embeddings.word_embeddings.value
  with tf.GradientTape() as tape:
    outputs = model(features, training=True, dropout_seed=tf.zeros([2], tf.int64))
    weights = task.loss_weights(features)
    loss = tf.add_n([v / weights[k] for k, v in task.loss_sums(outputs, features).items()])
  gradient = tf.convert_to_tensor(tape.gradient(loss, table)).numpy()
  [record] = train_records(tmp_path)
  gradient *= min(1.0, 1.0 / record["gradient_norm"])
  slot = weights_of(tmp_path)["bert/embeddings/word_embeddings/adam_v"]
  np.testing.assert_allclose(slot, 0.001 * gradient**2, rtol=1e-4, atol=1e-12)
