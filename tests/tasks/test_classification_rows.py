"""Rows that are lost or shifted, labels that look the same, and other quiet mistakes in tables."""

from __future__ import annotations

import logging as python_logging

import pytest

from bert_tf import UserError
from bert_tf.data.report import TokenizationReport
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.features import LabelEncoder, convert_example
from bert_tf.tasks.classification.processors import (
  TableOptions,
  TableProcessor,
  create_processor,
)
from bert_tf.tokenization import FullTokenizer

SENTENCES = ("The sea rises twice a day.", "The moon pulls on the water.")
MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
COLA = "gj04\t1\t\t{}\ngj04\t0\t*\t{}\n".format(*SENTENCES)
MNLI = ["index", "promptID", "pairID", "genre", *"abcd", "sentence1", "sentence2"]
MNLI_ROW = ["0", "10016", "10016e", "telephone", *"abcd", *SENTENCES]


def row(*cells: str) -> str:
  return "\t".join(cells) + "\n"


def mrpc(*rows: tuple[str, ...], header: str = MRPC) -> str:
  return header + "".join(map(lambda cells: row(*cells), rows))


def task(tmp_path, name, files: dict[str, str]):
  for file, text in files.items():
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text, encoding="utf-8")
  return create_processor(name, str(tmp_path), TableOptions())


PAIR = ("1", "0", "100", *SENTENCES)
NO_HEADER = [
  ("mrpc", "test", "test.tsv", mrpc(("0", "0", "0", *SENTENCES), header="")),
  ("mrpc", "train", "train.tsv", mrpc(PAIR, header="")),
  ("mrpc", "dev", "dev.tsv", mrpc(("x", "0", "100", *SENTENCES), header="")),
  ("cola", "test", "test.tsv", f"0\t{SENTENCES[0]}\n1\t{SENTENCES[1]}\n"),
  ("cola", "test", "test.tsv", COLA),
  ("mnli", "test", "test_matched.tsv", row(*MNLI_ROW)),
  ("mnli", "dev", "dev_matched.tsv", row("x", "x", *MNLI_ROW[2:], "neutral", "neutral")),
  ("mnli", "train", "train.tsv", row(*MNLI_ROW, "neutral", "neutral")),
  ("xnli", "train", "multinli/multinli.train.zh.tsv", row(*SENTENCES, "contradictory")),
  ("xnli", "dev", "xnli.dev.tsv", row("zh", "neutral", *"abcd", *SENTENCES)),
]


@pytest.mark.parametrize(("name", "split", "file", "text"), NO_HEADER)
def test_a_first_row_that_is_an_example_is_not_lost(tmp_path, name, split, file, text):
  with pytest.raises(UserError, match=rf"{file}: line 1: expected the names .* found an example"):
    task(tmp_path, name, {file: text}).examples(split)


def test_the_dev_file_of_cola_with_names_is_no_test_file(tmp_path):
  """Its labels would be classified as sentences."""
  processor = task(tmp_path, "cola", {"test.tsv": "source\tlabel\tmark\tsentence\n" + COLA})
  with pytest.raises(UserError, match=r"test\.tsv: line 2: expected a text, found a label, '1'"):
    processor.examples("test")


EXTRA = [
  ("mrpc", "train", "train.tsv", mrpc(PAIR, (*PAIR[:3], "The sea", "rises.", "The moon."))),
  ("mrpc", "test", "test.tsv", mrpc(PAIR, (*PAIR, "and more"))),
  ("cola", "dev", "dev.tsv", COLA + "gj04\t1\t\tThe sea\trises.\n"),
  ("cola", "test", "test.tsv", "index\tsentence\n0\tThe moon\n1\tThe sea\trises.\n"),
  ("mnli", "dev", "dev_matched.tsv", row(*MNLI, "gold") + row(*MNLI_ROW, "x", "neutral")),
]


@pytest.mark.parametrize(("name", "split", "file", "text"), EXTRA)
def test_a_tab_inside_of_a_text_is_found(tmp_path, name, split, file, text):
  number = text.count("\n")
  with pytest.raises(
    UserError, match=rf"{file}: line {number}: expected \d+ columns as in the fir"
  ):
    task(tmp_path, name, {file: text}).examples(split)


def test_rows_that_are_too_short_are_shifted(tmp_path):
  """The label of MNLI is in the last column, wherever that is."""
  text = row(*MNLI, "label1", "gold_label") + row(*MNLI_ROW, "neutral")
  with pytest.raises(UserError, match=r"line 2: expected 12 columns as in the first row, found 11"):
    task(tmp_path, "mnli", {"dev_matched.tsv": text}).examples("dev")
  with pytest.raises(UserError, match=r"line 2: expected 3 columns as in the first row, found 2"):
    table(tmp_path, "train.tsv", "text\tlabel\tnote\na\tx\n").examples("train")


def test_quotes_are_ordinary_characters(tmp_path):
  """As the paraphrase corpus has them, unbalanced too."""
  pair = ("1", "0", "100", '"The sea, he said.', 'The moon" pulls.')
  (example,) = task(tmp_path, "mrpc", {"test.tsv": mrpc(pair)}).examples("test")
  assert (example.text_a, example.text_b) == pair[3:]


@pytest.mark.parametrize("name", ["CoLA", "MRPC"])
def test_real_files_are_read_whole(real_data, name):
  """Counts are lines of the files less headers."""
  directory = real_data / "glue" / name
  processor = create_processor(name, str(directory), TableOptions())
  for split in ("train", "dev", "test"):
    lines = (directory / f"{split}.tsv").read_bytes().count(b"\n")
    header = name == "MRPC" or split == "test"
    assert abs(len(processor.examples(split)) - (lines - header)) <= 1


def table(tmp_path, name, text, **options):
  (tmp_path / name).write_text(text, encoding="utf-8", newline="")
  return TableProcessor(str(tmp_path), TableOptions(**options))


@pytest.mark.parametrize(
  ("text", "options", "message"),
  [
    (
      "yes\tyes\nno\tno\n",
      {"text_column": "0", "label_column": "1"},
      "all texts of the column 0 are",
    ),
    (
      "a\t1\nb\t0\nc\t1\n",
      {"text_column": "0", "label_column": "1", "header": True},
      "line 1 is left out as names of columns (`header`), but holds a label, '1'",
    ),
    (
      "text\tlabel\nb\t0\nc\t1\nd\t0\ne\t1\n",
      {"text_column": "0", "label_column": "1"},
      "line 1 is taken for an example, but its label, 'label', occurs nowhere else",
    ),
  ],
)
def test_columns_and_headers_that_are_doubtful(tmp_path, caplog, text, options, message):
  with caplog.at_level(python_logging.WARNING, logger="absl"):
    table(tmp_path, "train.tsv", text, **options).examples("train")
  assert message in caplog.text


@pytest.mark.parametrize(
  ("name", "text", "options"),
  [
    ("train.tsv", "text\tlabel\na\tb\n", {"text_column": "label"}),
    ("train.tsv", "text\tlabel\na\tb\n", {"text_column": "1", "header": True}),
    ("train.csv", "text,label\na,b\n", {"text_pair_column": "text"}),
    ("train.csv", "text,label\na,b\n", {"text_pair_column": "other,label"}),
    ("train.jsonl", '{"text": "a", "label": "b"}\n', {"label_column": "text"}),
  ],
)
def test_one_column_is_not_text_and_label(tmp_path, name, text, options):
  with pytest.raises(UserError, match=r"train\.\w+: expected a column for each text and label"):
    table(tmp_path, name, text, **options).examples("train")


def test_labels_that_look_the_same_are_pointed_out_and_counted(tmp_path, caplog):
  labels = ["0", "0.0", "1", "1.0", "1", "nan", "Yes", "yes", "NO", "None"]
  rows = "".join(f"text {i}\t{label}\n" for i, label in enumerate(labels))
  with caplog.at_level(python_logging.INFO, logger="absl"):
    table(tmp_path, "train.tsv", "text\tlabel\n" + rows).examples("train")
  assert "train: 10 examples of the labels '0' (1), '0.0' (1), '1' (2), '1.0' (1)" in caplog.text
  warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
  assert len(warnings) == 4
  for group in ("'0' (1), '0.0' (1) are", "'1' (2), '1.0' (1) are", "'Yes' (1), 'yes' (1) are"):
    assert any(group in warning for warning in warnings)
  assert any("'nan' (1) is taken for a label" in warning for warning in warnings)


@pytest.mark.parametrize("name", ["MRPC", "CoLA", "MNLI", "XNLI"])
def test_counts_are_said_of_every_task(golden, caplog, name):
  with caplog.at_level(python_logging.INFO, logger="absl"):
    processor = create_processor(name, str(golden / "glue" / name), TableOptions())
    examples = processor.examples("dev")
    processor.examples("dev")
  (said,) = [r.getMessage() for r in caplog.records]
  assert said.startswith(f"dev: {len(examples)} examples of the labels ")
  for label in processor.labels():
    assert f"{label!r} ({sum(e.label == label for e in examples)})" in said


def test_the_range_of_targets_is_said(tmp_path, caplog):
  with caplog.at_level(python_logging.INFO, logger="absl"):
    text = "text\tlabel\na\t100\nb\t800\n"
    table(tmp_path, "train.tsv", text, task_type="regression").examples("train")
  assert "train: 2 examples with targets from 100 to 800, 450 in the mean" in caplog.text


COLUMNS = {"task_type": "multilabel", "label_column": "toxic, obscene"}


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("train.csv", "text,obscene,toxic\na,0,1\nb,1,1\nc,0,0\n"),
    ("train.tsv", "text\ttoxic\tthreat\tobscene\na\t1.0\t1\t0.0\nb\t1\t1\t1\nc\t0\t1\t0\n"),
    (
      "train.jsonl",
      '{"text": "a", "toxic": 1, "obscene": false}\n{"text": "b", "toxic": true, "obscene": 1}\n'
      '{"text": "c", "toxic": 0, "obscene": 0}\n',
    ),
  ],
)
def test_one_column_for_each_label(tmp_path, caplog, name, text):
  with caplog.at_level(python_logging.INFO, logger="absl"):
    processor = table(tmp_path, name, text, **COLUMNS)
    encoder = LabelEncoder(processor)
    examples = processor.examples("train")
  assert encoder.labels == ["toxic", "obscene"]
  assert [encoder.encode(e) for e in examples] == [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
  assert "train: 3 examples of the labels 'obscene' (1), 'toxic' (2), none (1)" in caplog.text


def test_columns_of_labels_by_number(tmp_path):
  text = "a\t1\t0\nb\t0\t1\n"
  options = {"task_type": "multilabel", "label_column": "1,2", "text_column": "0"}
  processor = table(tmp_path, "train.tsv", text, labels=("toxic", "obscene"), **options)
  encoder = LabelEncoder(processor)
  assert [encoder.encode(e) for e in processor.examples("train")] == [[1.0, 0.0], [0.0, 1.0]]
  with pytest.raises(UserError, match=r"`label_column=1,2`: expected names for these columns"):
    table(tmp_path, "train.tsv", text, **options)
  with pytest.raises(UserError, match=r"`label_column`: expected 3 columns"):
    table(tmp_path, "train.tsv", text, labels=("a", "b", "c"), **options)


def test_columns_of_labels_keep_the_order_of_the_training(tmp_path):
  options = TableOptions(**COLUMNS)
  processor = TableProcessor(str(tmp_path), options, known_labels=["obscene", "toxic"])
  assert processor.labels() == ["obscene", "toxic"]
  with pytest.raises(UserError, match="expected the labels of the training, threat, toxic, found"):
    TableProcessor(str(tmp_path), options, known_labels=["threat", "toxic"])


@pytest.mark.parametrize(
  ("text", "options", "message"),
  [
    ("text,toxic\na,1\n", {}, "expected a column 'obscene', found 'text', 'toxic' in line 1"),
    ("text,toxic,obscene\na,1,\n", {}, "line 2: expected 0 or 1 for the label 'obscene', found ''"),
    ("text,toxic,obscene\na,2,0\n", {}, "line 2: expected 0 or 1 for the label 'toxic', found '2'"),
    ("text,toxic,obscene\na,1,0\n", {"label_separator": "x"}, "`label_separator`: expected what"),
    (
      "text,toxic,obscene\na,1,0\nb,0,0\n",
      {"label_column": "toxic"},
      "found 0 and 1 only; name one",
    ),
  ],
)
def test_wrong_columns_of_labels(tmp_path, text, options, message):
  with pytest.raises(UserError, match=message):
    table(tmp_path, "train.csv", text, **{**COLUMNS, **options}).labels()
    table(tmp_path, "train.csv", text, **{**COLUMNS, **options}).examples("train")


def test_labels_that_are_called_0_and_1_are_given(tmp_path):
  text = 'text,label\na,"0,1"\nb,1\n'
  processor = table(tmp_path, "train.csv", text, task_type="multilabel", labels=("0", "1"))
  encoder = LabelEncoder(processor)
  assert [encoder.encode(e) for e in processor.examples("train")] == [[1.0, 1.0], [0.0, 1.0]]


@pytest.mark.parametrize("name", ["train.tsv", "train.csv", "train.jsonl"])
def test_long_fields_are_read(tmp_path, name):
  """By default csv takes no more than 131,072 characters."""
  long = "word " * 100_000
  separator = "," if name.endswith("csv") else "\t"
  text = f"text{separator}label\n{long}{separator}x\n"
  if name.endswith("jsonl"):
    text = f'{{"text": "{long}", "label": "x"}}\n'
  (example,) = table(tmp_path, name, text).examples("train")
  assert example.text_a == long


def test_a_quote_that_is_never_closed_does_not_read_on(tmp_path):
  (tmp_path / "a.csv").write_text('text,label\n"never closed,x\n' + "row,y\n" * 1000)
  rows = tables.read_csv(str(tmp_path / "a.csv"))
  assert next(rows) == (1, ["text", "label"])
  with pytest.raises(
    UserError, match=r"line 2: expected a row, found a quoted field over 101 lines"
  ):
    next(rows)


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("train.csv", "text,label\ra,x\rb,y\r"),
    ("train.tsv", "text\tlabel\ra\tx\rb\ty\r"),
    ("train.jsonl", '{"text": "a", "label": "x"}\r{"text": "b", "label": "y"}\r'),
  ],
)
def test_carriage_returns_at_the_ends_of_lines(tmp_path, name, text):
  with pytest.raises(UserError, match=r"line 1: expected line feeds .* found carriage returns"):
    table(tmp_path, name, text).examples("train")


def test_compressed_tables_are_recognized(tmp_path):
  (tmp_path / "train.tsv").write_bytes(b"\x1f\x8b\x08\x00 and so on")
  with pytest.raises(UserError, match=r"train\.tsv: expected text, found gzip data; uncompress it"):
    TableProcessor(str(tmp_path), TableOptions()).examples("train")


def test_no_directory_is_needed_where_files_are_named(tmp_path):
  for split in ("train", "dev"):
    (tmp_path / f"{split}.tsv").write_text("text\tlabel\na\tx\nb\ty\n")
  files = {split: str(tmp_path / f"{split}.tsv") for split in ("train", "dev")}
  processor = create_processor("table", None, TableOptions(files=files))
  assert len(processor.examples("dev")) == len(processor.examples("train")) == 2
  with pytest.raises(UserError, match=r"`data_dir`: expected a directory .* or name .*`test_file`"):
    processor.examples("test")
  for name, options in (("table", TableOptions()), ("mrpc", TableOptions(files=files))):
    with pytest.raises(UserError, match="`data_dir`: expected a directory, found none"):
      create_processor(name, None, options)


def test_what_is_cut_and_unknown_is_counted(golden, tmp_path):
  tokenizer, report = FullTokenizer(golden / "vocab.txt"), TokenizationReport()
  text = f"text\tpair\tlabel\n{'the ' * 9}\t{'the ' * 3}\tx\nthe \u9f98\t\ty\n"
  processor = table(tmp_path, "train.tsv", text, text_pair_column="pair")
  encoder = LabelEncoder(processor)
  for example in processor.examples("train"):
    convert_example(example, encoder, 9, tokenizer, report)
  assert report == TokenizationReport(texts=2, pieces=14, unknown=1, cut=1, lost=6)


@pytest.mark.parametrize(
  ("values", "options", "message"),
  [
    ('"id": null', {"id_column": "id"}, "expected a name for `id_column`, found None"),
    ('"id": ["a"]', {"id_column": "id"}, r"expected a name for `id_column`, found \['a'\]"),
    ('"id": true', {"id_column": "id"}, "expected a name for `id_column`, found True"),
    ('"pair": null', {"text_pair_column": "pair"}, "expected a text, found None"),
    ('"pair": 7', {"text_pair_column": "pair"}, "expected a text, found 7"),
  ],
)
def test_types_in_json_lines(tmp_path, values, options, message):
  text = f'{{"text": "a", "label": "x", {values}}}\n'
  with pytest.raises(UserError, match=f"line 1: {message}"):
    table(tmp_path, "train.jsonl", text, **options).examples("train")


def test_types_of_several_labels(tmp_path):
  text = '{"text": "a", "label": ["x", null]}\n'
  with pytest.raises(UserError, match=r"line 1: expected labels, found \['x', None\]"):
    table(tmp_path, "train.jsonl", text, task_type="multilabel").examples("train")
