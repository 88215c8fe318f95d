"""bert_tf.load: which head it builds, and what each answers, against the scripts and exports."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import exported_models
import numpy as np
import pytest

import bert_tf
from bert_tf import UserError, checkpoints, heads, model_dir
from bert_tf.checkpoints import tf1
from bert_tf.names import named_variables
from bert_tf.trained_model import saving
from bert_tf.trained_model.loading import load_described

LABELS = {
  "classification": ("no", "yes"), "multilabel": ("a", "b", "c"), "regression": (),
  "tokens": ("O", "B-PER", "I-PER"), "question_answering": (), "pretraining": (), "encoder": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def about(golden):
  given = model_dir.Given(str(golden / "bert_config.json"), str(golden / "vocab.txt"), True)
  return model_dir.describe(None, given)


def network(head, config):
  if head == "encoder":
    return bert_tf.BertModel(config, add_pooler=False)
  if head == "pretraining":
    return heads.PretrainingModel(config, next_sentence=False)
  if head == "question_answering":
    return heads.SpanModel(config, add_pooler=False)
  count = len(LABELS[head]) or 1
  if head == "tokens":
    return heads.TokenClassifierModel(config, count, add_pooler=False)
  return heads.ClassifierModel(config, count)


@pytest.fixture(scope="module")
def models(about, tmp_path_factory):
  """Head -> (directory, model)."""
  made = {}
  for head, labels in LABELS.items():
    directory = str(tmp_path_factory.mktemp(head))
    described = dataclasses.replace(about, head=head, labels=labels, max_seq_length=32)
    made[head] = directory, network(head, about.config)
    saving.save(made[head][1], described, directory)
  return made


@pytest.mark.parametrize("head", LABELS)
def test_the_head_is_the_one_that_was_saved(models, head):
  directory, model = models[head]
  loaded = bert_tf.load(directory)
  assert (loaded.head, loaded.labels, loaded.max_seq_length) == (head, LABELS[head], 32)
  assert type(loaded.model) is type(model)
  for name, variable in named_variables(model).items():
    np.testing.assert_array_equal(named_variables(loaded.model)[name], variable, name)
  assert loaded.tokenizer.tokenize("The film")
  assert loaded.encode(["The film", "It"]).shape == (2, 32)


METHODS = {"fill_mask": "The [MASK]", "predict": "a", "predict_proba": "a", "tag": "a"}


@pytest.mark.parametrize("head", LABELS)
def test_what_a_head_cannot_is_refused_by_name(models, head):
  loaded = bert_tf.load(models[head][0])
  can = {
    "classification": {"predict", "predict_proba"}, "multilabel": {"predict", "predict_proba"},
    "regression": {"predict"}, "tokens": {"tag"}, "pretraining": {"fill_mask"},
  }.get(head, set())  # fmt: skip
  for method, text in METHODS.items():
    if method in can:
      getattr(loaded, method)([text])
    else:
      with pytest.raises(UserError, match=f"expected a model with the head .*found {head}; call"):
        getattr(loaded, method)([text])


def test_weights_alone_say_which_head(models, tmp_path):
  for head in ("pretraining", "question_answering", "encoder", "regression"):
    shutil.copytree(models[head][0], tmp_path / head)
    (tmp_path / head / "head.json").unlink()
    assert bert_tf.load(tmp_path / head).head == head


def test_a_head_without_weights_is_left_out_and_said(models, tmp_path, caplog):
  """As many models on the hub that are encoders, whose config.json names a masked LM."""
  shutil.copytree(models["encoder"][0], tmp_path / "model")
  (tmp_path / "model" / "head.json").write_text('{"head": "pretraining"}')
  with caplog.at_level("WARNING"):
    assert bert_tf.load(tmp_path / "model").head == "encoder"
  assert "holds no weights of the head pretraining" in caplog.text


def test_several_heads_are_chosen_by_name(golden):
  """This checkpoint of the original has all heads."""
  files = {
    "bert_config_file": str(golden / "bert_config.json"),
    "vocab_file": str(golden / "vocab.txt"),
    "do_lower_case": True,
  }
  path = golden / "tiny_heads_ckpt" / "model.ckpt"
  assert bert_tf.load(path, head="classification", **files).predict(["a", "b"]).shape == (2,)
  assert bert_tf.load(path, head="encoder", **files).head == "encoder"


def test_wrong_input_is_one_line_before_tensorflow(tmp_path, models):
  shutil.copytree(models["tokens"][0], tmp_path / "tokens")
  head = tmp_path / "tokens" / "head.json"
  head.write_text(json.dumps({**json.loads(head.read_text()), "head": "pretraining"}))
  with pytest.raises(UserError, match="expected weights for the head pretraining"):
    bert_tf.load(tmp_path / "tokens")
  (tmp_path / "tokens" / "labels.txt").write_text("O\n")
  head.write_text(json.dumps({"head": "tokens"}))
  with pytest.raises(UserError, match="expected names for 3 outputs, found 1 labels"):
    bert_tf.load(tmp_path / "tokens")
  code = (
    "import sys, bert_tf\n"
    "for call in (lambda: bert_tf.load('nowhere'), lambda: bert_tf.load('x', max_seq_length=0)):\n"
    "  try: call()\n"
    "  except bert_tf.UserError as error: assert 'found nothing at' in str(error)\n"
    "assert 'tensorflow' not in sys.modules and 'sklearn' not in sys.modules\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=str(tmp_path.parent),
                 env={**os.environ, "PYTHONPATH": bert_tf.__path__[0] + "/.."})  # fmt: skip


def test_one_text_gives_one_answer(models):
  classifier = bert_tf.load(models["classification"][0])
  assert classifier.predict("a film") == classifier.predict(["a film"])[0]
  assert classifier.predict_proba("a film").shape == (2,)
  assert classifier.encode("a film").shape == (32,)
  assert bert_tf.load(models["tokens"][0]).tag("a film")[0][0] == "a"
  assert isinstance(bert_tf.load(models["multilabel"][0]).predict("a film"), list)
  assert bert_tf.load(models["regression"][0]).predict([]).shape == (0,)


def test_order_and_batches_do_not_matter(models):
  texts = ["a " * count for count in (5, 1, 9, 30, 2)]
  classifier = bert_tf.load(models["classification"][0])
  alone = np.concatenate([classifier.predict_proba([text]) for text in texts])
  for batch_size in (1, 2, 32):
    together = classifier.predict_proba(texts, batch_size=batch_size)
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_cut_texts_are_said_once(models, caplog):
  with caplog.at_level("WARNING"):
    bert_tf.load(models["classification"][0]).predict(["the " * 50, "the", "the " * 60])
  cut = [r.getMessage() for r in caplog.records if "were cut" in r.getMessage()]
  assert len(cut) == 1 and cut[0].startswith("2 of 3 texts are longer than the 32 pieces")


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_vectors_are_those_of_their_definition(models, pooling):
  directory, model = models["encoder"]
  loaded = bert_tf.load(directory)
  texts = ["the film", "it was a long and good film"]
  for text, vector in zip(texts, loaded.encode(texts, pooling), strict=True):
    tokens = ["[CLS]", *loaded.tokenizer.tokenize(text), "[SEP]"]
    ids = loaded.tokenizer.convert_tokens_to_ids(tokens)
    tokens = model({"input_ids": [ids]})["sequence_output"].numpy()[0]
    expected = {"mean": tokens.mean(0), "cls": tokens[0], "max": tokens.max(0)}[pooling]
    np.testing.assert_allclose(vector, expected, atol=1e-5)
  norms = np.linalg.norm(loaded.encode(texts, pooling, normalize=True), axis=-1)
  np.testing.assert_allclose(norms, 1, atol=1e-6)


def test_bad_arguments(models):
  loaded = bert_tf.load(models["encoder"][0])
  with pytest.raises(UserError, match="`pooling`: expected one of mean, cls, max, pooler"):
    loaded.encode(["a"], pooling="median")
  with pytest.raises(UserError, match="expected a model with a pooler"):
    loaded.encode(["a"], pooling="pooler")
  with pytest.raises(UserError, match="`batch_size`: expected at least 1"):
    loaded.encode(["a"], batch_size=0)
  with pytest.raises(UserError, match="`top_k`"):
    bert_tf.load(models["pretraining"][0]).fill_mask("[MASK]", top_k=0)
  with pytest.raises(UserError, match=r"expected every \[MASK\] within"):
    bert_tf.load(models["pretraining"][0]).fill_mask("the " * 60 + "[MASK]")


def test_masks_as_the_graph_fills_them(golden, exports):
  from bert_tf.serving.fill_mask import fill_mask

  texts = ["The [MASK] is blue.", "A [MASK] and a [MASK], [MASK]!", "[MASK]"]
  loaded = bert_tf.load(
    golden / "tiny_ckpt", bert_config_file=str(golden / "bert_config.json"),
    vocab_file=str(golden / "vocab.txt"), do_lower_case=True, max_seq_length=64,
  )  # fmt: skip
  for ours, theirs in zip(
    loaded.fill_mask(texts, 3), fill_mask(str(exports["pretraining"]), texts, 3), strict=True
  ):
    assert ours["text"] == theirs["text"] and ours["filled"] == theirs["filled"]
    for mine, other in zip(ours["masks"], theirs["masks"], strict=True):
      assert [word["token"] for word in mine] == [word["token"] for word in other]
      np.testing.assert_allclose(
        [word["probability"] for word in mine], [word["probability"] for word in other], rtol=1e-4
      )


def test_entities_as_the_graph_finds_them(token_model, exports, about):
  """The exported graph cuts text into words and joins them by code of its own."""
  import tensorflow as tf
  import tensorflow_text  # noqa: F401

  labels = tuple(exported_models.LABELS["tokens"])
  described = dataclasses.replace(about, head="tokens", labels=labels, max_seq_length=64)
  texts = [
    "the film of the year, (a Näive one) in 中国 it was!",
    "a",
    "it was 'the' best-known film.",
  ]
  ours = bert_tf.TrainedModel(token_model, described).entities(texts)
  signature = tf.saved_model.load(str(exports["tokens"])).signatures["serving_default"]
  theirs = {name: value.numpy() for name, value in signature(text=tf.constant(texts)).items()}
  assert sum(map(len, ours)) > 3
  for row, entities in enumerate(ours):
    count = theirs["num_entities"][row]
    found = [(e.text, e.kind, e.start, e.end) for e in entities]
    columns = ("entities", "entity_labels", "starts", "ends")
    expected = [tuple(theirs[name][row][i] for name in columns) for i in range(count)]
    assert found == [(t.decode(), k.decode(), s, e) for t, k, s, e in expected]
    scores = [entity.probability for entity in entities]
    np.testing.assert_allclose(scores, theirs["scores"][row][:count], rtol=1e-4)


def test_saving_needs_a_free_place(models, tmp_path):
  loaded = bert_tf.load(models["tokens"][0])
  saved = loaded.save(tmp_path / "model")
  with pytest.raises(UserError, match="expected a new or empty directory, found"):
    loaded.save(tmp_path / "model")
  bert_tf.load(models["regression"][0]).save(tmp_path / "model", overwrite=True)
  assert bert_tf.load(saved).labels == () and not (tmp_path / "model" / "labels.txt").exists()
  (tmp_path / "model" / "mine.txt").write_text("x")
  with pytest.raises(UserError, match=r"found mine.txt; give another path"):
    loaded.save(tmp_path / "model", overwrite=True)
  assert bert_tf.load(saved).head == "regression"
  assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_a_run_directory_and_its_prefix_are_opened(models, tmp_path, about):
  model_dir.write(str(tmp_path), dataclasses.replace(about, head="regression"))
  weights = {n: v.value for n, v in named_variables(models["regression"][1]).items()}
  for step in (1, 2):
    tf1.write(str(tmp_path / f"model.ckpt-{step}"), {**weights, "output_bias": np.float32([step])})
  (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-2"\n')
  assert bert_tf.load(tmp_path).model.head.output_bias.numpy() == [2]
  assert bert_tf.load(tmp_path / "model.ckpt-1").model.head.output_bias.numpy() == [1]


def test_hugging_face_directories(models, tmp_path):
  for head in ("pretraining", "tokens", "classification"):
    checkpoints.convert(models[head][0], str(tmp_path / head), "huggingface")
    loaded = bert_tf.load(tmp_path / head)
    assert (loaded.head, loaded.labels) == (head, LABELS[head])


def test_vectors_of_a_real_model(real_data):
  """The cosines are those that sentence-transformers' documentation prints for this model."""
  bert = bert_tf.load(real_data / "minilm")
  vectors = bert.encode(
    ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."],
    normalize=True,
  )
  expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
  np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-4)


def test_answers_are_those_of_the_original(golden, about):
  """Windows, choice and text of answers; padding, which the original has, is left out."""
  settings = {"doc_stride": 32, "max_query_length": 24}
  described = dataclasses.replace(
    about, head="question_answering", max_seq_length=96, settings=settings
  )
  model = load_described(str(golden / "tiny_heads_ckpt" / "model.ckpt"), described)
  squad = json.loads((golden / "squad_v1.json").read_text())
  questions = [
    (qa["id"], qa["question"], paragraph["context"])
    for article in squad["data"] for paragraph in article["paragraphs"] for qa in paragraph["qas"]
  ]  # fmt: skip
  expected = json.loads((golden / "cli" / "squad_v1_predictions.json").read_text())
  found = model.answer([q for _, q, _ in questions], [c for _, _, c in questions])
  assert {str(q[0]): f.text for q, f in zip(questions, found, strict=True)} == expected


def test_probabilities_are_those_of_the_original(golden, about):
  described = dataclasses.replace(about, head="classification", max_seq_length=64)
  model = load_described(str(golden / "tiny_heads_ckpt" / "model.ckpt"), described)
  lines = (golden / "glue" / "MRPC" / "test.tsv").read_text(encoding="utf-8-sig").splitlines()[1:]
  pairs = [tuple(line.split("\t")[3:5]) for line in lines]
  expected = np.loadtxt(golden / "cli" / "MRPC_test_results.tsv")
  np.testing.assert_allclose(model.predict_proba(pairs), expected, atol=1e-5)
