from __future__ import annotations

import json

import pytest

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.quickstart import results
from bert_tf.tokenization.vocabulary import SPECIAL_TOKENS, write_vocabulary


@pytest.fixture
def record_file(tmp_path) -> str:
  path = str(tmp_path / "held_out.tfrecord")
  rows = [
    ([5, 6, 5], [1.0, 1.0, 0.0], 1),
    ([6, 6, 0], [1.0, 1.0, 0.0], 0),
    ([7, 0, 0], [1.0, 0.0, 0.0], 1),
    ([7, 7, 7], [1.0, 1.0, 1.0], 1),
  ]
  with records.RecordWriter(path) as writer:
    for ids, weights, label in rows:
      features = {
        "masked_lm_ids": ids, "masked_lm_weights": weights, "next_sentence_labels": [label],
      }  # fmt: skip
      writer.write(records.encode_example(features))
  return path


@pytest.fixture
def vocab_file(tmp_path) -> str:
  path = str(tmp_path / "vocab.txt")
  write_vocabulary([*SPECIAL_TOKENS, "a", "b", "c"], path)
  return path


def test_baselines_count_real_predictions_only(record_file, vocab_file):
  masked_lm, next_sentence = results.pretraining_baselines(record_file, vocab_file, 100)
  # c four times of 8, a padded 5 or 0 not counted.
  assert masked_lm == results.Baseline("c", 4 / 8)
  assert next_sentence == results.Baseline("random", 3 / 4)


def test_baselines_are_of_the_records_that_are_evaluated(record_file, vocab_file):
  masked_lm, next_sentence = results.pretraining_baselines(record_file, vocab_file, 2)
  assert masked_lm == results.Baseline("b", 3 / 4)
  assert next_sentence.accuracy == 1 / 2


def test_records_without_masked_words_are_refused(tmp_path, vocab_file):
  path = str(tmp_path / "empty.tfrecord")
  with records.RecordWriter(path):
    pass
  with pytest.raises(UserError, match="expected records with masked words"):
    results.pretraining_baselines(path, vocab_file, 10)


def test_area_baseline(tmp_path):
  path = tmp_path / "dev.tsv"
  path.write_text('module\ttext\tarea\na\tOne " quote\tx\nb\tTwo\ty\nc\tThree\ty\n')
  assert results.area_baseline(str(path)) == results.Baseline("y", 2 / 3)


def test_reads_numbers_of_eval_results(tmp_path):
  path = tmp_path / "eval_results.txt"
  path.write_text("eval_accuracy = 0.5\nglobal_step = 20\nnote = good\n")
  assert results.read_eval_results(str(path)) == {"eval_accuracy": 0.5, "global_step": 20}


def test_reads_curves(tmp_path):
  path = tmp_path / "metrics.jsonl"
  lines = [
    {"kind": "train", "step": 10, "loss": 2.0},
    {"kind": "eval", "step": 10, "loss": 3.0},
    {"kind": "train", "step": 20, "loss": None},
    {"kind": "train", "step": 30, "loss": 1.0},
    {"kind": "train", "step": 40, "other": 1.0},
  ]
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  assert results.curve(str(path), "train", "loss") == ([10, 30], [2.0, 1.0])
  assert results.curve(str(path), "eval", "loss") == ([10], [3.0])
  assert results.curve(str(tmp_path / "none"), "eval", "loss") == ([], [])
