"""Every flag of the original is there, with its type and default."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

TPU = "use_tpu=False tpu_name tpu_zone gcp_project master num_tpu_cores=8"

# name: a string without default; name*: the same, and required; name=value: the default. The
# original requires bert_config_file and vocab_file too, which may lie beside the weights here, and
# data_dir, which a table does not need whose files are all named.
ORIGINAL = {
  "create_pretraining_data": """
    input_file* output_file* vocab_file* do_lower_case=True do_whole_word_mask=False
    max_seq_length=128 max_predictions_per_seq=20 random_seed=12345 dupe_factor=10
    masked_lm_prob=0.15 short_seq_prob=0.1""",
  "run_pretraining": f"""
    bert_config_file input_file* output_dir* init_checkpoint max_seq_length=128
    max_predictions_per_seq=20 do_train=False do_eval=False train_batch_size=32 eval_batch_size=8
    learning_rate=5e-5 num_train_steps=100000 num_warmup_steps=10000 save_checkpoints_steps=1000
    iterations_per_loop=1000 max_eval_steps=100 {TPU}""",
  "run_classifier": f"""
    data_dir bert_config_file task_name* vocab_file output_dir* init_checkpoint
    do_lower_case=True max_seq_length=128 do_train=False do_eval=False do_predict=False
    train_batch_size=32 eval_batch_size=8 predict_batch_size=8 learning_rate=5e-5
    num_train_epochs=3.0 warmup_proportion=0.1 save_checkpoints_steps=1000
    iterations_per_loop=1000 {TPU}""",
  "run_squad": f"""
    bert_config_file vocab_file output_dir* train_file predict_file init_checkpoint
    do_lower_case=True max_seq_length=384 doc_stride=128 max_query_length=64 do_train=False
    do_predict=False train_batch_size=32 predict_batch_size=8 learning_rate=5e-5
    num_train_epochs=3.0 warmup_proportion=0.1 save_checkpoints_steps=1000
    iterations_per_loop=1000 n_best_size=20 max_answer_length=30 verbose_logging=False
    version_2_with_negative=False null_score_diff_threshold=0.0 {TPU}""",
  "extract_features": """
    input_file* output_file* vocab_file bert_config_file init_checkpoint*
    layers="-1,-2,-3,-4" max_seq_length=128 do_lower_case=True batch_size=32 use_tpu=False master
    num_tpu_cores=8 use_one_hot_embeddings=False""",
}

_DUMP = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
importlib.import_module(sys.argv[2])
from absl import flags
print(json.dumps({
  name: [flag.parser.flag_type(), flag.default,
         any("must have a value" in v.message for v in flag.validators)]
  for name, flag in flags.FLAGS._flags().items()
}))
"""


def parse(word: str) -> tuple[str, str, object, bool]:
  """(name, absl's name of the type, default, required)."""
  if "=" not in word:
    return word.rstrip("*"), "string", None, word.endswith("*")
  name, value = word.split("=")
  if value in ("True", "False"):
    return name, "bool", value == "True", False
  if value.startswith('"'):
    return name, "string", value.strip('"'), False
  number = float(value)
  return (name, "int", int(value), False) if value.isdigit() else (name, "float", number, False)


@pytest.mark.parametrize("script", list(ORIGINAL))
def test_flags_of_the_original(script, root):
  dumped = subprocess.run(
    [sys.executable, "-c", _DUMP, str(root), script],
    capture_output=True, text=True, check=True, timeout=60,
  )  # fmt: skip
  found = json.loads(dumped.stdout)
  for word in ORIGINAL[script].split():
    name, kind, default, required = parse(word)
    assert name in found, name
    assert found[name] == [kind, default, required], name


@pytest.mark.parametrize(
  "arguments",
  [
    ["run_pretraining.py", "--input_file=x", "--output_dir=out", "--do_train"],
    ["run_classifier.py", "--data_dir=x", "--task_name=mrpc", "--output_dir=out", "--do_train"],
    ["run_squad.py", "--output_dir=out", "--do_train"],
    ["run_ner.py", "--output_dir=out", "--do_train"],
  ],
  ids=lambda arguments: arguments[0],
)
def test_a_config_must_be_named_or_found(arguments, root, tmp_path):
  ended = subprocess.run(
    [sys.executable, str(root / arguments[0]), *arguments[1:]],
    capture_output=True, text=True, cwd=tmp_path, timeout=60,
  )  # fmt: skip
  assert ended.returncode == 1
  assert "--bert_config_file: expected a file, or an --init_checkpoint that has one" in ended.stderr
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  "arguments",
  [
    ["run_pretraining.py", "--input_file=x", "--output_dir=out", "--init_checkpoint=nope"],
    ["run_ner.py", "--output_dir=out", "--do_train", "--init_checkpoint=nope"],
    ["export_model.py", "--export_dir=out", "--init_checkpoint=nope"],
    ["convert_checkpoint.py", "--to=tf1", "--output=out", "--input=nope"],
  ],
  ids=lambda arguments: arguments[0],
)
def test_a_checkpoint_that_is_not_there_is_blamed_and_not_its_config(arguments, root, tmp_path):
  ended = subprocess.run(
    [sys.executable, str(root / arguments[0]), *arguments[1:]],
    capture_output=True, text=True, cwd=tmp_path, timeout=60,
  )  # fmt: skip
  assert ended.returncode == 1
  assert "error: init checkpoint: expected a checkpoint, found nothing at 'nope'" in ended.stderr
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  "flag", ["--output_dir=gs://b/out", "-init_checkpoint=s3://b/bert", "--train_file gs://b/train"]
)
def test_paths_in_buckets_are_refused(flag, root, tmp_path):
  # Taken as a local path, the output would land in a new directory "gs:".
  ended = subprocess.run(
    [sys.executable, str(root / "run_squad.py"), "--output_dir=out", *flag.split(" ")],
    capture_output=True, text=True, cwd=tmp_path, timeout=60,
  )  # fmt: skip
  assert ended.returncode == 1
  name = re.split("[= ]", flag.lstrip("-"))[0]
  assert f"error: --{name}: expected a local path, found" in ended.stderr
  assert not list(tmp_path.iterdir())
