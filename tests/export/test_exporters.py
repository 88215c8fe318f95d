from __future__ import annotations

import csv
import dataclasses
import os
import types

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.export import bundle
from bert_tf.export.exporters import export
from bert_tf.export.graphs import text as modules
from bert_tf.export.options import ExportOptions, GraphPlan, TextOptions
from bert_tf.model_dir import Description
from bert_tf.serving import locate


def test_all_kinds_pass_their_check_in_a_fresh_process(exports):
  for path in exports.values():
    assert sorted(os.listdir(path.parent)) == [path.name, "serving"], "something was left behind"
    assert (path / "assets" / "vocab.txt").exists()
    assert locate.facts(str(path))["required_ops"]


def test_the_card_names_what_a_server_needs(exports):
  card = (exports["classifier"] / "README.md").read_text()
  assert "| `pairs` | `text` string [B], `text_pair` string [B] |" in card
  assert "`FastBertNormalize`" in card and "Labels, in the order of the outputs: no, yes." in card
  assert '{"instances": [{"text": "Some text."}]}' in card
  card = (exports["pretraining"] / "README.md").read_text()
  assert '{"instances": [{"text": "Some [MASK] text."}]}' in card


def test_served_probabilities_equal_test_results(load, golden):
  """The golden file was written by the original's run_classifier.py from the same checkpoint."""
  with open(golden / "glue" / "MRPC" / "test.tsv", encoding="utf-8-sig") as file:
    rows = list(csv.reader(file, delimiter="\t", quotechar=None, quoting=csv.QUOTE_NONE))[1:]
  expected = np.loadtxt(golden / "cli" / "MRPC_test_results.tsv")
  signature = load("classifier").signatures["pairs"]
  found = signature(
    text=tf.constant([row[3] for row in rows]), text_pair=tf.constant([row[4] for row in rows])
  )
  np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
  best = np.array([b"no", b"yes"])[expected.argmax(-1)]
  np.testing.assert_array_equal(found["label"].numpy().astype(object), best.astype(object))


def test_outputs_do_not_depend_on_the_company_in_a_batch(load):
  signature = load("classifier").signatures["serving_default"]
  texts = ["the old house", "a " * 90, "", "one more"]
  together = signature(text=tf.constant(texts))["logits"]
  for text, row in zip(texts, together, strict=True):
    np.testing.assert_allclose(signature(text=tf.constant([text]))["logits"][0], row, atol=1e-5)
  assert signature(text=tf.zeros([0], tf.string))["logits"].shape == (0, 2)


def test_nothing_but_the_weights_is_stored(exports, config):
  variables = tf.train.list_variables(str(exports["classifier"] / "variables" / "variables"))
  assert all("adam" not in name and "global_step" not in name for name, _ in variables)
  from bert_tf.heads import ClassifierModel

  sizes = [int(np.prod(shape)) for name, shape in variables if "frozen" in name]
  assert sum(sizes) == ClassifierModel(config, 2).count_params()


def test_bfloat16_answers_are_near_and_its_matrices_half_as_large(exports, load):
  loaded = {kind: load(kind) for kind in ("classifier", "bfloat16")}
  text = {"text": tf.constant(["the old house"]), "text_pair": tf.constant(["is new"])}
  exact, near = (
    loaded[kind].signatures["pairs"](**text)["probabilities"] for kind in ("classifier", "bfloat16")
  )
  np.testing.assert_allclose(near, exact, atol=0.02)
  name = "bert/encoder/layer_0/attention/self/query/kernel"
  reader = tf.train.load_checkpoint(str(exports["bfloat16"] / "variables" / "variables"))
  types = reader.get_variable_to_dtype_map()
  kernels = [t for n, t in types.items() if n.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")]
  assert kernels and set(kernels) == {tf.bfloat16}, name


def test_pairs_decide_what_serving_default_takes(load):
  for kind, inputs in (("classifier", {"text"}), ("bfloat16", {"text", "text_pair"})):
    signature = load(kind).signatures["serving_default"]
    assert set(signature.structured_input_signature[1]) == inputs


def test_other_tasks_of_the_classifier(config, text_options):
  from bert_tf.heads import ClassifierModel

  features = {
    name: tf.ones([2, 3], tf.int32) for name in ("input_ids", "input_mask", "segment_ids")
  }
  model = ClassifierModel(config, 2)
  found = modules.MultiLabelModule(model, text_options, ["a", "b"]).answers(features)
  np.testing.assert_allclose(found["logits"], model(features)["logits"], atol=1e-6)
  np.testing.assert_allclose(found["probabilities"], 1 / (1 + np.exp(-found["logits"])), atol=1e-6)
  model = ClassifierModel(config, 1)
  found = modules.RegressionModule(model, text_options).answers(features)
  np.testing.assert_allclose(found["score"], model(features)["logits"][:, 0], atol=1e-6)


def test_padding_is_left_out_and_changes_nothing(golden, config, text_options):
  from bert_tf import checkpoints
  from bert_tf.heads import ClassifierModel

  model = ClassifierModel(config, 2)
  checkpoints.load(model, str(golden / "tiny_heads_ckpt"))
  module = modules.ClassifierModule(model, text_options, ["a", "b"])
  texts = tf.constant(["the old house " * 15, "one", "", "a river and a house"])
  features = module.features(texts)
  compact = module.compact(features)
  tokens = tf.reduce_sum(features["input_mask"])
  assert tokens <= tf.size(compact["token_places"]) <= tokens + 4 < tf.size(features["input_ids"])
  expected, found = model(features), model(compact)
  np.testing.assert_allclose(found["logits"], expected["logits"], atol=1e-6)
  mask = features["input_mask"].numpy() > 0
  for layer, reference in zip(found["encoder_layers"], expected["encoder_layers"], strict=True):
    np.testing.assert_allclose(layer.numpy()[mask], reference.numpy()[mask], atol=1e-5)
  static = modules.ClassifierModule(
    model, dataclasses.replace(text_options, static_length=True), ["a", "b"]
  )
  assert "token_places" not in static.compact(static.features(texts))


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 1), (32, 32), (33, 34), (129, 136)])
def test_few_sizes_of_compact_batches(count, size):
  mask = tf.concat([tf.ones([1, count], tf.int32), tf.zeros([1, 9], tf.int32)], axis=1)
  compact = modules.TextModule.compact(
    types.SimpleNamespace(text=TextOptions(())), {"input_mask": mask}
  )
  places = compact["token_places"].numpy()
  assert len(places) == size and sorted(set(places)) == list(range(count))


def test_encoder_vectors(load, golden, config):
  loaded = load("encoder")
  texts = {"text": tf.constant(["the old house", "a"]), "text_pair": tf.constant(["", ""])}
  found = loaded.signatures["token_vectors"](**texts)
  num_tokens = found["num_tokens"].numpy()
  assert found["vectors"].shape == (2, num_tokens.max(), 2, config.hidden_size)
  means = [v[:n, 0].mean(0) for v, n in zip(found["vectors"].numpy(), num_tokens, strict=True)]
  embedded = loaded.signatures["embed"](text=texts["text"])
  np.testing.assert_allclose(embedded["mean"], means, atol=1e-5)


def test_a_bundle_that_answers_otherwise_fails_its_check(exports):
  expected = {"probabilities": np.array([[0.5, 0.5]], np.float32)}
  sample = {"serving_default": ({"text": np.array(["the house"], object)}, expected)}
  with pytest.raises(
    UserError, match="loader, signature serving_default, all samples: output prob"
  ):
    bundle.check([(str(exports["classifier"]), sample)])


def test_a_bundle_that_fails_its_check_is_removed(tmp_path, monkeypatch):
  class Module(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def answer(self, text):
      return {"text": text}

  def fail(bundles):
    assert os.path.exists(os.path.join(bundles[0][0], "saved_model.pb"))
    raise UserError("it answers otherwise")

  monkeypatch.setattr(bundle, "check", fail)
  module = Module()
  signatures = {"serving_default": module.answer.get_concrete_function()}
  with pytest.raises(UserError, match="it answers otherwise"):
    bundle.write(module, signatures, {}, {}, ExportOptions(str(tmp_path)))
  assert os.listdir(tmp_path) == []


def test_no_version_is_served_where_the_files_beside_it_cannot_be_written(tmp_path):
  (tmp_path / "serving").write_text("in the way")

  class Module(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def answer(self, text):
      return {"text": text}

  module = Module()
  signatures = {"serving_default": module.answer.get_concrete_function()}
  with pytest.raises(UserError, match="cannot write"):
    bundle.write(module, signatures, {}, {}, ExportOptions(str(tmp_path), check=False))
  assert os.listdir(tmp_path) == ["serving"]


def test_the_default_length_is_no_longer_than_the_model(config, tokens):
  short = dataclasses.replace(config, max_position_embeddings=64)
  for positions, length in ((config, 128), (short, 64)):
    assert GraphPlan(Description(positions, tokens, head="encoder")).text.max_seq_length == length


def test_classify_is_what_tensorflow_serving_asks_for(exports, load):
  signature = load("classifier").signatures["classify"]
  example = tf.train.Example()
  example.features.feature["text"].bytes_list.value.append(b"the old house")
  found = signature(inputs=tf.constant([example.SerializeToString()]))
  expected = load("classifier").signatures["serving_default"](text=tf.constant(["the old house"]))
  np.testing.assert_allclose(found["scores"], expected["probabilities"], atol=1e-6)
  assert found["classes"].numpy().tolist() == [[b"no", b"yes"]]
  with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], str(exports["classifier"]))
  methods = {name: signature.method_name for name, signature in meta.signature_def.items()}
  assert methods["classify"] == "tensorflow/serving/classify"
  assert methods["serving_default"] == "tensorflow/serving/predict"


def test_tokenize_tells_how_much_text_there_is(load, text_options):
  from bert_tf.tokenization import FullTokenizer

  texts, pairs = ["the old house", "a " * 90, ""], ["", "b", "new"]
  found = load("classifier").signatures["tokenize"](
    text=tf.constant(texts), text_pair=tf.constant(pairs)
  )
  tokenize = FullTokenizer(text_options.tokens).tokenize
  expected = [len(tokenize(a)) + len(tokenize(b)) for a, b in zip(texts, pairs, strict=True)]
  assert found["num_pieces"].numpy().tolist() == expected
  assert found["num_tokens"].numpy().tolist() == [expected[0] + 2, 64, expected[2] + 3]
  assert found["num_windows"].numpy().tolist() == [1, 1, 1]


def plan_of(config, tokens, head, **more):
  return GraphPlan(Description(config, tokens, head=head, max_seq_length=14, **more))


@pytest.mark.parametrize(
  ("labels", "head", "message"),
  [
    (("a",), "classification", "at least 2"),
    (("a", "a"), "classification", "different labels"),
    (("a",), "regression", "no labels"),
    (("a", "b"), "clasification", "expected one of classification"),
    (("a", "b"), None, "expected one of classification.* found none"),
  ],
)
def test_bad_labels_are_refused(config, tokens, tmp_path, labels, head, message):
  with pytest.raises(UserError, match=message):
    export("nowhere", plan_of(config, tokens, head, labels=labels), ExportOptions(str(tmp_path)))


def test_versions_are_not_overwritten(golden, config, tokens, tmp_path):
  (tmp_path / "7").mkdir()
  for version, message in ((7, "no version 7 yet"), (0, "at least 1")):
    with pytest.raises(UserError, match=message):
      export(
        str(golden / "tiny_ckpt"),
        plan_of(config, tokens, "encoder"),
        ExportOptions(str(tmp_path), version=version),
      )


def test_an_unknown_type_is_refused(config, tokens):
  with pytest.raises(UserError, match="`dtype`: expected one of float32, bfloat16, found 'int8'"):
    dataclasses.replace(plan_of(config, tokens, "encoder"), dtype="int8")
