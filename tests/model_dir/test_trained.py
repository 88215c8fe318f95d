from __future__ import annotations

import json

import pytest

from bert_tf.errors import UserError
from bert_tf.model_dir import trained


@pytest.fixture
def output_dir(golden, tmp_path):
  (tmp_path / "vocab.txt").write_text("[PAD]\n")
  (tmp_path / "config.json").write_bytes((golden / "bert_config.json").read_bytes())
  names = {str(i): f"label {i}" for i in range(12)}
  (tmp_path / "label_map.json").write_text(json.dumps(names))
  (tmp_path / "run_config.json").write_text('{"hyperparameters": {"max_seq_length": 77}}')
  return tmp_path


@pytest.mark.parametrize("checkpoint", ["", "model.ckpt-7", "best", "best/model.ckpt-5"])
def test_what_lies_beside_the_weights_is_found(output_dir, checkpoint):
  (output_dir / "best").mkdir()
  path = str(output_dir / checkpoint)
  assert trained.vocab_file(path, None) == str(output_dir / "vocab.txt")
  assert trained.config(path, None).vocab_size == 1200
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


def test_the_case_of_the_text(output_dir):
  """By the flag, the tokenizer's file or the vocabulary; two that disagree are refused."""
  path, cased, uncased = str(output_dir), ["the", "The", "House"], ["[UNK]", "the", "house"]
  assert [trained.do_lower_case(path, None, v) for v in (cased, uncased)] == [False, True]
  assert trained.do_lower_case(path, True, cased) is True
  file = output_dir / "tokenizer_config.json"
  file.write_text('{"do_lower_case": false}')
  (output_dir / "best").mkdir()
  for beside in (path, f"{path}/model.ckpt-7", f"{path}/best"):
    assert trained.do_lower_case(beside, None, uncased) is False
    assert trained.do_lower_case(beside, False, uncased) is False
    with pytest.raises(UserError, match=r"expected --do_lower_case=False, as tokenizer_config"):
      trained.do_lower_case(beside, True, uncased)


def test_the_weights_to_export(tmp_path):
  def checkpoint(path):
    path.parent.mkdir(exist_ok=True)
    for suffix in (".index", ".data-00000-of-00001"):
      path.with_name(path.name + suffix).touch()

  out = str(tmp_path)
  with pytest.raises(UserError, match="expected a checkpoint in --output_dir"):
    trained.weights(trained.weights_dir(out, True), None)
  assert trained.weights(trained.weights_dir(out, True), "pretrained/bert") == "pretrained/bert"
  checkpoint(tmp_path / "model.ckpt-9")
  checkpoint(tmp_path / "model.ckpt-10")
  assert trained.weights(trained.weights_dir(out, True), None) == f"{out}/model.ckpt-10"
  checkpoint(tmp_path / "best" / "model.ckpt-5")
  assert trained.weights(trained.weights_dir(out, True), "x") == f"{out}/best/model.ckpt-5"
  assert trained.weights(trained.weights_dir(out, False), "x") == f"{out}/model.ckpt-10"
