"""What holds for every fine-tuning run: what lies beside the weights counts, and stays as it is."""

from __future__ import annotations

import json
import pathlib
import shutil

import fine_tuning_runs
import pytest

from bert_tf import UserError, model_dir
from bert_tf.training.options import DeviceOptions, TrainingOptions

TRAIN = "text\tlabel\n" + "red car\tzebra\ngreen tree\tyak\nblue sky\txerus\n" * 4
OTHER = "text\tlabel\nred\t2\ngreen\t1\nblue\t0\n"
TEST = "text\nred\ngreen\nblue\n"
NER = "river\tB-LOC\nqueen\tB-PER\nthe\tO\n\n" * 8
SQUAD = {
  "version": "1.1",
  "data": [{
    "title": "t",
    "paragraphs": [{
      "context": "The river is wide and the queen is old.",
      "qas": [
        {"id": "a", "question": "What is wide?",
         "answers": [{"text": "The river", "answer_start": 0}]},
        {"id": "b", "question": "Who is old?",
         "answers": [{"text": "the queen", "answer_start": 22}]},
      ],
    }],
  }],
}  # fmt: skip


def contents(directory: pathlib.Path) -> dict[str, bytes]:
  return {
    str(path.relative_to(directory)): path.read_bytes()
    for path in sorted(directory.rglob("*"))
    if path.is_file()
  }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  root = tmp_path_factory.mktemp("data")
  for name, text in (
    ("classifier/train.tsv", TRAIN), ("classifier/test.tsv", TEST), ("other/train.tsv", OTHER),
    ("ner/train.txt", NER), ("ner/test.txt", NER), ("squad/squad.json", json.dumps(SQUAD)),
  ):  # fmt: skip
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
  return root


def flags_of(kind: str, golden, data, output_dir, **more):
  own = {
    "classifier": {"task_name": "table", "data_dir": f"{data}/classifier"},
    "ner": {"data_dir": f"{data}/ner"},
    "squad": {
      "train_file": f"{data}/squad/squad.json", "predict_file": f"{data}/squad/squad.json",
    },
  }[kind]  # fmt: skip
  return {
    "vocab_file": str(golden / "vocab.txt"),
    "bert_config_file": str(golden / "bert_config.json"),
    "output_dir": str(output_dir),
    "max_seq_length": 48,
    **own,
    **({"doc_stride": 16, "max_query_length": 12} if kind == "squad" else {}),
    **more,
  }


def train(kind, flags, steps=2, init_checkpoint=None, **more):
  run = getattr(fine_tuning_runs, kind)(**flags, do_train=True, init_checkpoint=init_checkpoint)
  options = TrainingOptions(
    flags["output_dir"], steps, 0, train_batch_size=2, init_checkpoint=init_checkpoint,
    keep_checkpoint_max=1, **more,
  )  # fmt: skip
  run.train(options, DeviceOptions())
  return run


KINDS = ("classifier", "ner", "squad")


@pytest.fixture(scope="module")
def trained(golden, data, tmp_path_factory):
  """Kind -> the output directory of a run of two steps; not to be changed."""
  root = tmp_path_factory.mktemp("trained")
  for kind in KINDS:
    train(kind, flags_of(kind, golden, data, root / kind))
  return root


@pytest.fixture
def copy(trained, tmp_path):
  """Copies a trained directory, for tests that try to change it."""
  return lambda kind: shutil.copytree(trained / kind, tmp_path / kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_all_that_belongs_to_its_weights(trained, kind):
  about = model_dir.describe(str(trained / kind))
  expected = {
    "classifier": ("classification", ("xerus", "yak", "zebra"), False),
    "ner": ("tokens", ("O", "B-LOC", "B-PER"), False),
    "squad": ("question_answering", (), True),
  }[kind]
  assert (about.head, about.labels, about.pairs) == expected
  assert about.max_seq_length == 48 and about.tokenizer.do_lower_case
  assert len(about.tokens) == 1200 and about.config.vocab_size == 1200
  if kind == "squad":
    assert about.settings == {
      "doc_stride": 16, "max_query_length": 12, "version_2_with_negative": False,
      "dynamic_padding": False,
      "n_best_size": 20, "max_answer_length": 30, "null_score_diff_threshold": 0.0,
    }  # fmt: skip
  assert not list((trained / kind).glob("label_map.json"))


def predict(kind, trained, golden, data, output_dir, **more):
  """Predicts from --init_checkpoint into a new directory, with nothing else named."""
  own = flags_of(kind, golden, data, output_dir)
  for name in ("vocab_file", "bert_config_file", "max_seq_length", "doc_stride"):
    own.pop(name, None)
  own.pop("max_query_length", None)
  run = getattr(fine_tuning_runs, kind)(
    **{**own, "init_checkpoint": str(trained / kind), "do_predict": True, **more}
  )
  run.predict(DeviceOptions())
  return run


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_from_a_checkpoint_need_no_more_than_a_test_file(
  kind, trained, golden, data, tmp_path
):
  """Labels, vocabulary, case, lengths and strides are those of the weights."""
  alone = shutil.copytree(data, tmp_path / "alone")
  for path in (alone / "classifier" / "train.tsv", alone / "ner" / "train.txt"):
    path.unlink()
  more = {"train_file": None} if kind == "squad" else {}
  run = predict(kind, trained, golden, alone, tmp_path / "out", **more)
  assert run.about.max_seq_length == 48
  if kind == "classifier":
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])["probabilities"]) == {"xerus", "yak", "zebra"}
  if kind == "squad":
    assert (run.data.doc_stride, run.data.max_query_length) == (16, 12)


def test_a_training_file_beside_the_test_file_names_no_labels(trained, golden, data, tmp_path):
  """Answers had the names of whatever lay in --data_dir."""
  other = shutil.copytree(data, tmp_path / "other")
  shutil.copy(data / "other" / "train.tsv", other / "classifier")
  run = predict("classifier", trained, golden, other, tmp_path / "out")
  assert run.about.labels == ("xerus", "yak", "zebra")


CONTRADICTIONS = [
  ("classifier", {"labels": ("zebra", "yak", "xerus")}, "the order zebra,yak,xerus, not xerus,yak"),
  ("classifier", {"labels": ("2", "1", "0")}, "2,1,0, not xerus,yak,zebra"),
  ("classifier", {"task_type": "multilabel"}, "expected `task_type=classification`, as"),
  ("ner", {"labels_file": "O\nB-PER\nB-LOC\n"}, "the order O,B-PER,B-LOC, not O,B-LOC,B-PER"),
  ("classifier", {"do_lower_case": False}, "expected `do_lower_case=True`, as tokenizer_config"),
  ("ner", {"vocab_file": "swapped"}, "in place of"),
  ("squad", {"vocab_file": "swapped"}, "in place of"),
  ("squad", {"weights": "classifier"}, "expected the task classification"),
  ("ner", {"weights": "squad"}, "expected the task question_answering"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "message"), CONTRADICTIONS)
def test_what_contradicts_the_weights_is_refused(
  kind, changes, message, trained, golden, data, tmp_path
):
  from bert_tf.tasks.classification.processors import TableOptions

  changes = dict(changes)
  if "labels" in changes:
    changes = {"table": TableOptions(labels=changes["labels"])}
  if "task_type" in changes:
    changes = {"table": TableOptions(task_type=changes["task_type"])}
  if "labels_file" in changes:
    (tmp_path / "labels").write_text(changes["labels_file"])
    changes = {"labels_file": str(tmp_path / "labels")}
  if "vocab_file" in changes:
    lines = (golden / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[200], lines[300] = lines[300], lines[200]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    changes = {"vocab_file": str(tmp_path / "vocab.txt")}
  if "weights" in changes:
    changes = {"init_checkpoint": str(trained / changes["weights"])}
  with pytest.raises(UserError) as error:
    predict(kind, trained, golden, data, tmp_path / "out", **changes)
  assert message in str(error.value)
  assert not (tmp_path / "out").exists()


def test_a_fresh_head_on_other_labels(trained, golden, data, tmp_path, caplog):
  """A training may have other labels than the checkpoint that it starts from, also as many."""
  flags = flags_of("classifier", golden, data, tmp_path / "out", data_dir=str(data / "other"))
  train("classifier", flags, init_checkpoint=str(trained / "classifier"))
  assert model_dir.describe(str(tmp_path / "out")).labels == ("0", "1", "2")
  assert "trained on xerus, yak, zebra, is where training on 0, 1, 2 starts from" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_skipped_start_leaves_every_byte(kind, copy, golden, data, caplog):
  directory = copy(kind)
  before = contents(directory)
  caplog.set_level("WARNING", logger="absl")
  train(kind, flags_of(kind, golden, data, directory), steps=2)
  assert "Skipping training" in caplog.text
  assert contents(directory) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"do_lower_case": False}, "`do_lower_case=True`"),
    ({"max_seq_length": 40}, "`max_seq_length=48` (now 40)"),
    ({"vocab_file": "swapped"}, "in place of"),
    ({"data": "changed"}, "train_data"),
  ],
  ids=["case", "length", "vocabulary", "data"],
)
def test_another_start_in_a_run_is_refused(kind, changes, message, copy, golden, data, tmp_path):
  directory = copy(kind)
  before = contents(directory)
  changes = dict(changes)
  if changes.pop("vocab_file", None):
    lines = (golden / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[200], lines[300] = lines[300], lines[200]
    (tmp_path / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    changes["vocab_file"] = str(tmp_path / "vocab.txt")
  if changes.pop("data", None):
    data = shutil.copytree(data, tmp_path / "changed")
    for name, text in (
      ("classifier/train.tsv", TRAIN.replace("car", "bus")), ("ner/train.txt", NER + "the\tO\n"),
      ("squad/squad.json", json.dumps(SQUAD).replace("wide", "deep")),
    ):  # fmt: skip
      (data / name).write_text(text, encoding="utf-8")
  with pytest.raises(UserError) as error:
    train(kind, {**flags_of(kind, golden, data, directory), **changes}, steps=4)
  assert message in str(error.value) and "\n" not in str(error.value)
  assert contents(directory) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_writes_nothing(kind, golden, data, tmp_path):
  train(kind, flags_of(kind, golden, data, tmp_path / "out"), dry_run=True)
  assert not list(tmp_path.iterdir())


def test_a_run_that_failed_before_its_first_step_binds_nobody(golden, data, tmp_path):
  """Its directory takes the mended command, also with other labels, lengths and rates."""
  import numpy as np

  from bert_tf.checkpoints import tf1

  reader = tf1.Reader(str(golden / "tiny_ckpt" / "bert_model.ckpt"))
  weights = {name: reader.read(name) for name in reader.shapes}
  weights["bert/pooler/dense/bias"] = np.full([32], np.nan, np.float32)
  (tmp_path / "nan").mkdir()
  tf1.write(str(tmp_path / "nan" / "bert_model.ckpt"), weights)
  flags = flags_of("classifier", golden, data, tmp_path / "out")
  with pytest.raises(UserError, match="expected a finite loss and gradient"):
    train("classifier", flags, init_checkpoint=str(tmp_path / "nan" / "bert_model.ckpt"))
  assert (tmp_path / "out" / "model.ckpt-0.index").exists()
  mended = {**flags, "data_dir": str(data / "other"), "max_seq_length": 40}
  train("classifier", mended, learning_rate=1e-4)
  about = model_dir.describe(str(tmp_path / "out"))
  assert (about.labels, about.max_seq_length) == (("0", "1", "2"), 40)


def test_raising_the_number_of_steps_goes_on(copy, golden, data, caplog):
  caplog.set_level("INFO", logger="absl")
  directory = copy("classifier")
  train("classifier", flags_of("classifier", golden, data, directory), steps=4)
  assert (directory / "model.ckpt-4.index").exists()
  assert "num_train_steps" in caplog.text


def test_a_result_does_not_replace_a_file_that_is_read(trained, golden, data, tmp_path):
  shutil.copy(data / "squad" / "squad.json", tmp_path / "predictions.json")
  (tmp_path / "link.json").symlink_to(tmp_path / "predictions.json")
  for name in ("predictions.json", "link.json"):
    with pytest.raises(UserError, match=r"`predict_file`.* would be overwritten"):
      predict("squad", trained, golden, data, tmp_path, predict_file=str(tmp_path / name))
  assert json.loads((tmp_path / "predictions.json").read_text()) == SQUAD
