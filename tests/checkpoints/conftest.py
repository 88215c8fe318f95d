"""A small model and inputs that the tests of all formats share."""

from __future__ import annotations

import numpy as np
import pytest

from bert_tf import names
from bert_tf.config import BertConfig

VOCABULARY = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY += [chr(97 + i) for i in range(26)]


@pytest.fixture(scope="session")
def config():
  return BertConfig(
    vocab_size=len(VOCABULARY), hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
    intermediate_size=12, max_position_embeddings=14, type_vocab_size=2,
  )  # fmt: skip


@pytest.fixture(scope="session")
def vocabulary():
  return VOCABULARY


@pytest.fixture(scope="session")
def features(config):
  rng = np.random.RandomState(3)
  mask = np.ones([2, 10], np.int32)
  mask[1, 7:] = 0
  return {
    "input_ids": rng.randint(0, config.vocab_size, [2, 10]).astype(np.int32),
    "input_mask": mask,
    "segment_ids": rng.randint(0, 2, [2, 10]).astype(np.int32),
    "masked_lm_positions": np.array([[1, 4, 2], [6, 3, 0]], np.int32),
  }


@pytest.fixture(scope="session")
def randomise():
  """Gives all weights, biases and normalisations too, values that matter."""

  def run(weights, seed=0):
    rng = np.random.RandomState(seed)
    for weight in weights:
      noise = rng.normal(0, 0.3, weight.shape)
      weight.assign(noise + 1 if "gamma" in getattr(weight, "path", weight.name) else noise)

  return run


@pytest.fixture(scope="session")
def weights_of():
  """The weights of a model as arrays."""

  def run(model):
    return {n: v.numpy() for n, v in names.named_variables(model).items()}

  return run


@pytest.fixture(scope="session")
def assert_same():
  """All arrays of one dictionary are those of another, bit for bit."""

  def run(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
      np.testing.assert_array_equal(array, second[name], err_msg=name)

  return run


@pytest.fixture
def directory_of(config, vocabulary, randomise, weights_of, tmp_path):
  """Makes a TF1 directory of models with random weights; returns its path."""
  from bert_tf.checkpoints import tf1

  def make(name, *models, **more):
    directory = tmp_path / name
    directory.mkdir()
    tensors = dict(more)
    for model in models:
      randomise(model.variables)
      tensors |= weights_of(model)
    tf1.write(str(directory / "bert_model.ckpt"), tensors)
    (directory / "bert_config.json").write_text(models[0].config.to_json_string())
    (directory / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    return str(directory)

  return make
