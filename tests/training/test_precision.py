"""Narrow types, XLA and recomputation against plain float32."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from runs import GOLDEN, golden_batches, golden_config, golden_task, weights_of
from test_step import ONE_DEVICE, check_final, original_options, train_records, without_dropout

from bert_tf import checkpoints
from bert_tf.optimization.optimizer import Optimizer
from bert_tf.training import loop
from bert_tf.training.options import DeviceOptions, TrainingOptions
from bert_tf.training.state import RunState
from bert_tf.training.step import TrainStep, trained_variables


@pytest.mark.parametrize(("dtype", "atol"), [("bfloat16", 0.1), ("float16", 0.02)])
def test_losses_stay_near_those_of_float32(tmp_path, dtype, atol):
  """8 and 11 bits of mantissa; losses are near 8, gradient norms near 4."""
  devices = DeviceOptions(distribution_strategy="one_device", dtype=dtype)
  loop.train(golden_task(without_dropout("tiny")), original_options(tmp_path), devices)
  log = json.loads((GOLDEN / "model" / "train.json").read_text())
  for record, entry in zip(train_records(tmp_path), log["steps"], strict=True):
    assert record["loss"] == pytest.approx(entry["total_loss"], abs=atol)
    norm = entry["grad_global_norm_before_clip"]
    assert record["gradient_norm"] == pytest.approx(norm, rel=0.05)
  weights = weights_of(tmp_path)
  # Weights and moments are float32 in memory and on disk.
  assert {value.dtype.name for name, value in weights.items() if "bert/" in name} == {"float32"}
  assert weights["bert_tf/loss_scale"] == 2.0**15


def test_xla_takes_the_original_s_steps(tmp_path):
  options = original_options(tmp_path, enable_xla=True)
  loop.train(golden_task(without_dropout("tiny")), options, ONE_DEVICE)
  log = json.loads((GOLDEN / "model" / "train.json").read_text())
  for record, entry in zip(train_records(tmp_path), log["steps"], strict=True):
    assert record["loss"] == pytest.approx(entry["total_loss"], abs=2e-5)
  check_final(weights_of(tmp_path), "tiny", log)


def test_recomputed_activations_see_the_same_dropout(tmp_path):
  """With dropout on: another mask in the backward pass would change every gradient."""
  for name, recompute in (("kept", False), ("recomputed", True)):
    options = original_options(tmp_path / name, num_train_steps=5, recompute_activations=recompute)
    loop.train(golden_task(golden_config("tiny")), options, ONE_DEVICE)
  found, expected = weights_of(tmp_path / "recomputed"), weights_of(tmp_path / "kept")
  for name, value in expected.items():
    if not name.startswith("bert_tf/"):
      atol = 5e-5 if "key/bias" in name else 2e-6
      np.testing.assert_allclose(found[name], value, rtol=0, atol=atol, err_msg=name)
  norms = [
    [record["gradient_norm"] for record in train_records(tmp_path / name)]
    for name in ("kept", "recomputed")
  ]
  np.testing.assert_allclose(*norms, rtol=1e-5)


class Scaled:
  """A float16 training step whose loss scale can be set."""

  def __init__(self, loss_scale: float):
    strategy = tf.distribute.OneDeviceStrategy("cpu:0")
    options = TrainingOptions("unused", 15, 4, 4)
    task = golden_task(without_dropout("tiny"))
    with strategy.scope():
      self.model = task.create_model("mixed_float16")
      checkpoints.load(self.model, str(GOLDEN / "tiny_ckpt" / "bert_model.ckpt"))
      self.state = RunState()
      optimizer = Optimizer(trained_variables(task, self.model))
      schedule = loop.schedule(options)
      self.step = TrainStep(task, self.model, optimizer, schedule, self.state, options, True)
      self.iterator = iter(loop.distributed_batches(task, options, strategy, 0))
    self.strategy = strategy
    self.state.loss_scale.assign(loss_scale)

  def run(self, steps: int) -> dict[str, float]:
    with self.strategy.scope():
      metrics = self.step.run(self.iterator, tf.constant(steps), tf.constant(0.0))
    return {name: value.numpy().item() for name, value in metrics.items()}


def test_overflowing_steps_are_left_out_and_the_scale_halved():
  scaled = Scaled(2.0**40)
  kernel = scaled.model.bert.embeddings.word_embeddings
  before = kernel.numpy()
  metrics = scaled.run(1)
  assert metrics["updates"] == 0
  assert not metrics["halted"]
  assert scaled.state.loss_scale.numpy() == 2.0**39
  assert scaled.state.global_step.numpy() == 1
  assert scaled.state.skipped_steps.numpy() == 0
  np.testing.assert_array_equal(kernel.numpy(), before)
  scaled.state.loss_scale.assign(2.0**20)
  metrics = scaled.run(13)
  scale = scaled.state.loss_scale.numpy()
  assert 1 <= metrics["updates"] == 13 - (20 - np.log2(scale))
  assert np.isfinite(metrics["loss"])
  assert not np.array_equal(kernel.numpy(), before)


def test_the_scale_grows_after_good_steps():
  scaled = Scaled(2.0)
  scaled.state.loss_scale_good_steps.assign(1998)
  scaled.run(1)
  assert scaled.state.loss_scale.numpy() == 2.0
  scaled.run(1)
  assert scaled.state.loss_scale.numpy() == 4.0
  assert scaled.state.loss_scale_good_steps.numpy() == 0


def test_float16_on_a_cpu_is_warned_of(tmp_path, caplog):
  from bert_tf.training.strategy import create_strategy

  create_strategy(DeviceOptions(dtype="float16"))
  if not tf.config.list_physical_devices("GPU"):
    assert "`dtype=float16` is very slow on a CPU" in caplog.text


def test_batches_hold_repeated_tokens():
  """Otherwise the comparisons above could not see the trap of repeated ids."""
  assert all(np.unique(b["input_ids"]).size < b["input_ids"].size for b in golden_batches())
