from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

import pytest
from runs import golden_config, write_records

from bert_tf.errors import UserError
from bert_tf.training import run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions

DEVICES = DeviceOptions()


@pytest.fixture
def options(tmp_path) -> TrainingOptions:
  """Options of a run that has written its settings and a checkpoint's files."""
  options = TrainingOptions(str(tmp_path), 100, 10, 8, learning_rate=1e-4)
  run_config.write(golden_config("tiny"), options, DEVICES, {"max_seq_length": 64})
  for suffix in (".index", ".data-00000-of-00001"):
    (tmp_path / f"model.ckpt-5{suffix}").touch()
  return options


def test_the_same_settings_pass(options):
  run_config.check(golden_config("tiny"), options, DEVICES, {"max_seq_length": 64})
  # What does not change the weights may change.
  other = dataclasses.replace(
    options, save_checkpoints_steps=5, log_steps=7, steps_per_loop=3, keep_checkpoint_max=1
  )
  run_config.check(golden_config("tiny"), other, DEVICES)


@pytest.mark.parametrize(
  "changes",
  [
    {"learning_rate": 2e-4},
    {"train_batch_size": 16},
    {"num_train_steps": 50},
    {"num_warmup_steps": 20},
    {"seed": 1},
    {"optimizer": "lamb"},
  ],
)
def test_changed_hyperparameters_are_named(options, changes):
  other = dataclasses.replace(options, **changes)
  [(name, value)] = changes.items()
  message = rf"holds a run with `{name}=.*` \(now {value}\); .* `allow_config_change`"
  with pytest.raises(UserError, match=message):
    run_config.check(golden_config("tiny"), other, DEVICES)
  start = run_config.check(
    golden_config("tiny"), dataclasses.replace(other, allow_config_change=True), DEVICES
  )
  assert start.step == 5
  assert f"going on with other settings: was `{name}=" in start.note


def test_more_steps_are_granted_and_said(options):
  longer = dataclasses.replace(options, num_train_steps=200, num_warmup_steps=20)
  start = run_config.check(golden_config("tiny"), longer, DEVICES)
  assert start.step == 5
  assert "going on for longer than was said: was `num_train_steps=100` (now 200)" in start.note
  with pytest.raises(UserError, match=r"`learning_rate=0\.0001`"):
    other = dataclasses.replace(longer, learning_rate=1.0)
    run_config.check(golden_config("tiny"), other, DEVICES)


@pytest.mark.parametrize(
  "changes", [{"learning_rate": 1.0}, {"init_checkpoint": "other"}, {"num_train_steps": 3}]
)
def test_a_run_that_made_no_step_does_not_block_its_directory(tmp_path, options, changes):
  for path in tmp_path.glob("model.ckpt-5*"):
    path.rename(path.with_name(path.name.replace("-5", "-0")))
  assert run_config.check(golden_config("tiny"), options, DEVICES) == run_config.Start(0)
  other = dataclasses.replace(options, **changes)
  start = run_config.check(golden_config("tiny"), other, DEVICES)
  assert start.step is None
  assert "starting anew" in start.note
  assert run_config.check(golden_config("relu"), options, DEVICES).step is None


def test_long_settings_are_not_dumped(tmp_path, options):
  labels = [f"label {i}" for i in range(100)]
  run_config.write(golden_config("tiny"), options, DEVICES, {"labels": labels, "text": "x" * 999})
  changed = [*labels[:50], "another", *labels[51:98], "one", "two"]
  with pytest.raises(UserError, match=r"3 of 100 entries of `labels` others, first label 50 \(now"):
    run_config.check(golden_config("tiny"), options, DEVICES, {"labels": changed})
  with pytest.raises(UserError, match=r"100 entries of `labels` \(now 2\)"):
    run_config.check(golden_config("tiny"), options, DEVICES, {"labels": ["a", "b"]})
  with pytest.raises(UserError) as caught:
    run_config.check(golden_config("tiny"), options, DEVICES, {"text": "y" * 999})
  assert len(str(caught.value)) < 500


def test_the_identity_of_data(tmp_path):
  paths = [tmp_path / "b", tmp_path / "a", tmp_path / "big"]
  for path in paths[:2]:
    path.write_text("text")
  paths[2].write_bytes(bytes(300_000))
  one = run_config.data_identity(map(str, paths))
  assert [entry[:2] for entry in one] == [["b", 4], ["a", 4], ["big", 300_000]]
  assert run_config.data_identity(map(str, reversed(paths))) == one[::-1]
  paths[0].write_text("tex7")
  content = bytearray(300_000)
  content[-1] = 1
  paths[2].write_bytes(content)
  now = run_config.data_identity(map(str, paths))
  assert [a == b for a, b in zip(one, now, strict=True)] == [False, True, False]


def test_the_task_s_settings_and_the_type_count(options):
  with pytest.raises(UserError, match=r"`max_seq_length=64` \(now 128\)"):
    run_config.check(golden_config("tiny"), options, DEVICES, {"max_seq_length": 128})
  with pytest.raises(UserError, match=r"`dtype=float32` \(now bfloat16\)"):
    run_config.check(golden_config("tiny"), options, DeviceOptions(dtype="bfloat16"))


def test_another_model_is_refused_even_where_changes_are_allowed(options):
  allowed = dataclasses.replace(options, allow_config_change=True)
  with pytest.raises(UserError, match=r"run of another model: its hidden_size is 32.* 48"):
    run_config.check(golden_config("tiny", hidden_size=48), allowed, DEVICES)


def test_the_config_that_a_script_left_is_enough(tmp_path, options):
  (tmp_path / run_config.FILE).unlink()
  (tmp_path / "bert_config.json").write_text(golden_config("tiny").to_json_string())
  run_config.check(golden_config("tiny"), options, DEVICES)
  with pytest.raises(UserError, match="run of another model"):
    run_config.check(golden_config("relu"), options, DEVICES)


def test_a_directory_without_checkpoints_may_have_any_settings(tmp_path, options):
  for path in tmp_path.glob("model.ckpt*"):
    path.unlink()
  run_config.check(golden_config("relu"), options, DEVICES)


def test_damaged_settings_are_named(tmp_path, options):
  (tmp_path / run_config.FILE).write_text('{"model": ')
  with pytest.raises(UserError, match=r"run_config.json: expected"):
    run_config.check(golden_config("tiny"), options, DEVICES)


def test_the_script_refuses_another_model_before_tensorflow(tmp_path, root, options):
  [data] = write_records(tmp_path, files=1)
  config = tmp_path / "other.json"
  config.write_text(golden_config("relu").to_json_string())
  command = [
    sys.executable,
    "-X",
    "importtime",
    str(root / "run_pretraining.py"),
    f"--bert_config_file={config}",
    f"--input_file={data}",
    f"--output_dir={tmp_path}",
    "--do_train",
    "--max_seq_length=64",
    "--max_predictions_per_seq=10",
  ]
  start = time.monotonic()
  result = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60)
  assert result.returncode == 1
  assert "run of another model" in result.stderr
  assert " tensorflow\n" not in result.stderr
  assert time.monotonic() - start < 30
  assert json.loads((tmp_path / run_config.FILE).read_text())["model"]["hidden_size"] == 32
