"""--export_dir of the training scripts: what is served answers as what the script predicted."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import pathlib
import re
import subprocess
import sys

import fine_tuning_runs
import numpy as np
import pytest
import weight_dirs

from bert_tf import model_dir
from bert_tf.data.records import RecordWriter, encode_example
from bert_tf.export.options import ExportOptions
from bert_tf.export.run import ExportRun, ExportRunner
from bert_tf.serving.fill_mask import fill_mask


def run(root, script: str, flags: dict, forbid_tensorflow: bool = False):
  forbid = "sys.modules['tensorflow'] = None;" if forbid_tensorflow else ""
  code = f"import sys, runpy; sys.path.insert(0, {str(root)!r}); {forbid}"
  code += f" runpy.run_path({str(root / script)!r}, run_name='__main__')"
  return subprocess.run(
    [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in flags.items())],
    capture_output=True, text=True, timeout=300, check=False,
  )  # fmt: skip


def asked(path: pathlib.Path) -> list[tuple[str, str, str]]:
  """Id, question and context of all that a SQuAD file asks."""
  return [
    (question["id"], question["question"], paragraph["context"])
    for article in json.loads(path.read_text())["data"]
    for paragraph in article["paragraphs"]
    for question in paragraph["qas"]
  ]


def signatures(export_dir: pathlib.Path, checked: bool = True):
  import tensorflow as tf
  import tensorflow_text  # noqa: F401

  [version] = (path for path in export_dir.iterdir() if path.name.isdigit())
  assert json.loads((version / "assets" / "serving.json").read_text())["checked"] == checked
  return tf.saved_model.load(str(version)).signatures


def model_flags(golden, tmp_path, **more):
  return {
    "bert_config_file": golden / "bert_config.json",
    "vocab_file": golden / "vocab.txt",
    "init_checkpoint": golden / "tiny_heads_ckpt" / "model.ckpt",
    "output_dir": tmp_path / "out",
    "export_dir": tmp_path / "export",
    **more,
  }


@pytest.mark.long
def test_the_best_classifier_is_served_as_it_predicts(root, golden, tmp_path):
  texts = ["red house", "the blue house", "green", "a red one", "blue, blue", "old green river"] * 8
  pairs = [f"{number} words" for number in range(len(texts))]
  rows = [
    f"{text}\t{pair}\t{re.search('red|blue|green', text)[0]}"
    for text, pair in zip(texts, pairs, strict=True)
  ]
  for split in ("train", "dev", "test"):
    (tmp_path / f"{split}.tsv").write_text("text\tpair\tlabel\n" + "\n".join(rows) + "\n")
  result = run(root, "run_classifier.py", model_flags(
    golden, tmp_path, task_name="table", data_dir=tmp_path, text_pair_column="pair",
    max_seq_length=32, do_train=True, do_predict=True, train_batch_size=8, num_train_epochs=2,
    learning_rate=1e-3, eval_steps=5, allow_missing="output_*",
  ))  # fmt: skip
  assert result.returncode == 0, result.stderr
  out = tmp_path / "out"
  assert json.loads((out / "tokenizer_config.json").read_text())["do_lower_case"] is True
  for what in ("Exporting", "Using the weights of"):
    assert re.search(rf"{what} \S+/out/best/model.ckpt-\d+", result.stderr), result.stderr
  served = signatures(tmp_path / "export")["serving_default"]
  found = {name: value.numpy() for name, value in served(text=texts, text_pair=pairs).items()}
  expected = np.loadtxt(out / "test_results.tsv", delimiter="\t")
  np.testing.assert_allclose(found["probabilities"], expected, rtol=0, atol=1e-5)
  predictions = [json.loads(line) for line in (out / "predictions.jsonl").open()]
  assert [label.decode() for label in found["label"]] == [p["label"] for p in predictions]


def test_answers_are_served_as_predicted(root, golden, tmp_path):
  result = run(root, "run_squad.py", model_flags(
    golden, tmp_path, predict_file=golden / "squad_v1.json", max_seq_length=96, doc_stride=32,
    max_query_length=24, do_predict=True,
  ))  # fmt: skip
  assert result.returncode == 0, result.stderr
  out = tmp_path / "out"
  predictions = json.loads((out / "predictions.json").read_text())
  nbest = json.loads((out / "nbest_predictions.json").read_text())
  served = signatures(tmp_path / "export")["serving_default"]
  ids, questions, contexts = zip(*asked(golden / "squad_v1.json"), strict=True)
  found = {
    name: value.numpy() for name, value in served(question=questions, context=contexts).items()
  }
  for row, key in enumerate(ids):
    assert found["answer"][row].decode() == predictions[key]
    count = found["num_answers"][row]
    assert count == len(nbest[key])
    probabilities = [answer["probability"] for answer in nbest[key]]
    np.testing.assert_allclose(found["probabilities"][row, :count], probabilities, atol=1e-5)
  # Of one length, as predicted; a server answers the requests that come with it all the same.
  [path] = (path for path in (tmp_path / "export").iterdir() if path.name.isdigit())
  assert model_dir.describe(str(path)).settings["dynamic_padding"] is False
  pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")
  from bert_tf.serving.servable import Servable

  servable = Servable(str(path), 1)
  assert servable.facts["static_length"]
  servable.close()


@pytest.mark.parametrize(
  ("version", "options"),
  [("v1", {}), ("v2", {"version_2_with_negative": True, "null_score_diff_threshold": -2.0})],
)
def test_an_export_of_a_run_answers_with_its_settings(golden, tmp_path, version, options):
  """Nothing is said to export_model.py; the predictions are the original's."""
  run = fine_tuning_runs.squad(
    output_dir=str(tmp_path / "out"), init_checkpoint=str(golden / "tiny_heads_ckpt"),
    bert_config_file=str(golden / "bert_config.json"), vocab_file=str(golden / "vocab.txt"),
    predict_file=str(golden / f"squad_{version}.json"), do_predict=True, max_seq_length=96,
    doc_stride=32, max_query_length=24, **options,
  )  # fmt: skip
  weights = weight_dirs.write(golden, tmp_path / "run", "tiny_heads_ckpt", vocabulary=None)
  model_dir.write(weights, run.about)
  options = ExportOptions(str(tmp_path / "export"), version=1, check=False)
  path = ExportRunner(ExportRun(weights, options)).export()
  rows = asked(golden / f"squad_{version}.json")
  ids, questions, contexts = zip(*rows, strict=True)
  served = signatures(tmp_path / "export", checked=False)["serving_default"]
  found = served(question=questions, context=contexts)["answer"].numpy()
  predictions = json.loads((golden / "cli" / f"squad_{version}_predictions.json").read_text())
  answers = dict(zip(ids, (answer.decode() for answer in found), strict=True))
  assert answers == predictions and len(answers) == {"v1": 33, "v2": 34}[version]
  # What is exported is a model directory like the one that it came from.
  again = model_dir.describe(path)
  assert dataclasses.replace(again, vocab_file=None, pairs=True) == dataclasses.replace(
    model_dir.describe(weights), vocab_file=None
  )


@pytest.mark.long
def test_a_pretrained_model_is_served(root, golden, tmp_path):
  with (
    gzip.open(golden / "pretrain" / "uncased_seed12345.jsonl.gz", "rt") as lines,
    RecordWriter(tmp_path / "train.tfrecord") as writer,
  ):
    for line in itertools.islice(lines, 8):
      example = json.loads(line)
      example["masked_lm_weights"] = [float(w) for w in example["masked_lm_weights"]]
      writer.write(encode_example(example))
  result = run(root, "run_pretraining.py", model_flags(
    golden, tmp_path, input_file=tmp_path / "train.tfrecord", max_seq_length=64,
    max_predictions_per_seq=10, init_checkpoint=golden / "tiny_ckpt" / "bert_model.ckpt",
    do_train=True, num_train_steps=2, train_batch_size=4,
  ))  # fmt: skip
  assert result.returncode == 0, result.stderr
  out = tmp_path / "out"
  assert json.loads((out / "tokenizer_config.json").read_text())["do_lower_case"] is True
  texts = ["The old [MASK] is new.", "[MASK]"]
  found, expected = (
    [row["masks"][0] for row in fill_mask(str(model), texts)]
    for model in (tmp_path / "export", out)
  )
  for words, references in zip(found, expected, strict=True):
    assert [word["token"] for word in words] == [word["token"] for word in references]
    np.testing.assert_allclose(
      [word["probability"] for word in words],
      [word["probability"] for word in references],
      atol=1e-5,
    )


@pytest.mark.parametrize(
  ("script", "changes", "message"),
  [
    ("run_classifier.py", {"export_dir": "{tmp}/file/export"}, "cannot write in"),
    ("run_classifier.py", {"max_seq_length": 3}, "--max_seq_length of at least 4"),
    ("run_squad.py", {"export_dir": "{tmp}/file"}, "cannot write in"),
    ("run_ner.py", {"export_dir": "{tmp}/file"}, "cannot write in"),
  ],
)
def test_what_cannot_be_exported_is_refused_at_once(
  root, golden, tmp_path, script, changes, message
):
  (tmp_path / "file").write_text("in the way")
  flags = model_flags(golden, tmp_path, do_train=True, do_predict=True, max_seq_length=64)
  if script == "run_classifier.py":
    flags |= {"task_name": "MRPC", "data_dir": golden / "glue" / "MRPC"}
  elif script == "run_ner.py":
    (tmp_path / "words").write_text("Oslo B-LOC\nis O\n")
    flags |= {"train_file": tmp_path / "words", "test_file": tmp_path / "words"}
  else:
    squad = golden / "squad_v1.json"
    flags |= {"train_file": squad, "predict_file": squad, "doc_stride": 16, "max_query_length": 16}
  flags |= {name: str(value).format(tmp=tmp_path) for name, value in changes.items()}
  result = run(root, script, flags, forbid_tensorflow=True)
  assert result.returncode == 1
  assert message in result.stderr and result.stderr.count("error:") == 1, result.stderr
  assert not (tmp_path / "out").exists()
