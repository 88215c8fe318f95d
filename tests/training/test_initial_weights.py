"""Layers that start at random, and a start that ends early and goes on as if it had not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from runs import GOLDEN, finish, golden_config, in_process, train, weights_of, write_records

from bert_tf import UserError, checkpoints, names
from bert_tf.heads import ClassifierModel
from bert_tf.training import initial_weights
from bert_tf.training.options import TrainingOptions

CHECKPOINT = str(GOLDEN / "tiny_heads_ckpt" / "model.ckpt")
HEADS = ("output_weights", "output_bias")


def options(reinit_layers: int) -> TrainingOptions:
  return TrainingOptions("out", 10, 1, init_checkpoint=CHECKPOINT, reinit_layers=reinit_layers)


def values(model) -> dict[str, np.ndarray]:
  return {name: variable.numpy() for name, variable in names.named_variables(model).items()}


@pytest.mark.parametrize("reinit_layers", [0, 1, 2])
def test_top_layers_and_the_pooler_keep_their_random_values(reinit_layers):
  config = golden_config("tiny")
  model = ClassifierModel(config, 3)
  before = values(model)
  initial_weights.load(model, options(reinit_layers), HEADS)
  loaded = ClassifierModel(config, 3)
  checkpoints.load(loaded, CHECKPOINT, HEADS)
  last = range(config.num_hidden_layers - reinit_layers, config.num_hidden_layers)
  scopes = [f"/layer_{number}/" for number in last] + ["bert/pooler/"] * bool(reinit_layers)
  after, given = values(model), values(loaded)
  for name in after:
    if name in HEADS:
      continue
    expected = before if any(scope in name for scope in scopes) else given
    np.testing.assert_array_equal(after[name], expected[name], err_msg=name)
  if reinit_layers:
    assert np.any(after["bert/pooler/dense/kernel"] != given["bert/pooler/dense/kernel"])


def test_more_layers_than_there_are_is_refused():
  layers = golden_config("tiny").num_hidden_layers
  with pytest.raises(UserError, match=f"`reinit_layers`: expected at most the {layers} layers"):
    initial_weights.load(ClassifierModel(golden_config("tiny"), 3), options(layers + 1), HEADS)


def test_without_a_checkpoint_it_is_said_that_all_layers_are_random(caplog):
  model = ClassifierModel(golden_config("tiny"), 3)
  before = values(model)
  initial_weights.load(model, dataclasses.replace(options(1), init_checkpoint=None), HEADS)
  assert "all layers start at random, without `init_checkpoint`" in caplog.text
  for name, value in values(model).items():
    np.testing.assert_array_equal(value, before[name])


@pytest.mark.long
def test_a_start_that_stops_on_the_way_goes_on_as_if_it_had_not(tmp_path):
  """With the schedule of the whole, and to the same bits."""
  files = write_records(tmp_path)
  whole = in_process(train, str(tmp_path / "whole"), "one_device", {}, files=files)
  half = tmp_path / "half"
  for stop_at, step in ((0.25, 3), (1.0, 10)):
    process = in_process(train, str(half), "one_device", {"stop_at": stop_at}, files=files)
    assert finish(process, 120) == 0
    found = weights_of(half)
    assert found["global_step"] == step
  assert finish(whole, 120) == 0
  for name, value in weights_of(tmp_path / "whole").items():
    if name != "bert_tf/elapsed_seconds":
      np.testing.assert_array_equal(found[name], value, err_msg=name)
