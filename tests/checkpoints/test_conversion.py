"""Conversions: out and back bit for bit, nothing half-written, nothing silent."""

from __future__ import annotations

import json
import os
import runpy
import sys

import numpy as np
import pytest

from bert_tf import checkpoints, heads
from bert_tf.checkpoints import conversion, formats, tf1
from bert_tf.errors import UserError
from bert_tf.model_dir import Given, weight_files
from bert_tf.modeling import BertModel


def read_json(path):
  with open(path, encoding="utf-8") as file:
    return json.load(file)


def tensors(path):
  reader = formats.open_checkpoint(path)
  return {name: reader.read(name) for name in reader.shapes}


MODELS = {
  "encoder": (BertModel, (), "BertModel"),
  "pretraining": (heads.PretrainingModel, (), "BertForPreTraining"),
  "classifier": (heads.ClassifierModel, (3,), "BertForSequenceClassification"),
  "span": (heads.SpanModel, (), "BertForQuestionAnswering"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_hugging_face_and_back(config, directory_of, assert_same, tmp_path, kind):
  model, arguments, architecture = MODELS[kind]
  source = directory_of("source", model(config, *arguments))
  theirs, back = str(tmp_path / "theirs"), str(tmp_path / "back")
  there = checkpoints.convert(source, theirs, "huggingface")
  assert set(there.differences.values()) == {0.0} and not there.left_out
  checkpoints.convert(theirs, back, "tf1")
  assert_same(tensors(source), tensors(back))
  for name in ("bert_config.json", "vocab.txt"):
    with open(f"{source}/{name}") as one, open(f"{back}/{name}") as other:
      assert one.read() == other.read()
  written = read_json(f"{theirs}/config.json")
  assert written["architectures"] == [architecture]
  assert written["hidden_act"] == "gelu_new" and written["layer_norm_eps"] == 1e-12
  tokenizer = read_json(f"{theirs}/tokenizer_config.json")
  assert tokenizer["do_lower_case"] is True and tokenizer["model_max_length"] == 14


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "BertForTokenClassification"])
def test_hugging_face_to_itself_keeps_every_tensor(golden, tmp_path, name):
  """The names, shapes and bytes are those that transformers wrote."""
  from bert_tf.checkpoints import huggingface

  source = str(golden / "formats" / "huggingface" / name)
  output = str(tmp_path / "out")
  checkpoints.convert(source, output, "huggingface")
  first = huggingface._open(weight_files.find_hugging_face(source))
  second = huggingface._open(weight_files.find_hugging_face(output))
  redundant = {"cls.predictions.decoder.bias", "cls.predictions.decoder.weight"}
  assert set(first.shapes) - redundant == set(second.shapes)
  for key in second.shapes:
    np.testing.assert_array_equal(first.read(key), second.read(key))
  one, other = (read_json(f"{path}/config.json") for path in (source, output))
  for key in ("architectures", "hidden_act", "layer_norm_eps", "id2label", "type_vocab_size"):
    if name != "BertModel" or key != "id2label":
      assert one.get(key) == other.get(key) or key == "id2label", key
  if "Token" in name:
    assert other["id2label"] == {"0": "O", "1": "B-X", "2": "I-X"}


def test_files_can_be_read_by_whom_the_umask_lets(config, directory_of, tmp_path):
  source = directory_of("source", BertModel(config))
  before = os.umask(0o022)
  try:
    checkpoints.convert(source, str(tmp_path / "out"), "huggingface")
  finally:
    os.umask(before)
  assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
  assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o644}


def test_optimizer_slots_stay_within_tf1(golden, tmp_path):
  source = str(golden / "trained_relu_ckpt" / "model.ckpt-15")
  about = checkpoints.describe(source, Given(str(golden / "config_relu_large_type.json")))
  checkpoints.convert(source, str(tmp_path / "tf1"), "tf1", about)
  before, after = tensors(source), tensors(str(tmp_path / "tf1"))
  assert before.keys() == after.keys() and "global_step" in after
  result = checkpoints.convert(source, str(tmp_path / "hf"), "huggingface", about)
  assert not result.left_out
  assert not any(name.endswith("/adam_m") for name in tensors(str(tmp_path / "hf")))


def test_several_heads_at_once(golden, tmp_path):
  source = str(golden / "tiny_heads_ckpt")
  about = checkpoints.describe(source, Given(str(golden / "bert_config.json")))
  result = checkpoints.convert(source, str(tmp_path / "hf"), "huggingface", about)
  assert {"logits", "start_logits", "end_logits"} <= set(result.differences)


def test_weights_that_are_not_berts_are_listed(config, directory_of, tmp_path):
  extra = {"my/adapter": np.ones([2, 2], np.float32)}
  source = directory_of("source", BertModel(config), **extra)
  for to in ("tf1", "huggingface", "model_garden", "keras_hub"):
    assert "my/adapter" in checkpoints.convert(source, str(tmp_path / to), to).left_out


def test_outputs_that_differ_leave_nothing_behind(config, directory_of, tmp_path, monkeypatch):
  from bert_tf.checkpoints.name_tables import Layout

  source = directory_of("source", BertModel(config))
  # As if a format's table had forgotten to transpose square kernels.
  monkeypatch.setattr(
    type(checkpoints.huggingface.TRANSPOSED), "to_theirs", lambda self, array, heads: array.T.copy()
    if array.shape[0] != array.shape[1] else array,
  )  # fmt: skip
  with pytest.raises(UserError, match=r"differ by .*; nothing was written"):
    checkpoints.convert(source, str(tmp_path / "out"), "huggingface")
  assert os.listdir(tmp_path) == ["source"]
  assert Layout().to_theirs(np.ones(2), 1).shape == (2,)


def test_output_that_exists_is_kept(config, directory_of, tmp_path):
  source = directory_of("source", BertModel(config))
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / "precious").write_text("")
  with pytest.raises(UserError, match="expected a new or empty directory"):
    checkpoints.convert(source, str(tmp_path / "out"), "tf1")
  (tmp_path / "out" / "precious").unlink()
  checkpoints.convert(source, str(tmp_path / "out"), "tf1")


@pytest.mark.parametrize("how", ["link", "here"])
def test_an_empty_directory_stays_the_same_one(config, directory_of, tmp_path, monkeypatch, how):
  """A link to one, and the one that the shell is in, neither of which can be replaced."""
  source = directory_of("source", BertModel(config))
  disk = tmp_path / "disk"
  disk.mkdir()
  number = disk.stat().st_ino
  output = str(tmp_path / "out") if how == "link" else "."
  (tmp_path / "out").symlink_to(disk)
  monkeypatch.chdir(disk)
  checkpoints.convert(source, output, "tf1")
  assert checkpoints.describe(str(disk)).config == config
  assert disk.stat().st_ino == number and (tmp_path / "out").is_symlink()
  assert not any(path.name.startswith(".") for path in disk.iterdir())
  with pytest.raises(UserError, match="expected a new or empty directory"):
    checkpoints.convert(source, output, "tf1")


def test_files_that_cannot_all_be_moved_are_moved_back(config, directory_of, tmp_path, monkeypatch):
  from bert_tf.checkpoints import conversion

  source = directory_of("source", BertModel(config))
  (tmp_path / "out").mkdir()
  replace = os.replace

  def fail(old, new):
    if new.endswith("vocab.txt") and "converting" in old and "out/vocab.txt" in new:
      raise OSError(28, "No space left on device")
    replace(old, new)

  monkeypatch.setattr(conversion.os, "replace", fail)
  with pytest.raises(UserError, match=r"cannot write .*: No space left on device; give"):
    checkpoints.convert(source, str(tmp_path / "out"), "tf1")
  assert os.listdir(tmp_path / "out") == []


def test_what_a_killed_conversion_left_is_removed(config, directory_of, tmp_path):
  source = directory_of("source", BertModel(config))
  (tmp_path / ".converting-dead").mkdir()
  (tmp_path / "out" / ".converting-dead").mkdir(parents=True)
  checkpoints.convert(source, str(tmp_path / "out"), "tf1")
  checkpoints.convert(source, str(tmp_path / "out2"), "tf1")
  assert not list(tmp_path.rglob(".converting-*"))


def test_no_space_left(config, directory_of, tmp_path, monkeypatch):
  source = directory_of("source", BertModel(config))

  def full(*args, **options):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr("safetensors.numpy.save_file", full)
  with pytest.raises(UserError, match="No space left on device"):
    checkpoints.convert(source, str(tmp_path / "out"), "huggingface")
  assert os.listdir(tmp_path) == ["source"]


def test_vocabulary_that_does_not_fit(config, directory_of, vocabulary, tmp_path):
  source = directory_of("source", BertModel(config))
  with open(f"{source}/vocab.txt", "a") as file:
    file.write("more\nand more\n")
  with pytest.raises(UserError, match=r"expected at most the 33 tokens.*found 35"):
    checkpoints.describe(source)


def test_config_that_does_not_fit(config, directory_of, tmp_path):
  import dataclasses

  source = directory_of("source", BertModel(config))
  wide = dataclasses.replace(config, hidden_size=12)
  about = dataclasses.replace(checkpoints.describe(source), config=wide)
  with pytest.raises(UserError, match=r"of shape \[33, 12\], found \[33, 8\]"):
    checkpoints.convert(source, str(tmp_path / "out"), "huggingface", about)
  assert os.listdir(tmp_path) == ["source"]


def test_labels_that_do_not_fit(config, directory_of, tmp_path):
  import dataclasses

  source = directory_of("source", heads.ClassifierModel(config, 3))
  about = dataclasses.replace(checkpoints.describe(source), labels=("yes", "no"))
  with pytest.raises(UserError, match="expected 3 labels, one for each class, found 2"):
    checkpoints.convert(source, str(tmp_path / "out"), "huggingface", about)


def test_unknown_format(config, directory_of, tmp_path):
  source = directory_of("source", BertModel(config))
  with pytest.raises(UserError, match="expected a format of tf1, huggingface"):
    checkpoints.convert(source, str(tmp_path / "out"), "onnx")


def test_truncated_shard_of_tf1(config, directory_of):
  source = directory_of("source", BertModel(config))
  path = f"{source}/bert_model.ckpt.data-00000-of-00001"
  os.truncate(path, os.path.getsize(path) // 2)
  with pytest.raises(UserError, match="truncated or damaged"):
    checkpoints.load(BertModel(config), source)
  os.remove(path)
  with pytest.raises(UserError, match="truncated or damaged"):
    checkpoints.load(BertModel(config), source)


def test_case_is_told_by_the_tokenizer_or_the_vocabulary(config, directory_of, vocabulary):
  source = directory_of("source", BertModel(config))
  assert checkpoints.describe(source).tokenizer.do_lower_case is True
  with open(f"{source}/vocab.txt", "w") as file:
    file.write("\n".join([*vocabulary[:-3], *"XYZ"]) + "\n")
  assert checkpoints.describe(source).tokenizer.do_lower_case is False
  with open(f"{source}/tokenizer_config.json", "w") as file:
    json.dump({"do_lower_case": True}, file)
  assert checkpoints.describe(source).tokenizer.do_lower_case is True
  # What cannot be told from the vocabulary is kept beside the weights.
  checkpoints.convert(source, f"{source}-stripped", "tf1")
  assert checkpoints.describe(f"{source}-stripped").tokenizer.do_lower_case is True


def run_script(root, monkeypatch, *arguments):
  """Runs the script in this process: importing TensorFlow again takes longer than all tests."""
  from absl import flags

  saved = {name: flags.FLAGS[name] for name in flags.FLAGS}
  # Its flags are defined when it is imported.
  sys.modules.pop("bert_tf.scripts.convert_checkpoint", None)
  monkeypatch.setattr(sys, "argv", ["convert_checkpoint.py", *arguments])
  try:
    with pytest.raises(SystemExit) as stop:
      runpy.run_path(str(root / "convert_checkpoint.py"), run_name="__main__")
    return stop.value.code
  finally:
    for name in set(flags.FLAGS) - set(saved):
      delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()


def test_script(root, config, directory_of, tmp_path, capfd, monkeypatch):
  source = directory_of("source", heads.ClassifierModel(config, 3))
  output = str(tmp_path / "out")
  code = run_script(
    root, monkeypatch, f"--input={source}", f"--output={output}", "--to=huggingface",
    "--labels=no,yes,perhaps", "--task=tokens", "--nodo_lower_case",
  )  # fmt: skip
  out, err = capfd.readouterr()
  assert not code, err
  assert "logits                  0.0e+00" in out
  written = read_json(f"{output}/config.json")
  assert written["architectures"] == ["BertForTokenClassification"]
  assert written["id2label"]["2"] == "perhaps"
  assert read_json(f"{output}/tokenizer_config.json")["do_lower_case"] is False
  about = checkpoints.describe(output)
  assert about.labels == ("no", "yes", "perhaps") and about.head == "tokens"
  code = run_script(
    root, monkeypatch, f"--input={tmp_path}/none", f"--output={output}2", "--to=tf1"
  )
  assert code == 1
  assert capfd.readouterr().err.startswith("error: ")
  assert not os.path.exists(output + "2")


def test_differences_are_those_of_the_outputs(config, directory_of, weights_of):
  model = BertModel(config)
  first = formats.open_checkpoint(directory_of("first", model))
  weights = weights_of(model)
  weights["bert/pooler/dense/bias"] = weights["bert/pooler/dense/bias"] + 0.5
  second = formats.open_checkpoint(directory_of("second", BertModel(config)))
  tf1.write(second.path, weights)
  second = formats.open_checkpoint(second.path)
  about = checkpoints.describe(first.path)
  differences = conversion.output_differences(first, second, about)
  assert differences["sequence_output"] == 0 and differences["pooled_output"] > 0.01
