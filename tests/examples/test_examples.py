"""What lies in examples/ runs as its first lines say; nothing of 2019's processors is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bert_tf.errors import UserError
from bert_tf.tasks.classification import DataProcessor, InputExample, processors, register, registry
from bert_tf.tasks.classification.processors import TableOptions, create_processor

QUESTIONS = [
  ("Where is the river?", "In which place is the river?", "1"),
  ("Where is the river?", "Who is the queen?", "0"),
  ("Who is the old queen?", "What is the name of the queen?", "1"),
  ("How wide is it?", "When was it made?", "0"),
]


@pytest.fixture
def registered(monkeypatch):
  """What a test registers is forgotten after it."""
  monkeypatch.setattr(processors, "PROCESSORS", dict(processors.PROCESSORS))


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
  directory = tmp_path_factory.mktemp("questions")
  for split in ("train", "dev", "test"):
    rows = [f"{n}\t" + "\t".join(row) for n, row in enumerate(QUESTIONS * 4)]
    (directory / f"{split}.tsv").write_text("\n".join(["id\ta\tb\tlabel", *rows]) + "\n")
  return directory


def run(root, golden, script, output_dir, *words):
  command = [
    sys.executable, str(root / script), f"--output_dir={output_dir}", "--do_train", "--do_eval",
    f"--bert_config_file={golden / 'bert_config.json'}", f"--vocab_file={golden / 'vocab.txt'}",
    f"--init_checkpoint={golden / 'tiny_ckpt' / 'bert_model.ckpt'}", "--max_seq_length=32",
    "--train_batch_size=8", "--num_train_epochs=1", *words,
  ]  # fmt: skip
  ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
  assert ended.returncode == 0, ended.stderr[-3000:]
  return json.loads((output_dir / "eval_metrics.json").read_text())


def test_a_processor_of_2019(root, golden, questions, tmp_path):
  words = [
    f"--task_file={root / 'examples' / 'original_processor.py'}", "--task_name=Questions",
    f"--data_dir={questions}", "--do_predict",
  ]  # fmt: skip
  scores = run(root, golden, "run_classifier.py", tmp_path / "out", *words)
  assert 0 <= scores["accuracy"] <= 1
  predictions = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
  assert len(predictions) == 16 and json.loads(predictions[3])["id"] == "test-3"
  assert len((tmp_path / "out" / "test_results.tsv").read_text().splitlines()) == 16


def test_a_head_of_your_own(root, golden, tmp_path):
  words = ["--task_name=mrpc", f"--data_dir={golden / 'glue' / 'MRPC'}"]
  scores = run(root, golden, "examples/custom_head.py", tmp_path / "out", *words)
  assert 0 <= scores["accuracy"] <= 1
  config = json.loads((tmp_path / "out" / "run_config.json").read_text())
  assert "mean" in json.dumps(config)
  assert not any("pooler" in name for name in names_in(tmp_path / "out"))


def names_in(directory) -> list[str]:
  import tensorflow as tf

  return [name for name, _ in tf.train.list_variables(str(directory))]


class Bytes(DataProcessor):
  """Returns objects of its own, with bytes and numbers, as some forks do."""

  def get_train_examples(self, data_dir):
    class Example:
      guid, text_a, text_b, label = 7, b"a caf\xc3\xa9", None, 1

    return [Example()]

  def get_dev_examples(self, data_dir):
    return [("not", "an", "example")]

  def get_labels(self):
    return [0, 1]


def test_examples_of_other_classes(registered, tmp_path):
  register("Bytes", Bytes)
  processor = create_processor("bYTES", str(tmp_path), TableOptions())
  [example] = processor.examples("train")
  assert (example.guid, example.text_a, example.label) == ("7", "a café", "1")
  assert processor.labels() == ["0", "1"]
  with pytest.raises(UserError, match="get_dev_examples: example 1: expected guid, text_a"):
    processor.examples("dev")
  with pytest.raises(UserError, match=r"Bytes.get_test_examples: expected a list .* add this"):
    processor.examples("test")


def test_processors_of_this_package(registered, tmp_path):
  class Ours(processors.DataProcessor):
    def labels(self):
      return ["no", "yes"]

    def _read(self, split):
      return [InputExample("1", "a text", None, "yes", "line 1")]

  register("ours", Ours)
  assert create_processor("ours", str(tmp_path), TableOptions()).examples("dev")[0].label == "yes"


def test_what_cannot_be_registered(registered):
  with pytest.raises(UserError, match="expected a new name, found 'mrpc'"):
    register("MRPC", Bytes)
  with pytest.raises(UserError, match="expected a subclass of DataProcessor"):
    register("other", dict)


def test_labels_that_are_wrong(registered, tmp_path):
  class Twice(Bytes):
    def get_labels(self):
      return ["a", "a"]

  register("twice", Twice)
  with pytest.raises(UserError, match=r"Twice.get_labels: expected two or more labels, each once"):
    create_processor("twice", str(tmp_path), TableOptions())


def test_a_file_that_registers_nothing(registered, tmp_path):
  path = tmp_path / "nothing.py"
  path.write_text("x = 1\n")
  with pytest.raises(UserError, match=r"to register a task, found none; .*register\("):
    registry.load(str(path))
  with pytest.raises(UserError, match="`task_file`: expected a file"):
    registry.load(str(tmp_path / "absent.py"))


def test_rows_are_read_as_the_original_reads_them(tmp_path):
  """By Python's csv module, as run_classifier.py did: quotes are characters unless asked for."""
  path = tmp_path / "rows.tsv"
  path.write_text('a\t"b\tc"\nd\t\te\n', encoding="utf-8")
  assert DataProcessor._read_tsv(str(path)) == [["a", '"b', 'c"'], ["d", "", "e"]]
  assert DataProcessor._read_tsv(str(path), quotechar='"')[0] == ["a", "b\tc"]
