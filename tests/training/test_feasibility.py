from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from runs import golden_config, write_records

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.training import feasibility


@pytest.mark.parametrize("name", ["tiny", "relu"])
def test_parameters_by_the_config_are_those_of_the_model(name):
  import numpy as np

  from bert_tf.modeling import BertModel

  config = golden_config(name)
  variables = BertModel(config).variables
  assert feasibility.parameter_count(config) == sum(int(np.prod(v.shape)) for v in variables)


@pytest.mark.parametrize(
  "sizes", [{"num_hidden_layers": 10**9}, {"vocab_size": 10**12}, {"intermediate_size": 10**12}]
)
def test_a_model_that_no_memory_holds_is_refused(sizes):
  config = BertConfig(**{"vocab_size": 30522, **sizes})
  with pytest.raises(UserError, match=r"memory of .* \([\d,.]+ GB .* take [\d,.]+ GB; check"):
    feasibility.check_memory(config)


def test_replicas_share_the_memory_of_the_host(monkeypatch):
  monkeypatch.setattr(feasibility, "_gpu_memory", list)
  monkeypatch.setattr(feasibility, "_host_memory", lambda: 3 * 10**9)
  config = BertConfig(vocab_size=30522)
  feasibility.check_memory(config)
  with pytest.raises(UserError, match=re.escape("(1.5 GB for each copy)")):
    feasibility.check_memory(config, replicas=2)
  # Copies on GPUs have a memory each.
  monkeypatch.setattr(feasibility, "_gpu_memory", lambda: [16 << 30, 3 << 30])
  feasibility.check_memory(config, replicas=2)


def test_a_directory_that_can_be_written_is_left_as_it_was(tmp_path):
  feasibility.check_writable(str(tmp_path / "a" / "b"))
  feasibility.check_writable(str(tmp_path))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/bert", "dangling"])
def test_a_directory_that_cannot_be_written_is_refused(tmp_path, place):
  (tmp_path / "file").touch()
  (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "x")
  with pytest.raises(UserError, match=r"^`output_dir`: cannot write in "):
    feasibility.check_writable(os.path.join(tmp_path, place))


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
  ("sizes", "output_dir", "message"),
  [
    ({"num_hidden_layers": 10**9}, "out", "error: expected a model that fits into the memory"),
    ({}, "config.json/out", "error: --output_dir: cannot write in"),
  ],
)
def test_the_script_refuses_before_tensorflow(root, tmp_path, dry_run, sizes, output_dir, message):
  [data] = write_records(tmp_path, files=1)
  config = tmp_path / "config.json"
  config.write_text(json.dumps({**golden_config("tiny").to_dict(), **sizes}))
  before = sorted(tmp_path.iterdir())
  command = [
    sys.executable, "-X", "importtime", str(root / "run_pretraining.py"), "--do_train",
    f"--bert_config_file={config}", f"--input_file={data}", f"--dry_run={dry_run}",
    f"--output_dir={tmp_path}/{output_dir}",
  ]  # fmt: skip
  ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
  assert ended.returncode == 1
  assert message in ended.stderr
  assert " tensorflow\n" not in ended.stderr
  assert sorted(tmp_path.iterdir()) == before
