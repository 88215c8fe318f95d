from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest

from bert_tf.errors import UserError
from bert_tf.serving import fill_mask, predict


def test_answers_are_json_with_labels(exports):
  answers = list(predict.predict(str(exports["classifier"]), ["the house", "a\tb", b"\xff x"], 2))
  assert [answer["text"] for answer in answers] == ["the house", "a", "\ufffd x"]
  for answer in answers:
    assert set(answer["probabilities"]) == {"no", "yes"}
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
    json.dumps(answer)
  assert answers[1]["text_pair"] == "b"


def test_a_tab_is_refused_where_the_model_takes_one_text(exports):
  with pytest.raises(UserError, match="does not take pairs"):
    list(predict.predict(str(exports["tokens"]), ["a\tb"]))


def test_a_slow_writer_waits_for_no_full_batch():
  read_end, write_end = os.pipe()
  with open(read_end, "rb") as reader, open(write_end, "wb", buffering=0) as writer:
    batches = predict.batches_of_lines(reader, 32)
    writer.write(b"one\r\n")
    assert next(batches) == [b"one"]
    writer.write(b"two\nthree")
    writer.close()
    assert [line for batch in batches for line in batch] == [b"two", b"three"]


def test_lines_are_batched():
  lines = b"".join(b"%d\n" % i for i in range(100))
  batches = list(predict.batches_of_lines(io.BytesIO(lines), 7))
  assert [line for batch in batches for line in batch] == [b"%d" % i for i in range(100)]
  assert max(map(len, batches)) <= 7


def test_masks_are_filled_alike_from_checkpoint_and_export(exports, golden):
  options = {
    "bert_config_file": str(golden / "bert_config.json"),
    "vocab_file": str(golden / "vocab.txt"),
    "max_seq_length": 64,
  }
  texts = ["the [MASK] is old[MASK].", "[MASK]"]
  from_checkpoint = list(fill_mask.fill_mask(str(golden / "tiny_ckpt"), texts, 3, **options))
  from_export = list(fill_mask.fill_mask(str(exports["pretraining"]), texts, 3))
  assert [len(answer["masks"]) for answer in from_export] == [2, 1]
  for ours, theirs in zip(from_checkpoint, from_export, strict=True):
    assert ours["filled"] == theirs["filled"] and "[MASK]" not in ours["filled"]
    for mask, other in zip(ours["masks"], theirs["masks"], strict=True):
      assert [best["token"] for best in mask] == [best["token"] for best in other]
      assert [best["probability"] for best in mask] == pytest.approx(
        [best["probability"] for best in other], abs=1e-6
      )


def test_many_masks_equal_the_python_pipeline(load, golden, config, text_options):
  """Places with different numbers of masks in one batch."""
  import numpy as np
  import tensorflow as tf

  from bert_tf import checkpoints
  from bert_tf.export import python_pipeline
  from bert_tf.heads import PretrainingModel

  texts = ["[MASK] and [MASK]", "no mask", "the[MASK]", "[MASK][MASK] x [MASK]"]
  model = PretrainingModel(config)
  checkpoints.load(model, str(golden / "tiny_ckpt"))
  features = python_pipeline.features(texts, [""] * len(texts), text_options, masks=True)
  mask_id = text_options.tokens.index("[MASK]")
  places = [np.flatnonzero(row == mask_id).tolist() for row in features["input_ids"]]
  signature = load("pretraining").signatures["fill_mask"]
  found = signature(text=tf.constant(texts))
  assert found["num_masks"].numpy().tolist() == [2, 0, 1, 3]
  for i, row in enumerate(places):
    if not row:
      continue
    one = {name: tf.constant(value[i : i + 1]) for name, value in features.items()}
    logits = model({**one, "masked_lm_positions": tf.constant([row])})["masked_lm_logits"]
    best = -np.sort(-tf.nn.softmax(logits).numpy(), axis=-1)[:, :10]
    np.testing.assert_allclose(found["probabilities"][i, : len(row)], best, atol=1e-5)


def test_the_case_of_a_checkpoint_is_that_of_its_tokenizer(golden, tmp_path):
  (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
  (tmp_path / "model.ckpt-1.index").touch()
  files = [str(golden / name) for name in ("bert_config.json", "vocab.txt")]
  with pytest.raises(UserError, match="expected `do_lower_case=False`, as tokenizer_config"):
    fill_mask.MaskFiller(str(tmp_path), 5, *files, do_lower_case=True)


def test_a_checkpoint_with_another_head_cannot_fill_masks(golden, tmp_path):
  (tmp_path / "head.json").write_text('{"head": "tokens"}')
  files = [str(golden / name) for name in ("bert_config.json", "vocab.txt")]
  with pytest.raises(UserError, match=r"expected the task tokens, as .*head.json says"):
    fill_mask.MaskFiller(str(tmp_path), 5, *files)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_has_no_word_for_are_refused(value, capsys):
  import numpy as np

  row = {"label": b"a", "logits": np.array([[0.5], [value]], np.float32)}
  with pytest.raises(UserError, match="found NaN or infinity in logits"):
    predict.readable(row)
  with pytest.raises(ValueError, match="JSON"):
    predict.print_json_line({"score": value})
  assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
  ("text", "message"),
  [("no mask", r"expected \[MASK\]"), ("word " * 200 + "[MASK]", "longest sequence")],
)
def test_masks_that_cannot_be_filled_are_refused(exports, text, message):
  with pytest.raises(UserError, match=message):
    list(fill_mask.fill_mask(str(exports["pretraining"]), [text]))


def test_other_models_cannot_fill_masks(exports):
  with pytest.raises(UserError, match="task 'classification'"):
    fill_mask.MaskFiller(str(exports["classifier"]))


def test_bad_input_is_refused_before_tensorflow_is_imported(tmp_path):
  script = f"""
import argparse, sys, time
from bert_tf.errors import UserError
from bert_tf.serving import fill_mask, predict
for module, arguments in ((predict, ["{tmp_path}"]), (fill_mask, ["{tmp_path}", "a [MASK]"])):
  parser = argparse.ArgumentParser()
  module.add_arguments(parser)
  try:
    module.run(parser.parse_args(arguments))
  except UserError as error:
    print(error)
assert "tensorflow" not in sys.modules
"""
  result = subprocess.run(
    [sys.executable, "-c", script], capture_output=True, text=True, check=True
  )
  assert "expected an exported model" in result.stdout
  assert "`bert_config_file`: expected a file" in result.stdout
