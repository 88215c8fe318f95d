"""Benchmarks: what GLUE's site takes, official scores, and what is said of its files."""

from __future__ import annotations

import json

import pytest

from bert_tf import UserError
from bert_tf.tasks.benchmarks import data_check, registry
from bert_tf.tasks.benchmarks.glue import GLUE
from bert_tf.tasks.classification.processors import PROCESSORS

# https://gluebenchmark.com/faq: the names of the eleven files.
FILES = {
  "AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "MNLI-mm.tsv", "MRPC.tsv", "QNLI.tsv", "QQP.tsv", "RTE.tsv",
  "SST-2.tsv", "STS-B.tsv", "WNLI.tsv",
}  # fmt: skip


def predictions(tmp_path, lines):
  path = tmp_path / "predictions.jsonl"
  path.write_text("".join(json.dumps(line) + "\n" for line in lines))
  return str(path)


def test_glue_has_eleven_files_and_every_task_is_known():
  assert {task.submission.file_name for task in GLUE.tasks} == FILES
  assert {task.task_name for task in GLUE.tasks} <= PROCESSORS.keys()
  assert registry.find("glue") is GLUE
  with pytest.raises(UserError, match="expected one of glue"):
    registry.find("blue")
  averaged = [name for group in GLUE.averages for name in group]
  assert sorted([*averaged, "AX"]) == sorted(task.name for task in GLUE.tasks)


def test_labels_are_written_as_words_after_a_header(tmp_path):
  submission = GLUE.task("rte").submission
  path = tmp_path / "RTE.tsv"
  labels = ["entailment", "not_entailment", "entailment"]
  assert submission.write(predictions(tmp_path, [{"id": "x", "label": w} for w in labels]), path)
  assert path.read_text() == (
    "index\tprediction\n0\tentailment\n1\tnot_entailment\n2\tentailment\n"
  )


def test_similarities_are_clipped_and_have_three_decimals(tmp_path):
  submission = GLUE.task("sts-b").submission
  path = tmp_path / "STS-B.tsv"
  values = [-0.2, 5.31, 2.34567, 4.9996, -0.0001]
  submission.write(predictions(tmp_path, [{"id": "x", "value": v} for v in values]), path)
  assert path.read_text().split("\n")[1:-1] == [
    "0\t0.000", "1\t5.000", "2\t2.346", "3\t5.000", "4\t0.000"
  ]  # fmt: skip


WRONG = [
  ("rte", "index,prediction\n", "line 1: expected 'index<TAB>prediction'"),
  ("rte", "index\tprediction\n1\tentailment\n", "line 2: expected 0 and a prediction"),
  ("rte", "index\tprediction\n0\t1\n", "line 2: expected entailment or not_entailment, found '1'"),
  ("mnli", "index\tprediction\n0\tNeutral\n", "expected contradiction or entailment or neutral"),
  ("sts-b", "index\tprediction\n0\t5.001\n", "expected a number from 0 to 5 with three decimals"),
  ("sts-b", "index\tprediction\n0\t1.23456\n", "expected a number from 0 to 5"),
  ("sts-b", "index\tprediction\n0\tnan\n", "expected a number from 0 to 5"),
  ("wnli", "index\tprediction\n0\t1\n", "expected 146 predictions, one for .* found 1"),
]


@pytest.mark.parametrize(("name", "text", "message"), WRONG)
def test_what_the_site_refuses_is_refused_here(tmp_path, name, text, message):
  path = tmp_path / "x.tsv"
  path.write_text(text)
  with pytest.raises(UserError, match=message):
    GLUE.task(name).submission.check(str(path))


def test_official_scores():
  assert GLUE.task("MRPC").score({"accuracy": 0.5, "f1": 0.7, "matthews": 9.0}) == 0.6
  assert GLUE.task("cola").score({"accuracy": 0.5, "matthews": 0.25}) == 0.25
  with pytest.raises(UserError, match="expected the score 'spearman' among those of its run"):
    GLUE.task("sts-b").score({"pearson": 0.5})
  with pytest.raises(UserError, match="found nan"):
    GLUE.task("rte").score({"accuracy": float("nan")})


def test_files_that_are_missing_or_not_the_official_ones(tmp_path):
  rte = tmp_path / "RTE"
  rte.mkdir()
  (rte / "train.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
  (rte / "dev.tsv").write_bytes(b"index\xff\n")
  reports = data_check.check([GLUE.task("rte"), GLUE.task("mnli-mm")], str(tmp_path))
  assert [report.split for report in reports] == ["train", "dev", "test", "dev", "test"]
  assert reports[0].problem is None
  assert "2 lines, where the official file has 2,490 examples" in reports[0].note
  found = data_check.problems(reports)
  assert "expected UTF-8" in found[0]
  assert "test.tsv, found nothing" in found[1]
  assert len(found) == 4
  with pytest.raises(UserError, match="`data_dir`: expected a directory"):
    data_check.check(GLUE.tasks, str(tmp_path / "none"))


def test_official_files_have_nothing_to_complain_of(real_data):
  tasks = [GLUE.task(name) for name in ("CoLA", "MRPC", "RTE", "SST-2", "STS-B")]
  reports = data_check.check(tasks, str(real_data / "glue"))
  assert len(reports) == 15
  assert not [report for report in reports if report.problem or report.note]
