"""A field of options says all about itself: flag, bounds, help, whether it makes another run."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import pytest

from bert_tf import script
from bert_tf.errors import UserError
from bert_tf.training import settings
from bert_tf.training.options import DeviceOptions, TrainingOptions

# What changes neither weights nor their order: everything else makes another run.
SAME_RUN = {
  "output_dir", "init_checkpoint", "save_checkpoints_steps", "keep_checkpoint_max",
  "steps_per_loop", "log_steps", "recompute_activations", "enable_xla", "eval_steps",
  "early_stopping_patience", "skip_nonfinite_steps", "allow_config_change", "deterministic",
  "dry_run", "stop_at",
  "profile_steps", "wandb_project", "distribution_strategy", "tpu_name", "tpu_zone",
  "gcp_project", "cluster_resolver", "worker_timeout",
}  # fmt: skip


@pytest.mark.parametrize("options", [TrainingOptions, DeviceOptions])
def test_every_field_is_described_and_every_number_bounded(options):
  for field in dataclasses.fields(options):
    setting = field.metadata["setting"]
    assert setting.help.endswith("."), field.name
    if field.type in ("int", "float"):
      assert setting.least < setting.most < float("inf"), field.name
    assert setting.another_run == (field.name not in SAME_RUN), field.name


def options_with(name: str, value) -> None:
  if name in settings.of(DeviceOptions):
    DeviceOptions(**{name: value})
  else:
    TrainingOptions(**{
      "output_dir": "out", "num_train_steps": 10, "num_warmup_steps": 1, name: value
    })  # fmt: skip


NUMBERS = [
  (name, setting)
  for options in (TrainingOptions, DeviceOptions)
  for name, setting in settings.of(options).items()
  if setting.least is not None
]


@pytest.mark.parametrize(("name", "setting"), NUMBERS, ids=[name for name, _ in NUMBERS])
def test_numbers_out_of_bounds_are_refused(name, setting):
  beyond = 2 if isinstance(setting.most, int) else 2e18
  for value in (setting.least - 1, setting.most * beyond + 1, float("nan"), "1", True, None):
    with pytest.raises(UserError, match=rf"^`{name}`: expected "):
      options_with(name, value)


def test_whole_numbers_are_whole():
  with pytest.raises(UserError, match=r"`train_batch_size`: expected a whole number, found 1\.5"):
    options_with("train_batch_size", 1.5)
  options_with("learning_rate", 1)


@pytest.mark.parametrize("name", ["optimizer", "dtype", "distribution_strategy"])
def test_words_are_one_of_the_choices(name):
  with pytest.raises(UserError, match=f"^`{name}`: expected one of .*, found 'x'"):
    options_with(name, "x")


def test_options_are_plain_dataclasses():
  assert list(inspect.signature(TrainingOptions).parameters)[:4] == [
    "output_dir", "num_train_steps", "num_warmup_steps", "train_batch_size",
  ]  # fmt: skip
  options = TrainingOptions("out", 10, 1, 8)
  assert dataclasses.replace(options, seed=1).seed == 1
  with pytest.raises(dataclasses.FrozenInstanceError):
    options.seed = 2


def test_settings_become_the_flags_of_the_script():
  text = "`learning_rate`: found 7; give `eval_steps=100`, not `num_train_steps` or `x y`"
  assert script.spelled_as_flags(text, lambda name: name != "num_train_steps") == (
    "--learning_rate: found 7; give --eval_steps=100, not num_train_steps or `x y`"
  )


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("seed=4294967296", "expected at most 4294967295, found 4294967296"),
    ("seed=-1", "expected at least 0, found -1"),
    ("max_eval_steps=0", "expected at least 1, found 0"),
    ("eval_batch_size=0", "expected at least 1, found 0"),
    ("learning_rate=nan", "expected at least 0, found nan"),
    ("learning_rate=inf", "expected at most 1000, found inf"),
    ("worker_timeout=0", "expected at least 1, found 0.0"),
    ("log_steps=many", "expected a whole number, found 'many'"),
    ("iterations_per_loop=0", "expected at least 1, found 0"),
  ],
)
def test_flags_out_of_bounds_end_in_one_line_before_tensorflow(root, tmp_path, flag, message):
  command = [sys.executable, "-X", "importtime", str(root / "run_pretraining.py")]
  command += [f"--{flag}", "--input_file=x", f"--output_dir={tmp_path}/out"]
  ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
  assert ended.returncode == 1
  said = [line for line in ended.stderr.splitlines() if not line.startswith("import time")]
  assert said == [f"error: --{flag.partition('=')[0]}: {message}; see --help"]
  assert " tensorflow\n" not in ended.stderr


def test_errors_of_the_library_name_the_flags_of_the_script(root, golden, tmp_path):
  command = [
    sys.executable, str(root / "run_pretraining.py"), "--do_train", f"--output_dir={tmp_path}/out",
    "--input_file=x", f"--bert_config_file={golden}/bert_config.json",
    "--tokens_per_batch=128", "--gradient_accumulation_steps=2",
  ]  # fmt: skip
  ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
  assert "error: expected --tokens_per_batch or --gradient_accumulation_steps, found both" in (
    ended.stderr
  )
