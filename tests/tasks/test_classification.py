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


def test_xnli_in_another_language(golden):
  data = str(golden / "glue" / "XNLI")
  lines = (golden / "glue" / "XNLI" / "xnli.dev.tsv").read_text(encoding="utf-8").splitlines()
  english = [line.split("\t") for line in lines if line.startswith("en\t")]
  examples = create_processor("xnli", data, TableOptions(), xnli_language="en").examples("dev")
  assert [(e.text_a, e.text_b, e.label) for e in examples] == [(r[6], r[7], r[1]) for r in english]
  assert examples


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
    ("train.tsv", "\ufeff", {}, "expected rows, found none"),
    ("train.tsv", "\n\n", {}, "expected rows, found none"),
    ("train.tsv", "text\tlabel\n", {}, "expected rows, found none"),
    ("train.jsonl", "\n", {}, "expected rows, found none"),
    ("train.tsv", "text\tlabel\na\tb\n\nc\td\n", {}, "line 3: expected a row, found an empty line"),
    ("train.tsv", "text\tlabel\na\tb\tc\n", {}, "line 2: expected 2 columns as in the first row"),
    ("train.tsv", "text\tlabel\na\t \n", {}, "line 2: expected a label, found ' '"),
    ("train.tsv", "text\ttext\tlabel\na\tb\tc\n", {}, "expected one column 'text', found 2"),
    ("train.csv", 'text,label\n"a" b,c\n', {}, "line 2: expected a row, found: ',' expected"),
    (
      "train.csv",
      'text,label\nx,y\n"a\nb,c\n',
      {},
      "line 3: expected a row, found: unexpected end",
    ),
    ("train.csv", 'text,label\n"a\nb",y\nonly\n', {}, "line 4: expected at least 2 columns"),
    ("train.jsonl", '{"text": "a", "label": null}\n', {}, "line 1: expected a label, found None"),
    (
      "train.jsonl",
      '{"text": "a", "label": ["x"]}\n',
      {},
      "line 1: expected a label, found \\['x'\\]",
    ),
    ("train.jsonl", '["a", "b"]\n', {}, "line 1: expected a JSON object, found list"),
    ("train.jsonl", "[" * 100000 + "\n", {}, "line 1: expected a JSON object"),
    (
      "train.jsonl",
      '{"text": "a", "label": ["x,y"]}\n',
      {"task_type": "multilabel"},
      "line 1: expected labels without ','",
    ),
    ("train.tsv", "a\tb\n", {"task_type": "ranking"}, "classification, regression, multilabel"),
    ("train.tsv", "a\tb\n", {"labels": ("x", "x")}, "found 'x' twice"),
    ("train.tsv", "a\tb\n", {"labels": ("x",), "task_type": "regression"}, "none for a regression"),
  ],
)
def test_wrong_tables_are_refused(tmp_path, name, text, options, message):
  with pytest.raises(UserError, match=message):
    table(tmp_path, name, text, **options).examples("train")


def test_a_quote_that_swallows_lines_is_found(tmp_path):
  rows = ["text,label", '"never closed,x', *(f"row {i},y" for i in range(300)), 'end",z']
  with pytest.raises(UserError, match="line 2: expected a row, found a quoted field over"):
    table(tmp_path, "train.csv", "\n".join(rows)).examples("train")


def test_columns_by_name_where_there_are_names_and_by_number_elsewhere(tmp_path):
  """As in CoLA, whose test file alone has a row of names."""
  (tmp_path / "test.tsv").write_text("index\tsentence\n7\tsome text\n")
  processor = table(
    tmp_path, "train.tsv", "gj04\t1\t\tsome text\ngj04\t0\t*\ttext some\n",
    text_column="sentence,3", label_column="1",
  )  # fmt: skip
  train, test = processor.examples("train"), processor.examples("test")
  assert [(e.text_a, e.label) for e in train] == [("some text", "1"), ("text some", "0")]
  assert [(e.text_a, e.label) for e in test] == [("some text", None)]


def test_names_may_hold_commas_and_rows_end_empty(tmp_path):
  processor = table(
    tmp_path, "train.csv", '"text, long",label,id\n"a\nb",x,17\nc,y,18\n\n\n',
    text_column="text, long", id_column="id",
  )  # fmt: skip
  examples = processor.examples("train")
  assert [(e.guid, e.text_a) for e in examples] == [("17", "a\nb"), ("18", "c")]
  assert [e.where[-6:] for e in examples] == ["line 2", "line 4"]


def test_labels_of_json_lines(tmp_path):
  lines = (
    '{"text": "a", "label": [3, 1]}\n{"text": "b", "label": []}\n{"text": "c", "label": null}\n'
  )
  processor = table(tmp_path, "train.jsonl", lines, task_type="multilabel")
  encoder = LabelEncoder(processor)
  assert encoder.labels == ["1", "3"]
  assert [encoder.encode(e) for e in processor.examples("train")] == [
    [1.0, 1.0],
    [0.0, 0.0],
    [0.0, 0.0],
  ]
  lines = '{"text": "a", "label": true}\n{"text": "b", "label": false}\n'
  assert table(tmp_path, "train.jsonl", lines).labels() == ["False", "True"]


@pytest.mark.parametrize("number", ["x", "nan", "inf", ""])
def test_what_is_no_number_is_refused(tmp_path, number):
  processor = table(tmp_path, "train.tsv", f"text\tlabel\na\t{number}\n", task_type="regression")
  with pytest.raises(UserError, match=r"line 2: expected a (number|label), found"):
    LabelEncoder(processor).encode(processor.examples("train")[0])


def test_numbers_as_labels_are_pointed_out(tmp_path, caplog):
  processor = table(tmp_path, "train.tsv", "text\tlabel\na\t1.5\nb\t2.0\n")
  assert processor.labels() == ["1.5", "2.0"]
  assert "`task_type=regression`" in caplog.text


def test_long_lists_of_labels_are_cut(tmp_path):
  rows = [f"x\tlabel{i}" for i in range(500)]
  processor = table(tmp_path, "train.tsv", "\n".join(["text\tlabel", *rows]))
  with pytest.raises(
    UserError, match=r"\.\.\. \(500 in all\), found 'labell7'; did you mean"
  ) as error:
    LabelEncoder(processor).encode(InputExample("1", "a", None, "labell7", "f: line 1"))
  assert len(str(error.value)) < 400


def test_wrong_encodings_name_the_line(tmp_path):
  path = tmp_path / "train.tsv"
  path.write_bytes("text\tlabel\nfine\t1\ncafé\t2\n".encode("latin-1"))
  with pytest.raises(UserError, match="line 3: expected UTF-8"):
    list(tables.read_tsv(str(path)))
  path.write_text("text\tlabel\nfine\t1\n", encoding="utf-16")
  with pytest.raises(UserError, match="found UTF-16"):
    list(tables.read_tsv(str(path)))


GLUE = {
  "CoLA": ({"text_column": "sentence,3", "label_column": "1"}, (8551, 1043, 1063)),
  "MRPC": (
    {"text_column": "#1 String", "text_pair_column": "#2 String", "label_column": "Quality"},
    (3667, 408, 1725),
  ),
  "RTE": ({"text_column": "sentence1", "text_pair_column": "sentence2"}, (2490, 277, 3000)),
  "SST-2": ({"text_column": "sentence"}, (67349, 872, 1821)),
  "STS-B": (
    {
      "text_column": "sentence1", "text_pair_column": "sentence2", "label_column": "score",
      "task_type": "regression",
    },
    (5749, 1500, 1379),
  ),
  "QNLI": (
    {
      "text_column": "question", "text_pair_column": "sentence",
      "labels": ("entailment", "not_entailment"),
    },
    (None, 5463, 5463),
  ),
}  # fmt: skip


@pytest.mark.parametrize("task", list(GLUE))
def test_all_of_glue_is_read(task, real_data):
  """With the flags of docs/classification.md; counts are lines of the files less headers."""
  options, counts = GLUE[task]
  processor = TableProcessor(str(real_data / "glue" / task), TableOptions(**options))
  encoder = LabelEncoder(processor)
  for split, count in zip(("train", "dev", "test"), counts, strict=True):
    if count is None:
      continue
    examples = processor.examples(split)
    assert len(examples) == count
    for example in examples:
      encoder.encode(example)
  if task == "MRPC":
    originals = create_processor("mrpc", str(real_data / "glue" / task), TableOptions())
    assert [(e.text_a, e.text_b, e.label) for e in processor.examples("dev")] == [
      (e.text_a, e.text_b, e.label) for e in originals.examples("dev")
    ]


def test_unknown_labels_tasks_and_splits(tmp_path, golden):
  (tmp_path / "train.tsv").write_text("text\tlabel\na\tpositive\nb\tnegative\n")
  (tmp_path / "dev.tsv").write_text("text\tlabel\na\tpositiv\n")
  processor = TableProcessor(str(tmp_path), TableOptions())
  encoder = LabelEncoder(processor)
  with pytest.raises(UserError, match=r"dev.tsv: line 2.*did you mean 'positive'"):
    encoder.encode(processor.examples("dev")[0])
  with pytest.raises(UserError, match=r"cola, mnli, mrpc, xnli, ax, .*, wsc, table, found 'sst'"):
    create_processor("sst", str(tmp_path), TableOptions())
  with pytest.raises(UserError, match="none"):
    create_processor("xnli", str(golden / "glue" / "XNLI"), TableOptions()).examples("test")
  with pytest.raises(UserError, match="expected a directory"):
    create_processor("mrpc", str(tmp_path / "absent"), TableOptions())
  with pytest.raises(UserError, match="expected a number, found 'x'"):
    regression = TableProcessor(str(tmp_path), TableOptions(task_type="regression"))
    LabelEncoder(regression).encode(InputExample("1", "a", None, "x"))


def test_labels_may_be_called_as_scores_are():
  logits = np.array([[2.0, 1.0], [0.0, 1.0]])
  scores = metrics.compute(logits, np.array([0, 1]), "classification", ["accuracy", "macro avg"])
  assert scores["accuracy"] == scores["macro_f1"] == scores["f1"] == 1.0
  assert scores["per_label"]["accuracy"]["support"] == 1


def test_one_label_is_no_task(tmp_path):
  for task_type in ("classification", "multilabel"):
    with pytest.raises(UserError, match=r"expected at least two labels, found .'a'. in the train"):
      table(tmp_path, "train.tsv", "text\tlabel\nx\ta\n", task_type=task_type).labels()


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
