"""BERT under other names than its own: found where there is one, refused where there are two."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import checkpoints, heads
from bert_tf.checkpoints import formats, scopes, tf1
from bert_tf.errors import UserError
from bert_tf.modeling import BertModel


@pytest.fixture
def tensors(config, randomise, weights_of):
  """The weights of a classifier."""
  model = heads.ClassifierModel(config, 3)
  randomise(model.variables)
  return weights_of(model)


def read(path, prefix=None):
  reader = formats.open_checkpoint(str(path), prefix)
  return {name: reader.read(name) for name in reader.shapes}


@pytest.mark.parametrize("prefix", ["module/", "a/b_2/"])
def test_a_scope_around_everything(tensors, assert_same, tmp_path, caplog, prefix):
  more = {"bert/pooler/dense/bias/adam_m": np.ones(8, "f4")}
  named = {prefix + name: array for name, array in {**tensors, **more}.items()}
  tf1.write(str(tmp_path / "model.ckpt"), {**named, "global_step": np.int64(3)})
  with caplog.at_level("INFO", logger="absl"):
    found = read(tmp_path)
  assert f"the weights of BERT stand under '{prefix}bert/'" in caplog.text
  assert_same(found, {**tensors, **more, "global_step": np.int64(3)})


def test_a_scope_in_place_of_berts(tensors, assert_same, tmp_path):
  named = {name.replace("bert/", "bert_1/", 1): array for name, array in tensors.items()}
  tf1.write(str(tmp_path / "model.ckpt"), named)
  assert_same(read(tmp_path), tensors)


def two(tensors, first, second):
  """Two models in one file; the weights of the second are twice those of the first."""
  named = {first + name: array for name, array in tensors.items()}
  return named | {second + name: 2 * array for name, array in tensors.items()}


@pytest.mark.parametrize("prefix", ["student", "student/", "student/bert", "student/bert/"])
def test_two_models_of_tensorflow(tensors, config, tmp_path, prefix):
  tf1.write(str(tmp_path / "model.ckpt"), two(tensors, "teacher/", "student/"))
  with pytest.raises(UserError, match=r"found 2: 'student/bert/', 'teacher/bert/'; say which with"):
    formats.open_checkpoint(str(tmp_path))
  with pytest.raises(UserError, match="under the prefix 'pupil', found them under 'student/bert/'"):
    formats.open_checkpoint(str(tmp_path), "pupil")
  model = heads.ClassifierModel(config, 3)
  report = checkpoints.load(model, str(tmp_path), prefix=prefix)
  np.testing.assert_array_equal(model.head.output_bias, 2 * tensors["output_bias"])
  assert all(name.startswith("teacher/") for name in report.unexpected)


def test_berts_own_name_goes_first(tensors, tmp_path):
  tf1.write(str(tmp_path / "model.ckpt"), two(tensors, "", "ema/"))
  name = "bert/pooler/dense/bias"
  for prefix, factor in ((None, 1), ("", 1), ("bert", 1), ("ema", 2)):
    np.testing.assert_array_equal(read(tmp_path, prefix)[name], factor * tensors[name])
  found = read(tmp_path, "ema/")
  assert found["output_bias"][0] == 2 * tensors["output_bias"][0]
  assert "outside of ema/bert/: output_bias" in found


@pytest.mark.parametrize("model", ["roberta", "electra", "albert_1"])
def test_other_models_are_not_taken_for_bert(tensors, config, tmp_path, model):
  named = {name.replace("bert/", f"{model}/", 1): array for name, array in tensors.items()}
  tf1.write(str(tmp_path / "model.ckpt"), named)
  with pytest.raises(UserError, match="shares no weight with the model"):
    checkpoints.load(BertModel(config), str(tmp_path))


def torch_file(path, tensors, prefix, bare=False):
  """Writes tensors under transformers' names; returns the path of the file."""
  from safetensors.numpy import save_file

  from bert_tf.checkpoints import huggingface

  named = {}
  for name, array in tensors.items():
    theirs, layout = huggingface.TABLE.to_theirs(name)
    theirs = theirs.removeprefix("bert.") if bare else theirs
    named[prefix + theirs] = layout.to_theirs(array, 2)
  return named, lambda more=(): (save_file({**named, **dict(more)}, path), str(path))[1]


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "0.auto_model.", "net.student."])
def test_prefixes_of_torch(tensors, assert_same, tmp_path, prefix, bare):
  _, save = torch_file(tmp_path / "m.safetensors", tensors, prefix, bare)
  assert_same(read(save()), tensors)


def test_two_models_of_torch(tensors, tmp_path):
  twice, _ = torch_file(tmp_path / "x", {n: 2 * a for n, a in tensors.items()}, "student.")
  _, save = torch_file(tmp_path / "m.safetensors", tensors, "teacher.")
  path = save(twice)
  with pytest.raises(UserError, match=r"found 2: 'student\.bert\.', 'teacher\.bert\.'"):
    formats.open_checkpoint(path)
  for name in ("bert/pooler/dense/kernel", "output_bias"):
    np.testing.assert_array_equal(read(path, "student")[name], 2 * tensors[name])
    np.testing.assert_array_equal(read(path, "teacher.")[name], tensors[name])


def test_a_head_beside_a_wrapped_encoder(tensors, assert_same, tmp_path):
  encoder = {n: a for n, a in tensors.items() if n.startswith("bert/")}
  _, save = torch_file(tmp_path / "m.safetensors", encoder, "encoder.", bare=True)
  head, _ = torch_file(tmp_path / "x", {n: tensors[n] for n in set(tensors) - set(encoder)}, "")
  assert_same(read(save(head)), tensors)


def test_two_encoders_of_model_garden(config, randomise, tmp_path):
  """Object-based checkpoints: the same attributes twice."""
  root = tf.Module()
  for number, name in enumerate(("student", "teacher")):
    module = tf.Module()
    module._embedding_layer = tf.Module()
    module._embedding_layer.embeddings = tf.Variable(np.full([4, 2], number, "f4"))
    setattr(root, name, module)
  tf.train.Checkpoint(root=root).write(str(tmp_path / "ckpt"))
  with pytest.raises(UserError, match="expected the weights of one BERT, found two, with teacher"):
    formats.open_checkpoint(str(tmp_path))
  words = read(tmp_path, "teacher")["bert/embeddings/word_embeddings"]
  np.testing.assert_array_equal(words, np.ones([4, 2]))
  with pytest.raises(UserError, match="under the prefix 'pupil', found none"):
    formats.open_checkpoint(str(tmp_path), "pupil")


def test_an_incomplete_model_keeps_its_names():
  for names, scope in (
    (["bert.pooler.dense.bias"], "bert."),
    (["pooler.dense.bias"], ""),
    ([], "bert."),
  ):
    assert scopes.find("path", names, scopes.TORCH).encoder == scope
