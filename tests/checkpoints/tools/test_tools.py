"""The commands on checkpoints."""

from __future__ import annotations

import argparse
import importlib
import json
import os

import numpy as np
import pytest

from bert_tf import checkpoints, heads
from bert_tf.checkpoints import formats, tf1
from bert_tf.errors import UserError
from bert_tf.model_dir import Description
from bert_tf.modeling import BertModel
from bert_tf.tokenization import FullTokenizer, TokenizerSettings


def run(command, *arguments):
  module = importlib.import_module(f"bert_tf.checkpoints.tools.{command}")
  parser = argparse.ArgumentParser()
  module.add_arguments(parser)
  module.run(parser.parse_args([str(argument) for argument in arguments]))


def tensors(path):
  reader = formats.open_checkpoint(str(path))
  return {name: reader.read(name) for name in reader.shapes}


@pytest.fixture
def out(tmp_path):
  return str(tmp_path / "out")


def test_inspect(config, directory_of, capsys):
  model = heads.PretrainingModel(config)
  more = {"bert/pooler/dense/bias/adam_m": np.ones(8, np.float32), "global_step": np.int64(7)}
  source = directory_of("source", model, **more)
  run("inspect", source)
  text = capsys.readouterr().out
  count = sum(int(np.prod(variable.shape)) for variable in model.variables)
  assert "format      TF1" in text and f"parameters  {count:,}" in text
  assert "optimizer   8 values" in text and "step        7" in text
  assert "3 layers, hidden 8, 2 heads" in text and "vocab.txt (lower-cased)" in text
  norm = np.linalg.norm(tensors(source)["bert/pooler/dense/kernel"])
  line = next(line for line in text.splitlines() if line.startswith("bert/pooler/dense/kernel "))
  assert "8 x 8" in line and f"{norm:.5g}" in line
  run("inspect", source, "--no_norms")
  assert f"{norm:.5g}" not in capsys.readouterr().out


def test_inspect_without_config_and_with_labels(golden, capsys):
  run("inspect", golden / "trained_relu_ckpt")
  assert "config      none beside the weights" in capsys.readouterr().out
  run("inspect", golden / "formats" / "huggingface" / "BertForTokenClassification")
  text = capsys.readouterr().out
  assert "format      Hugging Face" in text and "labels      O, B-X, I-X" in text


def test_strip(golden, out):
  source = golden / "trained_relu_ckpt" / "model.ckpt-15"
  run("strip", source, out, "--bert_config_file", golden / "config_relu_large_type.json")
  before, after = tensors(source), tensors(out)
  assert "global_step" in before and len(before) == 3 * len(after) + 1
  for name, array in after.items():
    np.testing.assert_array_equal(array, before[name])


def test_average(config, directory_of, randomise, weights_of, tmp_path, out):
  model = BertModel(config)
  source = directory_of("train", model)
  expected = {}
  for step in (10, 20, 30):
    randomise(model.variables, seed=step)
    more = {"global_step": np.int64(step)}
    tf1.write(f"{source}/model.ckpt-{step}", {**weights_of(model), **more})
    if step > 10:
      for name, array in weights_of(model).items():
        expected[name] = expected.get(name, 0) + array.astype(np.float64) / 2
  lines = [f'all_model_checkpoint_paths: "model.ckpt-{step}"\n' for step in (10, 20, 30)]
  with open(f"{source}/checkpoint", "w") as file:
    file.write('model_checkpoint_path: "model.ckpt-30"\n' + "".join(lines))
  run("average", source, out, "--last", 2)
  found = tensors(out)
  assert found.keys() == expected.keys()
  for name, array in found.items():
    np.testing.assert_allclose(array, expected[name], atol=1e-7)
  listed = str(tmp_path / "listed")
  run("average", f"{source}/model.ckpt-20", f"{source}/model.ckpt-30", listed)
  np.testing.assert_array_equal(
    tensors(listed)["bert/pooler/dense/bias"], found["bert/pooler/dense/bias"]
  )
  for inputs, message in (
    ([source, "--last", 4], r"the 4 checkpoints that --last asks for, found 3 \(model.ckpt-10, mo"),
    ([source, "--last", 4], "lower --last to 3, or train with --keep_checkpoint_max=4 or more"),
    ([source, "--last", 0], "--last: expected at least 2 checkpoints to average, found 0"),
    ([source, "--last", -1], "--last: expected at least 2 checkpoints to average, found -1"),
    ([source, source, "--last", 2], "expected one training directory .* found 2 inputs"),
    ([source], "name more of them, or, of one training directory, how many .* with --last"),
    ([tmp_path, "--last", 2], "found 0 .none that its state file lists.; there is nothing to"),
  ):
    *paths, _, _ = [*inputs, None, None] if len(inputs) == 1 else inputs
    with pytest.raises(UserError, match=message):
      run("average", *paths, out + "1", *inputs[len(paths) :])


def test_average_of_different_models(config, directory_of, out):
  sources = [directory_of("a", BertModel(config)), directory_of("b", heads.SpanModel(config))]
  with pytest.raises(UserError, match="found cls/squad/output_bias of shape"):
    run("average", *sources, out)


@pytest.mark.parametrize("to", ["tf1", "huggingface"])
def test_add_tokens(config, directory_of, features, out, to):
  model = heads.PretrainingModel(config)
  source = directory_of("source", model)
  run("add_tokens", source, out, "zebra", "##ness", "[E1]", "straße", "--to", to)
  about = checkpoints.describe(out)
  assert about.config.vocab_size == 35
  tokenizer = FullTokenizer(about.vocab_file, do_lower_case=True)
  ids = tokenizer.convert_tokens_to_ids(["zebra", "##ness", "[E1]", "straße"])
  assert ids == [1, 2, 33, 34]
  assert tokenizer.tokenize("a zebra in Straße") == ["a", "zebra", "[UNK]", "straße"]
  before, after = tensors(source), tensors(out)
  table = after["bert/embeddings/word_embeddings"]
  np.testing.assert_array_equal(table[:33], before["bert/embeddings/word_embeddings"])
  assert 0 < np.abs(table[33:]).max() <= 0.04 and np.std(table[33:]) > 0.005
  bias = after["cls/predictions/output_bias"]
  np.testing.assert_allclose(bias[33:], before["cls/predictions/output_bias"].mean(), rtol=1e-6)
  # Texts of old tokens are encoded as before.
  larger = heads.PretrainingModel(about.config)
  checkpoints.load(larger, out)
  np.testing.assert_allclose(
    larger(features)["sequence_output"], model(features)["sequence_output"], atol=1e-6
  )


def test_tokens_from_a_file_fill_unused_slots_only(config, directory_of, tmp_path, out):
  (tmp_path / "new.txt").write_text("lion\n\ntiger\n")
  source = directory_of("source", BertModel(config))
  run("add_tokens", source, out, "--tokens_file", tmp_path / "new.txt")
  about = checkpoints.describe(out)
  assert about.config == config
  with open(about.vocab_file) as file:
    assert file.read().splitlines()[:4] == ["[PAD]", "lion", "tiger", "[UNK]"]


@pytest.mark.parametrize(
  ("token", "message"),
  [
    ("a", "found it in the vocabulary already"),
    ("Zebra", "no text could ever give it, since the tokenizer makes 'zebra' of it"),
    ("covid-19", "makes 'covid - 19' of it"),
    ("two words", "makes 'two words' of it"),
    ("##", "no text could ever give it"),
    ("##.", "'.' is always a word by itself"),
    ("##中", "'中' is always a word by itself"),
    ("x" * 201, "more than 200 characters"),
    ("caf\u00e9", "makes 'cafe' of it"),
    ("zebra\u200d", "makes 'zebra' of it"),
    (" zebra", "makes 'zebra' of it"),
  ],
)
def test_tokens_that_make_no_sense(config, directory_of, out, token, message):
  source = directory_of("source", BertModel(config))
  with pytest.raises(UserError, match=message):
    run("add_tokens", source, out, token)
  assert not os.path.exists(out)


def test_add_tokens_without_tokens_or_vocabulary(config, directory_of, out):
  source = directory_of("source", BertModel(config))
  with pytest.raises(UserError, match="expected tokens to add, found none"):
    run("add_tokens", source, out)
  os.remove(f"{source}/vocab.txt")
  with pytest.raises(UserError, match="expected a vocab"):
    run("add_tokens", source, out, "zebra")


def test_truncate_layers(config, directory_of, features, out):
  model = BertModel(config)
  source = directory_of("source", model)
  run("truncate_layers", source, out, "--num_layers", 2)
  about = checkpoints.describe(out)
  assert about.config.num_hidden_layers == 2
  smaller = BertModel(about.config)
  assert not checkpoints.load(smaller, out).unexpected
  np.testing.assert_array_equal(
    smaller(features)["sequence_output"], model(features)["encoder_layers"][1]
  )
  run("truncate_layers", source, out + "2", "--layers", "2,0")
  before, after = tensors(source), tensors(out + "2")
  for new, old in enumerate((2, 0)):
    name = "bert/encoder/layer_{}/output/dense/kernel"
    np.testing.assert_array_equal(after[name.format(new)], before[name.format(old)])
  for wrong, message in (("0,3", "from 0 to 2, found 3"), ("a", "numbers and commas")):
    with pytest.raises(UserError, match=message):
      run("truncate_layers", source, out + "3", "--layers", wrong)


def test_extend_positions(config, directory_of, features, out):
  model = BertModel(config)
  source = directory_of("source", model)
  run("extend_positions", source, out, "--max_position_embeddings", 30)
  about = checkpoints.describe(out)
  assert about.config.max_position_embeddings == 30
  longer = BertModel(about.config)
  checkpoints.load(longer, out)
  np.testing.assert_array_equal(
    longer(features)["sequence_output"], model(features)["sequence_output"]
  )
  table = tensors(out)["bert/embeddings/position_embeddings"]
  np.testing.assert_array_equal(table[14:28], table[:14])
  np.testing.assert_array_equal(table[28:], table[:2])
  longer({"input_ids": np.ones([1, 30], np.int32)})
  with pytest.raises(UserError, match="expected more than the 14"):
    run("extend_positions", source, out + "2", "--max_position_embeddings", 14)


def test_the_format_is_kept(golden, out):
  source = golden / "formats" / "huggingface" / "BertForTokenClassification"
  run("truncate_layers", source, out, "--num_layers", 1)
  assert {"config.json", "model.safetensors", "labels.txt", "head.json"} == set(os.listdir(out))
  assert checkpoints.describe(out).labels == ("O", "B-X", "I-X")


def test_names_cannot_give_orders_to_the_terminal(config, directory_of, capsys):
  more = {"evil\x1b[2Jname": np.ones(2, np.float32), "two\nrows": np.ones(2, np.float32)}
  source = directory_of("source", BertModel(config), **more)
  run("inspect", source)
  text = capsys.readouterr().out
  assert "\x1b" not in text and r"evil\x1b[2Jname" in text and r"two\x0arows" in text


def test_inspect_shows_what_is_not_finite(config, directory_of, capsys):
  source = directory_of("source", BertModel(config), extra=np.array([1, np.nan, np.inf], "f4"))
  run("inspect", source)
  line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("extra"))
  assert "(2 values NaN or infinite)" in line


TOOLS = {
  "add_tokens": ["zebra"], "strip": [], "truncate_layers": ["--num_layers", 1],
  "extend_positions": ["--max_position_embeddings", 20], "average": [],
}  # fmt: skip


@pytest.mark.parametrize("to", ["tf1", "huggingface"])
@pytest.mark.parametrize("command", TOOLS)
def test_what_lies_beside_the_weights_is_kept(config, vocabulary, tmp_path, command, to):
  """Labels, kind of head, settings of the run and of the tokenizer."""
  about = Description(
    config, tuple(vocabulary), tokenizer=TokenizerSettings(do_lower_case=True, strip_accents=False),
    labels=("a", "b", "c"), head="multilabel", pairs=True, max_seq_length=9,
    settings={"threshold": 0.3},
  )  # fmt: skip
  source, out = tmp_path / "source", tmp_path / "out"
  checkpoints.save(heads.ClassifierModel(config, 3), str(source), "tf1", about)
  inputs = [source, source] if command == "average" else [source]
  run(command, *inputs, out, *TOOLS[command], "--to", to)
  found = checkpoints.describe(str(out))
  for name in ("labels", "head", "pairs", "max_seq_length", "settings", "tokenizer"):
    assert getattr(found, name) == getattr(about, name), name
  if to == "huggingface":
    written = json.loads((out / "config.json").read_text())
    assert written["problem_type"] == "multi_label_classification"


def test_a_prefix_is_found_and_given(config, directory_of, weights_of, capsys, tmp_path):
  model = BertModel(config)
  source = directory_of("source", model)
  twice = {f"{p}/{n}": a for n, a in weights_of(model).items() for p in ("teacher", "student")}
  tf1.write(f"{source}/bert_model.ckpt", twice)
  with pytest.raises(UserError, match="found 2: 'student/bert/', 'teacher/bert/'"):
    run("strip", source, tmp_path / "out")
  run("strip", source, tmp_path / "out", "--checkpoint_prefix", "student")
  assert_equal = np.testing.assert_array_equal
  name = "bert/pooler/dense/kernel"
  assert_equal(tensors(tmp_path / "out")[name], weights_of(model)[name])
  run("inspect", source, "--checkpoint_prefix=teacher")
  assert name in capsys.readouterr().out
