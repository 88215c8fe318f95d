"""Live models to every format and back, and weights that are not finite."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bert_tf import checkpoints, heads
from bert_tf.checkpoints import conversion, formats, tf1
from bert_tf.errors import UserError
from bert_tf.model_dir import Description
from bert_tf.modeling import BertModel

KINDS = {
  "encoder": lambda config: BertModel(config),
  "pretraining": lambda config: heads.PretrainingModel(config),
  "tokens": lambda config: heads.TokenClassifierModel(config, 3),
  "question_answering": lambda config: heads.SpanModel(config),
  None: lambda config: heads.ClassifierModel(config, 3),
}
# What a format has a place for besides the encoder.
PLACES = {
  "tf1": set(KINDS), "huggingface": set(KINDS), "model_garden": {"encoder", "pretraining"},
  "keras_hub": {"encoder", None},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", conversion.FORMATS)
def test_saved_models_are_read_back_to_the_bit(
  config, randomise, weights_of, assert_same, tmp_path, kind, to
):
  if to == "keras_hub":
    pytest.importorskip("keras_hub")
  model = KINDS[kind](config)
  randomise(model.variables)
  saved = checkpoints.save(model, str(tmp_path / "out"), format=to)
  about = checkpoints.describe(saved.path)
  assert about.config == config and about.head == (kind or about.head)
  other = KINDS[kind](about.config)
  lost = () if kind in PLACES[to] else ("output_*", "cls/*")
  checkpoints.load(other, saved.path, allow_missing=lost)
  matched = {n: a for n, a in weights_of(model).items() if n not in saved.left_out}
  assert_same(matched, {n: weights_of(other)[n] for n in matched})
  assert bool(saved.left_out) == (kind not in PLACES[to])


@pytest.mark.parametrize("to", conversion.FORMATS)
def test_what_belongs_to_a_model_is_saved_with_it(config, vocabulary, tmp_path, to):
  if to == "keras_hub":
    pytest.importorskip("keras_hub")
  model = heads.ClassifierModel(config, 3)
  about = Description(
    config, tokens=tuple(vocabulary), labels=("a", "b", "c"), head="multilabel", pairs=False,
    max_seq_length=9, settings={"doc_stride": 3},
  )  # fmt: skip
  checkpoints.save(model, str(tmp_path / "out"), to, about)
  found = checkpoints.describe(str(tmp_path / "out"))
  # KerasHub says of accents what others leave to the case.
  assert found.tokenizer.strips_accents == about.tokenizer.strips_accents
  assert dataclasses.replace(found, vocab_file=None, tokenizer=about.tokenizer) == about


def test_unknown_format(config, tmp_path):
  with pytest.raises(UserError, match="expected a format of tf1"):
    checkpoints.save(BertModel(config), str(tmp_path / "out"), format="onnx")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["bert/embeddings/position_embeddings", "output_bias"])
def test_weights_that_are_not_finite(
  config, directory_of, weights_of, tmp_path, caplog, name, value
):
  model = heads.ClassifierModel(config, 3)
  source = directory_of("source", model)
  checkpoints.check_finite(model)
  checkpoints.check_finite(formats.open_checkpoint(source))
  weights = weights_of(model)
  # The last position, which a comparison of outputs need not reach.
  weights[name].reshape(-1)[-1] = value
  tf1.write(
    f"{source}/bert_model.ckpt", {**weights, "output_bias/adam_m": np.full(3, np.nan, "f4")}
  )
  message = f"expected finite weights, found 1 of the {weights[name].size} values of {name}"
  for to in conversion.FORMATS:
    # What the Model Garden has no place for is not read, nor written.
    if to == "model_garden" and name == "output_bias":
      continue
    with pytest.raises(UserError, match=message):
      checkpoints.convert(source, str(tmp_path / to), to)
  assert [path.name for path in tmp_path.iterdir()] == ["source"]
  with pytest.raises(UserError, match=message):
    checkpoints.check_finite(formats.open_checkpoint(source))
  report = checkpoints.load(model, source)
  assert report.not_finite == (name,) and "NaN or infinite" in str(report)
  assert f"1 weights hold NaN or infinite values, {name} first" in caplog.text
  with pytest.raises(UserError, match=message):
    checkpoints.check_finite(model)
  with pytest.raises(UserError, match=message):
    checkpoints.save(model, str(tmp_path / "out"))
