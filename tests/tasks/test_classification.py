"""Examples, features and scores of classification, against the original and scikit-learn."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from bert_tf import UserError
from bert_tf.tasks.classification import metrics, tables
from bert_tf.tasks.classification.features import LabelEncoder, convert_example
from bert_tf.tasks.classification.processors import (
  InputExample,
  TableOptions,
  TableProcessor,
  create_processor,
)
from bert_tf.tokenization import FullTokenizer

GOLDEN = {
  "features_MRPC_64": ("MRPC", "vocab.txt", True, 64, ("train", "dev", "test")),
  "features_MRPC_24_cased": ("MRPC", "vocab_cased.txt", False, 24, ("train", "dev", "test")),
  "features_CoLA_64": ("CoLA", "vocab.txt", True, 64, ("train", "dev", "test")),
  "features_MNLI_64": ("MNLI", "vocab.txt", True, 64, ("train", "dev", "test")),
  "features_XNLI_48": ("XNLI", "vocab.txt", True, 48, ("train", "dev")),
}


@pytest.mark.parametrize("name", list(GOLDEN))
def test_features_are_the_originals(name, golden):
  task, vocab, lower, length, splits = GOLDEN[name]
  processor = create_processor(task, str(golden / "glue" / task), TableOptions())
  tokenizer = FullTokenizer(golden / vocab, lower)
  encoder = LabelEncoder(processor)
  with gzip.open(golden / "classifier" / f"{name}.jsonl.gz", "rt") as lines:
    expected = [json.loads(line) for line in lines]
  found = [(split, example) for split in splits for example in processor.examples(split)]
  assert len(found) == len(expected)
  for (split, example), reference in zip(found, expected, strict=True):
    features = convert_example(example, encoder, length, tokenizer)
    assert split == reference["split"]
    assert example.guid == reference["guid"]
    assert (example.text_a, example.text_b) == (reference["text_a"], reference["text_b"])
    assert example.label == reference["label"]
    assert features.input_ids == reference["input_ids"]
    assert features.input_mask == reference["input_mask"]
    assert features.segment_ids == reference["segment_ids"]
    assert features.label == [reference["label_id"]]


def table(tmp_path, name, text, **options):
  (tmp_path / name).write_text(text, encoding="utf-8")
  return TableProcessor(str(tmp_path), TableOptions(**options))


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("train.tsv", 'text\tlabel\nsay "hi\tyes\na, b\tno\n'),
    ("train.csv", 'label,text\nyes,"say ""hi"\nno,"a, b"\n'),
    ("train.jsonl", '{"text": "say \\"hi", "label": "yes"}\n\n{"text": "a, b", "label": "no"}\n'),
    ("train.tsv", '\ufefftext\tlabel\r\nsay "hi\tyes\r\na, b\tno\r\n'),
  ],
)
def test_tables_of_every_kind_hold_the_same(tmp_path, name, text):
  processor = table(tmp_path, name, text)
  examples = processor.examples("train")
  assert [(e.text_a, e.label) for e in examples] == [('say "hi', "yes"), ("a, b", "no")]
  assert processor.labels() == ["no", "yes"]


def test_tables_without_header_and_numbers_as_labels(tmp_path):
  processor = table(
    tmp_path, "train.tsv", "10\tx\ta\n9\ty\tb\n", header=False, text_column="1",
    text_pair_column="2", label_column="0",
  )  # fmt: skip
  assert processor.labels() == ["9", "10"]
  assert processor.examples("train")[0].text_b == "a"


def test_several_labels(tmp_path):
  processor = table(
    tmp_path, "train.csv", 'text,label\nx,"b, a"\ny,\nz,c\n', task_type="multilabel"
  )
  encoder = LabelEncoder(processor)
  assert encoder.labels == ["a", "b", "c"]
  assert [encoder.encode(e) for e in processor.examples("train")] == [
    [1.0, 1.0, 0.0],
    [0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0],
  ]


@pytest.mark.parametrize(
  ("name", "text", "options", "message"),
  [
    (
      "train.tsv",
      "sentence\tlabel\na\tb\n",
      {},
      "column 'text', found 'sentence', 'label' in line 1",
    ),
    ("train.tsv", "text\tlabel\nonly one\n", {}, "line 2: expected at least 2 columns, found 1"),
    ("train.csv", 'text,label\n"a,b\nc,d\n', {}, "line 2: expected a row"),
    ("train.jsonl", '{"text": "a"}\n', {}, "line 1: expected the key 'label'"),
    ("train.jsonl", '{"text": "a", "label": 1}\n{oops\n', {}, "line 2: expected a JSON object"),
    ("train.jsonl", '{"text": 3, "label": 1}\n', {}, "line 1: expected a text, found 3"),
    ("train.txt", "text\tlabel\n", {}, "expected one file train.tsv"),
    ("train.tsv", "a\tb\n", {"header": False}, "give the column's number"),
    ("train.tsv", "", {}, "empty file"),
  ],
)
def test_wrong_tables_are_refused(tmp_path, name, text, options, message):
  with pytest.raises(UserError, match=message):
    table(tmp_path, name, text, **options).examples("train")


def test_a_quote_that_swallows_lines_is_found(tmp_path):
  rows = ["text,label", '"never closed,x', *(f"row {i},y" for i in range(300)), 'end",z']
  with pytest.raises(UserError, match="line 2: expected a row, found a quoted field over"):
    table(tmp_path, "train.csv", "\n".join(rows)).examples("train")


def test_wrong_encodings_name_the_line(tmp_path):
  path = tmp_path / "train.tsv"
  path.write_bytes("text\tlabel\nfine\t1\ncafé\t2\n".encode("latin-1"))
  with pytest.raises(UserError, match="line 3: expected UTF-8"):
    list(tables.read_tsv(str(path)))


def test_unknown_labels_tasks_and_splits(tmp_path, golden):
  (tmp_path / "train.tsv").write_text("text\tlabel\na\tpositive\nb\tnegative\n")
  (tmp_path / "dev.tsv").write_text("text\tlabel\na\tpositiv\n")
  processor = TableProcessor(str(tmp_path), TableOptions())
  encoder = LabelEncoder(processor)
  with pytest.raises(UserError, match=r"dev.tsv: line 2.*did you mean 'positive'"):
    encoder.encode(processor.examples("dev")[0])
  with pytest.raises(UserError, match="cola, mnli, mrpc, xnli, table, found 'sst'"):
    create_processor("sst", str(tmp_path), TableOptions())
  with pytest.raises(UserError, match="none"):
    create_processor("xnli", str(golden / "glue" / "XNLI"), TableOptions()).examples("test")
  with pytest.raises(UserError, match="expected a directory"):
    create_processor("mrpc", str(tmp_path / "absent"), TableOptions())
  with pytest.raises(UserError, match="expected a number, found 'x'"):
    regression = TableProcessor(str(tmp_path), TableOptions(task_type="regression"))
    LabelEncoder(regression).encode(InputExample("1", "a", None, "x"))


def test_scores_by_hand():
  logits = np.array([[2.0, 1.0], [0.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
  scores = metrics.compute(logits, np.array([0, 1, 0, 0]), "classification", ["no", "yes"])
  # Predictions 0 1 1 0: one false positive.
  assert scores["accuracy"] == 0.75
  assert scores["f1"] == pytest.approx(2 / 3)
  assert scores["matthews"] == pytest.approx(1 / np.sqrt(3))
  assert scores["per_label"]["no"]["recall"] == pytest.approx(2 / 3)
  numbers = metrics.compute(np.array([[1.0], [2.0], [4.0]]), np.array([1, 2, 3]), "regression", [])
  assert numbers["spearman"] == pytest.approx(1.0)
  assert numbers["pearson"] == pytest.approx(0.9819805)
  assert numbers["mean_squared_error"] == pytest.approx(1 / 3)
  constant = metrics.compute(np.ones([3, 1]), np.array([1, 2, 3]), "regression", [])
  assert constant["pearson"] == 0.0
  several = metrics.compute(
    np.array([[1.0, -1.0], [1.0, 1.0]]), np.array([[1.0, 0], [0, 1]]), "multilabel", ["a", "b"]
  )
  assert several["accuracy"] == 0.5
  assert several["micro_f1"] == pytest.approx(0.8)
