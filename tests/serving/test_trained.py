from __future__ import annotations

import json

import pytest

from bert_tf.errors import UserError
from bert_tf.serving import trained


@pytest.fixture
def output_dir(tmp_path):
  (tmp_path / "vocab.txt").write_text("[PAD]\n")
  (tmp_path / "config.json").write_text("{}")
  names = {str(i): f"label {i}" for i in range(12)}
  (tmp_path / "label_map.json").write_text(json.dumps(names))
  (tmp_path / "run_config.json").write_text('{"hyperparameters": {"max_seq_length": 77}}')
  return tmp_path


@pytest.mark.parametrize("checkpoint", ["", "model.ckpt-7"])
def test_what_lies_beside_the_weights_is_found(output_dir, checkpoint):
  path = str(output_dir / checkpoint)
  assert trained.vocab_file(path, None) == str(output_dir / "vocab.txt")
  assert trained.config_file(path, None) == str(output_dir / "config.json")
  assert trained.labels(path) == [f"label {i}" for i in range(12)]
  assert trained.max_seq_length(path, 128) == 77


def test_what_is_given_goes_first(output_dir):
  assert trained.vocab_file(str(output_dir), "other.txt") == "other.txt"


def test_what_is_not_there(tmp_path):
  assert trained.labels(str(tmp_path)) == []
  assert trained.max_seq_length(str(tmp_path), 128) == 128
  with pytest.raises(UserError, match="give --vocab_file"):
    trained.vocab_file(str(tmp_path), None)


def test_damaged_files_are_refused(output_dir):
  for content in ("{", "[1]"):
    (output_dir / "label_map.json").write_text(content)
    with pytest.raises(UserError, match=r"label_map.json: expected"):
      trained.labels(str(output_dir))
