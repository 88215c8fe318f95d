"""run_ner.py: it learns, predicts line by line, is served as it predicts, refuses bad input."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys

import fine_tuning_runs
import numpy as np
import pytest

from bert_tf import UserError
from bert_tf.data import records
from bert_tf.tasks.fine_tuning import steps_of_epochs
from bert_tf.tokenization import FullTokenizer
from bert_tf.training.options import DeviceOptions, TrainingOptions

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


WORDS = {
  "O": ["windowsills", "the", "Clockwork", "."],
  "B-LOC": ["river", "Bridges"],
  "I-LOC": ["road", "millstones"],
  "B-PER": ["queen", "Bakers"],
  "I-PER": ["workers", "strongest"],
}


def sentences(count: int, seed: int, longest: int = 14) -> list[list[tuple[str, str]]]:
  """The tag depends on the word alone; half of the words have several pieces."""
  generator = random.Random(seed)
  result = []
  for _ in range(count):
    rows: list[tuple[str, str]] = []
    length = generator.randint(1, longest)
    while len(rows) < length:
      kind = generator.choice(["O", "LOC", "PER"])
      tags = ["O"] if kind == "O" else [f"B-{kind}", f"I-{kind}"][: generator.randint(1, 2)]
      rows += [(generator.choice(WORDS[tag]), tag) for tag in tags]
    result.append(rows)
  return result


def write(path, data, columns: int = 2) -> str:
  text = "\n".join("".join("\t".join(row[:columns]) + "\n" for row in rows) for rows in data)
  path.write_text(text, encoding="utf-8")
  return str(path)


def settings(golden, output_dir, **more):
  return {
    "bert_config_file": str(golden / "bert_config.json"),
    "vocab_file": str(golden / "vocab.txt"),
    "output_dir": str(output_dir),
    "max_seq_length": 24,
    "eval_batch_size": 16,
    "predict_batch_size": 16,
    **more,
  }


def train(flags, epochs, **more):
  runner = fine_tuning_runs.ner(**flags, do_train=True)
  steps = steps_of_epochs(runner.num_train_examples, 32, epochs, 0.1)
  options = TrainingOptions(
    flags["output_dir"], *steps, train_batch_size=32, init_checkpoint=flags["init_checkpoint"],
    keep_checkpoint_max=1, **{"learning_rate": 3e-3, **more},
  )  # fmt: skip
  runner.train(options, DeviceOptions())


@pytest.fixture(scope="module")
def trained(golden, tmp_path_factory):
  """A model that has learnt; the data directory, flags, and the sentences of its test set."""
  root = tmp_path_factory.mktemp("ner")
  data = root / "data"
  data.mkdir()
  # Of the long ones a window shows a part.
  write(data / "train.txt", sentences(250, 1) + sentences(10, 2, 80))
  write(data / "valid.txt", sentences(60, 3) + sentences(4, 4, 80))
  test = [*sentences(20, 5), [("\u200d", "O"), *sentences(1, 6, 90)[0]]]
  write(data / "test.txt", test)
  flags = settings(golden, root / "out", data_dir=str(data))
  init = str(golden / "tiny_heads_ckpt" / "model.ckpt")
  train({**flags, "init_checkpoint": init}, epochs=8, eval_steps=40)
  return data, flags, test


@pytest.fixture(scope="module")
def predicted(trained):
  """The output directory after evaluation and prediction, without the training data."""
  data, flags, _ = trained
  (data / "train.txt").rename(data / "old")
  runner = fine_tuning_runs.ner(**flags, do_eval=True, do_predict=True)
  runner.evaluate(DeviceOptions())
  runner.predict(DeviceOptions())
  return data.parent / "out"


def test_learns(predicted):
  scores = json.loads((predicted / "eval_metrics.json").read_text())
  assert scores["f1"] > 0.99 and scores["accuracy"] > 0.99, scores
  assert set(scores["per_type"]) == {"LOC", "PER"}
  lines = [line.split(" = ") for line in (predicted / "eval_results.txt").read_text().splitlines()]
  assert [name for name, _ in lines] == [
    "eval_accuracy", "eval_f1", "eval_loss", "eval_precision", "eval_recall", "global_step",
  ]  # fmt: skip
  assert float(dict(lines)["eval_f1"]) == pytest.approx(scores["f1"])
  best = dict(line.split(" = ") for line in (predicted / "best" / "eval_results.txt").open())
  assert set(best) == {"accuracy", "f1", "global_step", "loss", "precision", "recall"}


def test_what_lies_beside_the_weights(predicted):
  assert (predicted / "labels.txt").read_text().split() == LABELS
  assert json.loads((predicted / "tokenizer_config.json").read_text())["do_lower_case"] is True
  record = records.decode_example(next(records.read_records(predicted / "train.tf_record")))
  assert {name: len(values) for name, values in record.items()} == {
    "input_ids": 24, "input_mask": 24, "segment_ids": 24, "label_ids": 24, "is_real_example": 1,
  }  # fmt: skip


def test_predictions_stand_line_by_line_beside_the_input(trained, predicted):
  data, _, test = trained
  given = (data / "test.txt").read_text().splitlines()
  found = (predicted / "test_predictions.txt").read_text().splitlines()
  assert len(found) == len(given)
  assert [line.rpartition("\t")[0] for line in found] == given
  right = [line.split("\t")[1] == line.split("\t")[2] for line in found if line]
  assert np.mean(right) > 0.99
  # A word that no piece is left of is outside.
  assert "\u200d\tO\tO" in found
  entities = [line.split("\t") for line in (predicted / "test_results.tsv").open()]
  assert entities.pop(0)[-1] == "text\n"
  for number, first, last, kind, probability, text in entities:
    words = [word for word, _ in test[int(number)]][int(first) : int(last) + 1]
    assert " ".join(words) + "\n" == text and kind in ("LOC", "PER")
    assert 0.2 < float(probability) <= 1
  # The model begins every entity with B-, as its training data does.
  assert len(entities) == sum(line.rpartition("\t")[2].startswith("B-") for line in found)


def test_words_alone_are_predicted_alike(trained, predicted, tmp_path):
  """Without tags, in other batches, padded to one shape; blank lines and documents kept."""
  _, flags, test = trained
  path = write(tmp_path / "words", test, columns=1)
  content = (tmp_path / "words").read_text()
  (tmp_path / "words").write_text(f"-DOCSTART-\n\n\n{content}\n\n")
  changes = {
    "output_dir": str(tmp_path / "out"), "files": {"test": path}, "predict_batch_size": 5,
    "init_checkpoint": str(predicted), "pad_to_max_length": True, "do_predict": True,
  }  # fmt: skip
  fine_tuning_runs.ner(**(flags | changes)).predict(DeviceOptions())
  found = (tmp_path / "out" / "test_predictions.txt").read_text().splitlines()
  assert found[:3] == ["", "", ""]
  before = (predicted / "test_predictions.txt").read_text().splitlines()
  rows = [line.split("\t") for line in before]
  assert found[3:] == ["\t".join([row[0], row[-1]]) if len(row) > 1 else "" for row in rows]


def test_entities_are_served_as_predicted(trained, predicted, tmp_path):
  """export_model.py needs no more flags than the directory."""
  import tensorflow as tf
  import tensorflow_text  # noqa: F401

  from bert_tf.export.options import ExportOptions
  from bert_tf.export.run import ExportRun, ExportRunner

  options = ExportOptions(str(tmp_path), version=1, check=False)
  path = ExportRunner(ExportRun(str(predicted), options)).export()
  _, flags, test = trained
  tokenize = FullTokenizer(flags["vocab_file"]).tokenize
  texts = [" ".join(word for word, _ in rows) for rows in test]
  # One is longer than a window, and is served in several as it was predicted.
  assert any(len(tokenize(text)) > 22 for text in texts)
  served = tf.saved_model.load(path).signatures["serving_default"](text=tf.constant(texts))
  found = [
    (str(row), label.decode(), text.decode(), pytest.approx(float(score), abs=1e-4))
    for row in range(len(texts))
    for label, text, score, start in zip(
      *(served[n].numpy()[row] for n in ("entity_labels", "entities", "scores", "starts")),
      strict=True,
    )
    if start >= 0
  ]
  lines = [line.rstrip("\n").split("\t") for line in (predicted / "test_results.tsv").open()][1:]
  expected = [(n, kind, text, float(p)) for n, _, _, kind, p, text in lines]
  assert len(expected) > 20
  assert expected == found

  # Words as they are in the file, whatever they are made of.
  width = max(map(len, test))
  words = [[word for word, _ in rows] + [""] * (width - len(rows)) for rows in test]
  tagged = tf.saved_model.load(path).signatures["words"](words=tf.constant(words))["word_labels"]
  lines = (predicted / "test_predictions.txt").read_text().splitlines()
  tags = [line.split("\t")[-1] for line in lines if line]
  assert [label.decode() for row in tagged.numpy() for label in row if label] == tags


def test_a_dry_run_leaves_nothing(trained, golden, tmp_path):
  data, flags, _ = trained
  flags = {
    **flags,
    "output_dir": str(tmp_path / "out"),
    "files": {"train": str(data / "valid.txt")},
  }
  train({**flags, "init_checkpoint": None}, epochs=1, dry_run=True, eval_steps=1)
  assert not (tmp_path / "out").exists()


def test_a_directory_with_other_labels_is_refused(trained, predicted, tmp_path):
  _, flags, _ = trained
  path = write(tmp_path / "train", [[("a", "B-X")], [("b", "O")]])
  with pytest.raises(UserError, match=r"5 entries of `labels` \(now 2\)"):
    train({**flags, "files": {"train": path}, "init_checkpoint": None}, epochs=32)
  with pytest.raises(UserError, match=r"train: line 1: expected a tag of O, B-LOC.* found 'B-X'"):
    fine_tuning_runs.ner(**flags, files={"dev": path}, do_eval=True)


def test_a_hugging_face_model_without_pooler_predicts(golden, tmp_path):
  """Its labels stand in its config, as those of the hub's models do."""
  from bert_tf import model_dir

  source = golden / "formats" / "huggingface" / "BertForTokenClassification"
  tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxy"]
  (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
  for name in ("config.json", "pytorch_model.bin"):
    shutil.copy(source / name, tmp_path)
  assert model_dir.describe(str(tmp_path)).labels == ("O", "B-X", "I-X")
  path = write(tmp_path / "test", [[(word, "O") for word in "abcdefghijklmnopqrstuv"]])
  runner = fine_tuning_runs.ner(
    output_dir=str(tmp_path / "out"),
    files={"test": path},
    init_checkpoint=str(tmp_path),
    max_seq_length=14,
    do_predict=True,
  )
  assert runner.about.labels == ("O", "B-X", "I-X")
  runner.predict(DeviceOptions())
  found = (tmp_path / "out" / "test_predictions.txt").read_text().splitlines()
  assert len(found) == 22 and {line.split("\t")[2] for line in found} <= {"O", "B-X", "I-X"}


BAD = [
  ({}, "expected `do_train`, `do_eval` or `do_predict`, found none"),
  ({"do_train": True, "data_dir": "/nothing"}, "`data_dir`: expected a directory, found nothing"),
  ({"do_train": True, "max_seq_length": 129}, "128 positions"),
  ({"do_train": True, "max_seq_length": 2}, "`max_seq_length`: expected at least 3"),
  ({"do_train": True, "doc_stride": 40}, "`doc_stride`: expected 1 to 22"),
  ({"do_train": True, "predict_batch_size": 0}, "`predict_batch_size`: expected at least 1"),
  ({"do_eval": True}, "expected a checkpoint in `output_dir`"),
  ({"do_train": True, "labels_file": "/nothing"}, "expected a file, found nothing at '/nothing'"),
  ({"do_train": True, "files": {"train": "outside"}}, "outside: expected O and at least one tag"),
  ({"do_train": True, "files": {"train": "bad"}}, "bad: line 2: expected a tag such as O"),
  ({"do_train": True, "labels_file": "labels"}, "train.txt: line 2: expected a tag of O, B-LOC"),
  ({"do_train": True, "files": {"train": "empty"}}, "found only characters without meaning"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_input_is_refused(changes, message, golden, tmp_path):
  write(tmp_path / "train.txt", [[("a", "B-LOC"), ("b", "B-PER"), ("c", "O")]])
  write(tmp_path / "outside", [[("a", "O")]])
  write(tmp_path / "bad", [[("a", "O"), ("b", "oops")]])
  write(tmp_path / "empty", [[("\u200d", "O"), ("\u200d", "B-X")]])
  (tmp_path / "labels").write_text("O\nB-LOC\n")
  changes = dict(changes)
  if changes.get("labels_file") == "labels":
    changes["labels_file"] = str(tmp_path / "labels")
  flags = settings(golden, tmp_path / "out", data_dir=str(tmp_path)) | changes
  with pytest.raises(UserError) as error:
    fine_tuning_runs.ner(**flags)
  assert message in str(error.value) and "\n" not in str(error.value)
  assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line_without_tensorflow(root, golden, tmp_path):
  write(tmp_path / "train.txt", [[("a", "B-LOC"), ("b", "PER")]])
  code = (
    f"import sys, runpy; sys.path.insert(0, {str(root)!r}); sys.modules['tensorflow'] = None;"
    f" runpy.run_path({str(root / 'run_ner.py')!r}, run_name='__main__')"
  )
  flags = settings(golden, tmp_path / "out", data_dir=tmp_path, do_train=True)
  result = subprocess.run(
    [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in flags.items())],
    capture_output=True, text=True, timeout=60, check=False,
  )  # fmt: skip
  assert result.returncode == 1
  assert re.fullmatch(r"error: \S+train.txt: line 2: expected a tag .*\n", result.stderr)
