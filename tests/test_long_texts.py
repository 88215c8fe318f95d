"""Texts longer than a sequence, from their table to the served answer."""

from __future__ import annotations

import json
import pathlib
import random

import fine_tuning_runs
import numpy as np
import pytest

from bert_tf import UserError, load, model_dir
from bert_tf.export.options import ExportOptions
from bert_tf.export.run import ExportRun, ExportRunner
from bert_tf.tasks.classification.processors import TableOptions
from bert_tf.tasks.fine_tuning import FineTuning, steps_of_epochs
from bert_tf.training.options import DeviceOptions, TrainingOptions

# What tells the label begins at this word of a thousand; each is a piece.
CUE, SIZE = 900, 1000
CUES = ("water",) * 24, ("river",) * 24
WORDS = ("the", "of", "and", "to", "in", "is", "was", "for", "on", "with", "as", "by", "at", "from")
WINDOWS = {"long_text": "windows", "doc_stride": 126, "pooling": "max"}


def write(path: pathlib.Path, rows: list[tuple[str, ...]]) -> None:
  path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def cue_at_900(tmp_path_factory, golden) -> pathlib.Path:
  """Texts of 1,000 words whose label the words from the 900th on tell."""
  assert {*WORDS, "water", "river"} <= set((golden / "vocab.txt").read_text().split("\n"))
  directory = tmp_path_factory.mktemp("cue")
  rng = random.Random(7)
  for split, count in (("train", 160), ("dev", 60)):
    rows = [("text", "label")]
    for number in range(count):
      words = rng.choices(WORDS, k=SIZE)
      words[CUE : CUE + len(CUES[0])] = CUES[number % 2]
      rows.append((" ".join(words), ("dry", "wet")[number % 2]))
    write(directory / f"{split}.tsv", rows)
  # Nothing to be thrown away at random, so that little training is enough.
  config = json.loads((golden / "bert_config.json").read_text())
  config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
  config |= {"initializer_range": 0.1, "num_hidden_layers": 1}
  (directory / "bert_config.json").write_text(json.dumps(config))
  return directory


def flags(golden, data, output_dir, **more) -> dict:
  return {
    "task_name": "table", "data_dir": str(data), "table": TableOptions(),
    "vocab_file": str(golden / "vocab.txt"), "bert_config_file": str(golden / "bert_config.json"),
    "output_dir": str(output_dir), "max_seq_length": 128, "eval_batch_size": 16,
    "predict_batch_size": 5, **more,
  }  # fmt: skip


def train(run: FineTuning, output_dir, epochs: float, **more) -> None:
  options = {"train_batch_size": 16, "learning_rate": 3e-3, **more}
  steps = steps_of_epochs(run.num_train_examples, options["train_batch_size"], epochs, 0.1)
  run.train(TrainingOptions(str(output_dir), *steps, **options), DeviceOptions())


@pytest.mark.long
@pytest.mark.parametrize(
  ("long_text", "epochs"), [(WINDOWS, 4), ({**WINDOWS, "pooling": "attention"}, 10), ({}, 10)]
)
def test_a_cue_far_behind_is_found_in_windows_alone(
  golden, cue_at_900, tmp_path, long_text, epochs
):
  run = fine_tuning_runs.classifier(
    **flags(
      golden, cue_at_900, tmp_path, long_text=long_text, do_train=True, do_eval=True,
      bert_config_file=str(cue_at_900 / "bert_config.json"),
    )
  )  # fmt: skip
  # A text takes eight windows: four texts at once, and no more.
  train(run, tmp_path, epochs, tokens_per_batch=4 * 8 * 128 if long_text else 0)
  run.evaluate(DeviceOptions())
  accuracy = json.loads((tmp_path / "eval_metrics.json").read_text())["accuracy"]
  assert accuracy >= 0.95 if long_text else accuracy < 0.7


@pytest.fixture
def few(tmp_path, golden) -> pathlib.Path:
  """Few texts, single and as pairs, of lengths around those of windows, all kinds of labels."""
  data = tmp_path / "data"
  data.mkdir()
  rng = random.Random(3)
  for split, sizes in (
    ("train", (5, 40, 14, 90)),
    ("dev", (3, 33)),
    ("test", (0, 1, 14, 15, 61, 400)),
  ):
    rows = [("text", "second", "label", "labels", "number")]
    for index, size in enumerate(sizes):
      words = [" ".join(rng.choices([*WORDS, "water", "river"], k=n)) for n in (size, 9)]
      labels = ("wet", "dry")[index % 2], ("wet", "wet,dry")[index % 2], str(index / 2)
      rows.append((words[0] or "\u200b", words[1], *labels))
    write(data / f"{split}.tsv", rows)
  return data


def served(export_dir: pathlib.Path, rows: list[list[str]], name: str) -> dict:
  import tensorflow as tf

  [version] = (path for path in export_dir.iterdir() if path.name.isdigit())
  columns = [tf.constant(column) for column in zip(*rows, strict=True)]
  signature = tf.saved_model.load(str(version)).signatures[name]
  inputs = dict(zip(("text", "text_pair"), columns, strict=False))
  return {name: value.numpy() for name, value in signature(**inputs).items()}


@pytest.mark.parametrize(
  ("task_type", "column", "long_text", "check"),
  [
    ("classification", "label", {"long_text": "windows", "pooling": "attention"}, True),
    pytest.param(
      "multilabel",
      "labels",
      {"long_text": "windows", "pooling": "max", "max_windows": 9},
      False,
      marks=pytest.mark.long,
    ),
    pytest.param(
      "regression",
      "number",
      {"long_text": "windows", "doc_stride": 14},
      False,
      marks=pytest.mark.long,
    ),
    ("classification", "label", {"long_text": "head_tail"}, False),
  ],
)
def test_what_is_served_is_what_was_predicted(
  golden, few, tmp_path, caplog, task_type, column, long_text, check
):
  pairs = long_text["long_text"] == "head_tail"
  table = TableOptions(
    label_column=column, task_type=task_type, text_pair_column="second" if pairs else None
  )
  out = tmp_path / "out"
  given = {**flags(golden, few, out, table=table), "max_seq_length": 16}
  run = fine_tuning_runs.classifier(**given, long_text=long_text, do_train=True)
  train(run, out, 2, train_batch_size=2, tokens_per_batch=32 * 16)
  # What the texts are read by lies beside the weights.
  run = fine_tuning_runs.classifier(**given, do_predict=True)
  run.predict(DeviceOptions())
  assert model_dir.describe(str(out)).settings == run.about.settings
  assert run.about.settings["long_text"] == long_text["long_text"]
  outputs = np.loadtxt(out / "test_results.tsv", ndmin=2)

  ExportRunner(ExportRun(str(out), ExportOptions(str(tmp_path / "served"), check=check))).export()
  rows = [line.split("\t")[: 1 + pairs] for line in (few / "test.tsv").read_text().splitlines()[1:]]
  found = served(tmp_path / "served", rows, "serving_default")
  name = "score" if task_type == "regression" else "probabilities"
  np.testing.assert_allclose(found[name].reshape(outputs.shape), outputs, rtol=1e-5, atol=1e-5)
  # 400 pieces are 29 windows of 14, and half as many again where they start 7 apart.
  cut = [False] * 5 + ["doc_stride" not in long_text]
  assert found["truncated"].tolist() == ([False, False, True, True, True, True] if pairs else cut)
  trained = load(out)
  texts = [tuple(row) if pairs else row[0] for row in rows]
  answers = trained.predict(texts)[:, None] if name == "score" else trained.predict_proba(texts)
  np.testing.assert_allclose(answers, outputs, rtol=1e-5, atol=1e-5)


def test_ids_from_outside_may_be_documents(golden, few, tmp_path):
  """The signature for ids takes as many as a text may become, and refuses more."""
  import tensorflow as tf

  from bert_tf.export import exporters
  from bert_tf.export.options import GraphPlan

  long_text = {"long_text": "windows", "max_windows": 9}
  run = fine_tuning_runs.classifier(
    **{**flags(golden, few, tmp_path / "out"), "max_seq_length": 16}, long_text=long_text,
    do_train=True,
  )  # fmt: skip
  train(run, tmp_path / "out", 1, train_batch_size=4)
  graph = exporters.graph_of(run.weights, GraphPlan(run.about))
  tensors = graph.id_signatures()["tensors"]
  assert "pairs" not in graph.signatures()

  def answer(length: int):
    ids = tf.fill([1, length], 20)
    return tensors(input_ids=ids, input_mask=tf.ones_like(ids), segment_ids=tf.zeros_like(ids))

  assert answer(16 + 8 * 7)["logits"].shape == (1, 2)
  with pytest.raises(tf.errors.InvalidArgumentError, match="sequences must have up to 72 ids"):
    answer(16 + 8 * 7 + 1)


@pytest.mark.parametrize(
  ("more", "training", "message"),
  [
    ({"table": TableOptions(text_pair_column="second")}, {}, "expected single texts, found pairs"),
    ({"pad_to_max_length": True}, {}, "expected batches of any shape, found `pad_to_max_length`"),
    ({}, {"tokens_per_batch": 511}, "`tokens_per_batch`: expected at least 512, what a text of"),
    (
      {"max_seq_length": 8, "long_text": {**WINDOWS, "doc_stride": 9}},
      {},
      "`doc_stride`: expected",
    ),
  ],
)
def test_what_cannot_be_read_in_windows_is_refused(golden, few, tmp_path, more, training, message):
  out = tmp_path / "out"
  given = {**flags(golden, few, out), "max_seq_length": 16, "long_text": {"long_text": "windows"}}
  with pytest.raises(UserError) as error:
    run = fine_tuning_runs.classifier(**{**given, **more}, do_train=True)
    train(run, out, 2, train_batch_size=2, **training)
  assert message in str(error.value)
  assert not out.exists()


def test_another_reading_is_another_run(golden, few, tmp_path):
  out = tmp_path / "out"
  given = {**flags(golden, few, out), "max_seq_length": 16}
  train(fine_tuning_runs.classifier(**given, do_train=True), out, 1, train_batch_size=4)
  run = fine_tuning_runs.classifier(**given, long_text={"long_text": "head_tail"}, do_train=True)
  with pytest.raises(UserError, match=r"holds a run with `long_text=first` \(now head_tail\)"):
    train(run, out, 1, train_batch_size=4)


def test_what_is_lost_is_told(golden, few, tmp_path, caplog):
  caplog.set_level("INFO")
  out = tmp_path / "out"
  given = {**flags(golden, few, out), "max_seq_length": 16}
  windows = {"long_text": "windows", "max_windows": 3}
  run = fine_tuning_runs.classifier(**given, long_text=windows, do_train=True)
  train(run, out, 1, train_batch_size=4, dry_run=True)
  # 40 and 90 pieces are more than the 28 of three windows.
  assert "2 examples (50.0%) were cut at `max_windows=3` of `max_seq_length=16`" in caplog.text
  assert not out.exists()
