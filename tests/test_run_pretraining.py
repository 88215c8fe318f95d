"""run_pretraining.py from the command line, against the original's results."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import pytest

from bert_tf.data.records import RecordWriter, encode_example

CASES = {
  "pretrain_tiny": ("bert_config.json", "tiny_ckpt/bert_model.ckpt"),
  "pretrain_trained_relu": ("config_relu_large_type.json", "trained_relu_ckpt/model.ckpt-15"),
}


@pytest.fixture(scope="module")
def records(golden, tmp_path_factory):
  """The golden records as a TFRecord file."""
  path = tmp_path_factory.mktemp("records") / "train.tfrecord"
  with (
    gzip.open(golden / "pretrain" / "uncased_seed12345.jsonl.gz", "rt") as lines,
    RecordWriter(path) as writer,
  ):
    for line in lines:
      example = json.loads(line)
      example["masked_lm_weights"] = [float(w) for w in example["masked_lm_weights"]]
      writer.write(encode_example(example))
  return path


def run(root, *args, **flags):
  command = [sys.executable, str(root / "run_pretraining.py"), *args]
  command += [f"--{name}={value}" for name, value in flags.items()]
  return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def flags(golden, records, output_dir, config="bert_config.json", **more):
  return {
    "bert_config_file": golden / config,
    "input_file": records,
    "output_dir": output_dir,
    "max_seq_length": 64,
    "max_predictions_per_seq": 10,
    **more,
  }


@pytest.mark.parametrize("name", list(CASES))
def test_evaluation_is_the_originals(name, root, golden, records, tmp_path):
  config, checkpoint = CASES[name]
  result = run(
    root,
    **flags(golden, records, tmp_path, config, do_eval=True, init_checkpoint=golden / checkpoint,
            eval_batch_size=4, max_eval_steps=10),
  )  # fmt: skip
  assert result.returncode == 0, result.stderr
  expected = (golden / "cli" / f"{name}_eval_results.txt").read_text().splitlines()
  found = (tmp_path / "eval_results.txt").read_text().splitlines()
  for line, reference in zip(found, expected, strict=True):
    (key, value), (reference_key, reference_value) = line.split(" = "), reference.split(" = ")
    assert key == reference_key
    assert float(value) == pytest.approx(float(reference_value), abs=1e-5)


def test_trains_and_resumes(root, golden, records, tmp_path):
  args = flags(
    golden, records, tmp_path, do_train=True, train_batch_size=4, learning_rate=1e-3,
    num_warmup_steps=2, save_checkpoints_steps=4,
  )  # fmt: skip
  first = run(root, **args, num_train_steps=6)
  assert first.returncode == 0, first.stderr
  assert "Starting from random weights" in first.stderr
  state = (tmp_path / "checkpoint").read_text()
  assert 'model_checkpoint_path: "model.ckpt-6"' in state
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert lines[-1]["step"] == 6
  again = run(root, **args, num_train_steps=6)
  assert again.returncode == 0
  assert "Skipping training" in again.stderr
  assert "--output_dir" in again.stderr


def test_masks_are_drawn_while_training(root, golden, tmp_path):
  """Whole sequences cannot be trained on without masks, and are learnt with them."""
  create = [
    sys.executable, str(root / "create_pretraining_data.py"), "--dynamic_masking",
    f"--input_file={golden / 'corpus.txt'}", f"--output_file={tmp_path / 'whole.tfrecord'}",
    f"--vocab_file={golden / 'vocab.txt'}", "--max_seq_length=64",
  ]  # fmt: skip
  subprocess.run(create, check=True, capture_output=True, timeout=120)
  args = flags(
    golden, tmp_path / "whole.tfrecord", tmp_path / "out", do_train=True, do_eval=True,
    num_train_steps=60, num_warmup_steps=5, learning_rate=2e-3, train_batch_size=16,
    max_eval_steps=3, log_steps=10,
  )  # fmt: skip
  refused = run(root, **args)
  assert refused.returncode == 1
  assert "pass --dynamic_masking" in refused.stderr
  assert "--vocab_file" in run(root, **args, dynamic_masking=True).stderr
  result = run(
    root, **args, dynamic_masking=True, vocab_file=golden / "vocab.txt", do_whole_word_mask=True,
    max_ngram=2,
  )  # fmt: skip
  assert result.returncode == 0, result.stderr
  lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").open()]
  losses = [line["masked_lm_loss"] for line in lines if line["kind"] == "train"]
  # It starts near log(1200) = 7.1, what guessing costs.
  assert losses[0] > 6.5 > losses[-1]
  assert (tmp_path / "out" / "eval_results.txt").exists()
  assert (tmp_path / "out" / "vocab.txt").read_bytes() == (golden / "vocab.txt").read_bytes()
  check_other_settings(root, golden, tmp_path, args)


def check_other_settings(root, golden, tmp_path, args) -> None:
  """A start with other masks or other data is refused, and nothing is written."""
  before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
  given = {
    **args, "dynamic_masking": True, "vocab_file": golden / "vocab.txt",
    "do_whole_word_mask": True, "max_ngram": 2,
  }  # fmt: skip
  whole = tmp_path / "whole.tfrecord"
  (tmp_path / "other").mkdir()
  other = tmp_path / "other" / "whole.tfrecord"
  other.write_bytes(whole.read_bytes() * 2)
  for changes, message in (
    ({"masked_lm_prob": 0.3}, "--masked_lm_prob=0.15 (now 0.3)"),
    ({"max_ngram": 3}, "--max_ngram=2 (now 3)"),
    ({"input_file": other}, "1 of 1 entries of input_data others, first whole.tfrecord"),
  ):
    refused = run(root, **{**given, **changes})
    assert refused.returncode == 1
    assert message in refused.stderr
  after = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
  assert after == before


@pytest.mark.long
def test_packed_sequences_take_less_padding(root, golden, tmp_path):
  create = [
    sys.executable, str(root / "create_pretraining_data.py"), "--short_seq_prob=0.9",
    f"--input_file={golden / 'corpus.txt'}", f"--output_file={tmp_path / 'short.tfrecord'}",
    f"--vocab_file={golden / 'vocab.txt'}", "--dupe_factor=2",
  ]  # fmt: skip
  subprocess.run(create, check=True, capture_output=True, timeout=120)
  padding = []
  for packed in (False, True):
    args = flags(
      golden, tmp_path / "short.tfrecord", tmp_path / f"{packed}", do_train=True,
      num_train_steps=3, train_batch_size=16, num_warmup_steps=1, log_steps=1,
      max_seq_length=128, max_predictions_per_seq=20, pack_sequences=packed,
      tokens_per_batch=1024,
    )  # fmt: skip
    result = run(root, **args)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / f"{packed}" / "metrics.jsonl").open()]
    assert len(lines) == 3
    padding.append(lines[-1]["padding_ratio"])
  assert padding[1] < 0.7 * padding[0]
  settings = json.loads((tmp_path / "True" / "run_config.json").read_text())["hyperparameters"]
  assert settings["pack_sequences"] and settings["tokens_per_batch"] == 1024


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"do_train": False}, "--do_train or --do_eval"),
    ({"max_seq_length": 32}, "expected 32 values in input_ids, found 64"),
    ({"max_seq_length": 256}, "128 positions"),
    ({"input_file": "/nothing/*.tfrecord"}, "/nothing/\\*.tfrecord"),
    ({"train_batch_size": 5, "gradient_accumulation_steps": 2}, "multiple of 2"),
    ({"tokens_per_batch": 63}, "--tokens_per_batch: expected at least --max_seq_length .64."),
    ({"tokens_per_batch": 64, "gradient_accumulation_steps": 2}, "found both"),
    ({"pack_sequences": True, "gradient_accumulation_steps": 2}, "expected --tokens_per_batch"),
    ({"pack_sequences": True, "use_tpu": True, "tpu_name": "nowhere"}, "found a TPU"),
    ({"init_checkpoint": "/nothing/model.ckpt"}, "found none at '/nothing/model.ckpt'"),
  ],
)
def test_bad_input_is_one_line(changes, message, root, golden, records, tmp_path):
  import re

  result = run(root, **{**flags(golden, records, tmp_path / "out", do_train=True), **changes})
  assert result.returncode == 1
  error = result.stderr.strip().splitlines()[-1]
  assert error.startswith("error: ")
  assert re.search(message, error)


def test_ids_beyond_the_vocabulary_are_found_before_training(root, golden, records, tmp_path):
  config = json.loads((golden / "bert_config.json").read_text()) | {"vocab_size": 100}
  path = tmp_path / "config.json"
  path.write_text(json.dumps(config))
  arguments = flags(golden, records, tmp_path / "out", do_train=True)
  result = run(root, **(arguments | {"bert_config_file": path}))
  assert result.returncode == 1
  assert "record 1" in result.stderr and "vocab_size" in result.stderr
  assert not (tmp_path / "out").exists()
