"""Hugging Face weights against transformers' own outputs, see tests/golden/formats/README.md."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest

from bert_tf import checkpoints, heads, model_dir, names
from bert_tf.checkpoints import huggingface
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.modeling import BertModel

# Class -> the model that it is here, transformers' output -> ours, weights that it lacks.
POOLER, MLM, NSP = "bert/pooler/*", "cls/predictions/*", "cls/seq_relationship/*"
CLASSES = {
  "BertModel": (BertModel, {"pooler_output": "pooled_output"}, ()),
  "BertForPreTraining": (
    heads.PretrainingModel,
    {"prediction_logits": "masked_lm_logits", "seq_relationship_logits": "next_sentence_logits"},
    (),
  ),
  "BertForMaskedLM": (heads.PretrainingModel, {"logits": "masked_lm_logits"}, (POOLER, NSP)),
  "BertForSequenceClassification": (heads.ClassifierModel, {"logits": "logits"}, ()),
  "BertForTokenClassification": (heads.TokenClassifierModel, {"logits": "logits"}, (POOLER,)),
  "BertForQuestionAnswering": (
    heads.SpanModel,
    {"start_logits": "start_logits", "end_logits": "end_logits"},
    (POOLER,),
  ),
  "BertForNextSentencePrediction": (
    heads.PretrainingModel,
    {"logits": "next_sentence_logits"},
    (MLM,),
  ),
}


def build(kind, config):
  labelled = kind in (heads.ClassifierModel, heads.TokenClassifierModel)
  return kind(config, 3) if labelled else kind(config)


def compare_outputs(name, path, outputs, inputs):
  kind, pairs, missing = CLASSES[name.removeprefix("TF")]
  config = checkpoints.describe(str(path)).config
  model = build(kind, config)
  report = checkpoints.load(model, str(path), allow_missing=missing)
  assert not report.unexpected and not report.mismatched
  length = inputs["input_ids"].shape[1]
  positions = np.tile(np.arange(length), (2, 1))
  ours = model({**inputs, "masked_lm_positions": positions})
  layers = np.stack([ours["embedding_output"], *ours["encoder_layers"]])
  np.testing.assert_allclose(layers, outputs[f"{name}/hidden_states"], atol=1e-5)
  for theirs, mine in pairs.items():
    expected = outputs[f"{name}/{theirs}"]
    np.testing.assert_allclose(np.reshape(ours[mine], expected.shape), expected, atol=1e-5)


@pytest.fixture(scope="module")
def models(golden):
  return golden / "formats" / "huggingface"


@pytest.fixture(scope="module")
def inputs(models):
  with np.load(models / "outputs.npz") as outputs:
    names = ("input_ids", "input_mask", "segment_ids")
    return {name: outputs[name].astype(np.int32) for name in names}


@pytest.mark.parametrize("name", CLASSES)
def test_outputs_equal_those_of_transformers(models, inputs, name):
  with np.load(models / "outputs.npz") as outputs:
    compare_outputs(name, models / name, outputs, inputs)


@pytest.mark.parametrize(
  "name", ["TFBertForPreTraining", "TFBertForTokenClassification", "TFBertForQuestionAnswering"]
)
def test_tf_model_h5(models, inputs, tmp_path, name):
  packed = (models / name / "tf_model.h5.gz").read_bytes()
  (tmp_path / "tf_model.h5").write_bytes(gzip.decompress(packed))
  (tmp_path / "config.json").write_bytes((models / name / "config.json").read_bytes())
  with np.load(models / "outputs_h5.npz") as outputs:
    compare_outputs(name, tmp_path, outputs, inputs)


def test_gradients_equal_those_of_transformers(models, inputs):
  """What fine-tuning starts from: the loss and the gradient of every weight."""
  import tensorflow as tf

  path = str(models / "BertForSequenceClassification")
  model = heads.ClassifierModel(checkpoints.describe(path).config, 3)
  checkpoints.load(model, path)
  variables = names.named_variables(model)
  with np.load(models / "gradients.npz") as file:
    expected = dict(file)
  with tf.GradientTape() as tape:
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
      expected.pop("labels"), model(inputs)["logits"]
    )
    loss = tf.reduce_mean(losses)
  gradients = tape.gradient(loss, [v.value for v in variables.values()])
  np.testing.assert_allclose(loss, expected.pop("loss"), atol=1e-6)
  ours = dict(zip(variables, gradients, strict=True))
  assert len(expected) == len(ours)
  for theirs, gradient in expected.items():
    name, layout = huggingface.TABLE.from_theirs(theirs)
    mine = tf.convert_to_tensor(ours[name]).numpy()
    np.testing.assert_allclose(mine, layout.from_theirs(gradient), atol=1e-6, err_msg=name)


def test_table_covers_every_weight_of_the_models_both_ways():
  config = BertConfig(
    11, hidden_size=4, num_hidden_layers=11, num_attention_heads=2, intermediate_size=6
  )
  models = [heads.PretrainingModel(config), heads.ClassifierModel(config, 2)]
  models.append(heads.SpanModel(config))
  for model in models:
    for name in names.named_variables(model):
      theirs, layout = huggingface.TABLE.to_theirs(name)
      assert huggingface.TABLE.from_theirs(theirs) == (name, layout)
  theirs, _ = huggingface.TABLE.to_theirs("bert/encoder/layer_10/output/dense/bias")
  assert theirs == "bert.encoder.layer.10.output.dense.bias"


def rename(path, change):
  """Rewrites a safetensors file with other names."""
  from safetensors.numpy import load_file, save_file

  save_file({change(name): array for name, array in load_file(path).items()}, path)


@pytest.fixture
def copy(models, tmp_path):
  def make(name):
    for file in (models / name).iterdir():
      (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path

  return make


def test_gamma_and_beta_spellings(copy, models, inputs):
  path = copy("BertForPreTraining")

  def old(name):
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
      "LayerNorm.bias", "LayerNorm.beta"
    )

  rename(path / "model.safetensors", old)
  with np.load(models / "outputs.npz") as outputs:
    compare_outputs("BertForPreTraining", path, outputs, inputs)


def test_decoder_that_is_not_the_word_embeddings_is_refused(copy):
  from safetensors.numpy import load_file, save_file

  path = copy("BertForPreTraining")
  tensors = load_file(path / "model.safetensors")
  words = tensors["bert.embeddings.word_embeddings.weight"]
  model = heads.PretrainingModel(checkpoints.describe(str(path)).config)
  save_file({**tensors, "cls.predictions.decoder.weight": words}, path / "model.safetensors")
  checkpoints.load(model, str(path))
  save_file({**tensors, "cls.predictions.decoder.weight": words + 1}, path / "model.safetensors")
  with pytest.raises(UserError, match="expected masked-LM output weights that are the word"):
    checkpoints.load(model, str(path))
  # An encoder does not need the head.
  checkpoints.load(BertModel(model.config), str(path))


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "albert"])
def test_other_architectures_are_named(copy, architecture):
  path = copy("BertModel")
  config = (path / "config.json").read_text().replace('"bert"', f'"{architecture}"')
  (path / "config.json").write_text(config)
  model = BertModel(BertConfig(30, hidden_size=8, num_attention_heads=2, num_hidden_layers=2))
  with pytest.raises(UserError, match=f"expected the architecture bert, found '{architecture}'"):
    checkpoints.load(model, str(path))


def test_decoders_are_refused(copy):
  path = copy("BertModel")
  config = (path / "config.json").read_text()
  assert '"is_decoder": false' in config
  (path / "config.json").write_text(config.replace('"is_decoder": false', '"is_decoder": true'))
  model = BertModel(BertConfig(30, hidden_size=8, num_attention_heads=2, num_hidden_layers=2))
  with pytest.raises(UserError, match="expected a BERT that sees both directions"):
    checkpoints.load(model, str(path))


def test_half_precision_weights_become_float32(copy):
  import ml_dtypes
  from safetensors.numpy import load_file, save_file

  path = copy("BertModel")
  exact = load_file(path / "model.safetensors")
  for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
    save_file({n: a.astype(dtype) for n, a in exact.items()}, path / "model.safetensors")
    reader = huggingface.Reader(str(path / "model.safetensors"))
    array = reader.read("bert/pooler/dense/bias")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, exact["pooler.dense.bias"].astype(dtype).astype("f4"))


def test_minilm_sentence_embeddings_equal_those_of_transformers(golden, real_data):
  path = str(real_data / "minilm")
  with np.load(golden / "formats" / "minilm_embeddings.npz") as file:
    expected = dict(file)
  model = BertModel(checkpoints.describe(path).config)
  report = checkpoints.load(model, path)
  assert len(report.matched) == 103 and not report.unexpected
  # The vocabulary's tokenizer, too: ids are those of transformers.
  from bert_tf.tokenization import FullTokenizer

  tokenizer = FullTokenizer(checkpoints.describe(path).vocab_file, do_lower_case=True)
  ids = np.zeros_like(expected["input_ids"])
  for row, sentence in enumerate(expected["sentences"]):
    tokens = ["[CLS]", *tokenizer.tokenize(str(sentence)), "[SEP]"]
    ids[row, : len(tokens)] = tokenizer.convert_tokens_to_ids(tokens)
  np.testing.assert_array_equal(ids, expected["input_ids"])
  mask = (ids != 0).astype(np.int32)
  hidden = model({"input_ids": ids, "input_mask": mask})["sequence_output"].numpy()
  mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
  mean /= np.linalg.norm(mean, axis=1, keepdims=True)
  np.testing.assert_allclose(mean, expected["embeddings"], atol=1e-5)


@pytest.mark.parametrize(
  ("name", "count"), [("hf_tiny_pretraining", 46), ("hf_tiny_ner", 23), ("tf1_tiny_real_names", 46)]
)
def test_real_files(real_data, name, count):
  path = str(real_data / "checkpoints" / name)
  # Their vocabularies do not fit them.
  config = model_dir.Beside(path).config
  ner = name == "hf_tiny_ner"
  model = heads.TokenClassifierModel(config, 9) if ner else heads.PretrainingModel(config)
  report = checkpoints.load(model, path, allow_missing=[POOLER] if ner else [])
  assert len(report.matched) == count
  assert len(report.missing) == (2 if ner else 0)
  assert os.path.dirname(report.path) == path
