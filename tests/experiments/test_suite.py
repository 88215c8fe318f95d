"""Suites: what is planned for each task, the submission, and a small one from end to end."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import zipfile

import pytest

from bert_tf import UserError
from bert_tf.experiments import suite
from bert_tf.experiments.plan import Run
from bert_tf.tasks.benchmarks.clue import CLUE
from bert_tf.tasks.benchmarks.glue import GLUE


def glue(tmp_path, *names):
  """Empty of examples, but with all files of the tasks."""
  for name in names:
    for path in GLUE.task(name).paths(str(tmp_path)).values():
      pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
      pathlib.Path(path).write_text("index\n")
  return str(tmp_path)


def planned(tmp_path, *names, **options) -> dict[str, Run]:
  data = glue(tmp_path, *names)
  values = {"flags": ("--init_checkpoint=base", "--learning_rate=2e-5"), "tasks": names, **options}
  made = suite.Suite(suite.SuiteOptions(GLUE, data, "out", **values))
  return {run.name: run for run in made.runs}


def test_what_is_planned(tmp_path):
  runs = planned(tmp_path, "ax", "RTE", "mnli", "mnli-mm", seeds=2)
  assert list(runs) == [
    "rte.seed-12345", "rte.seed-12346", "mnli.seed-12345", "mnli.seed-12346",
    "mnli-mm.seed-12345", "mnli-mm.seed-12346",
  ]  # fmt: skip
  rte = runs["rte.seed-12346"]
  assert rte.flags == (
    "--task_name=rte", f"--data_dir={tmp_path}/RTE", "--keep_checkpoint_max=1",
    "--init_checkpoint=base", "--learning_rate=2e-5", "--do_train", "--do_eval", "--seed=12346",
  )  # fmt: skip
  assert (rte.group, rte.metrics, rte.needs) == ("rte", ("accuracy",), ())
  mismatched = runs["mnli-mm.seed-12346"]
  assert mismatched.needs == ("mnli.seed-12346",)
  assert "--do_train" not in mismatched.flags
  assert mismatched.flags[-1] == "--init_checkpoint=out/runs/mnli.seed-12346"


def test_a_dry_run_shows_commands_and_does_nothing(tmp_path, capsys):
  data = glue(tmp_path / "glue", "rte")
  words = ["suite", "glue", f"--data_dir={data}", f"--output_dir={tmp_path / 'out'}", "--tasks=rte"]
  shown = subprocess.run(
    [sys.executable, "-m", "bert_tf", *words, "--dry_run", "--learning_rate=2e-5"],
    capture_output=True, text=True, check=True,
  ).stdout  # fmt: skip
  assert shown.startswith("$ bert-tf run_classifier") and "--learning_rate=2e-05" in shown
  assert not (tmp_path / "out").exists()


WRONG_COMMANDS = [
  (["seeds", "run_classifier", "--task_name=rte", "--output_dir=x", "--do_train"], "--do_eval: ex"),
  (["seeds", "run_classifier", "--task_name=rte", "--output_dir=x", "--dry_run"], "--dry_run: exp"),
  (["seeds", "run_pretraining"], "expected a script of run_classifier, run_ner, run_squad"),
  (["seeds", "run_ner", "--seeds=0"], "--seeds: expected at least 1, found 0"),
  (["search", "run_ner", "--output_dir=x", "--do_train", "--do_eval"], "expected values to try"),
  (["search", "run_classifier", "--task_name=rte", "--output_dir=x", "--do_train", "--do_eval",
    "--values=learning_rat=1"], "expected a flag that can be searched, found 'learning_rat'"),
  (["search", "run_classifier", "--task_name=rte", "--output_dir=x", "--do_train", "--do_eval",
    "--values=train_batch_size=0,8"], "--train_batch_size: expected at least 1, found 0"),
  (["suite", "glue", "--data_dir=x"], "expected --output_dir, found none"),
  (["suite", "glue", "--data_dir=x", "--output_dir=y", "--do_eval"], "--do_eval: expected none"),
  (["suite", "glue", "--data_dir=x", "--output_dir=y", "--bad=1"], "Unknown command line flag"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), WRONG_COMMANDS)
def test_wrong_commands_are_one_line(tmp_path, words, message):
  result = subprocess.run(
    [sys.executable, "-m", "bert_tf", *words],
    capture_output=True, text=True, cwd=tmp_path, check=False,
  )  # fmt: skip
  assert result.returncode == 1
  assert result.stderr.startswith("error: ") and message in result.stderr
  assert len(result.stderr.splitlines()) == 1
  assert not list(tmp_path.iterdir())


def test_flags_of_a_task_give_way_to_the_users_own(tmp_path):
  csl = CLUE.task("csl")
  for path in csl.paths(str(tmp_path)).values():
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text("{}\n")
  options = suite.SuiteOptions(CLUE, str(tmp_path), "out", ("--learning_rate=2e-05",), ("csl",))
  (run,) = suite.Suite(options).runs
  assert csl.flags["train_batch_size"] == 4 and "--train_batch_size=4" in run.flags
  assert [word for word in run.flags if "learning_rate" in word] == ["--learning_rate=2e-05"]


def test_intermediate_weights_are_those_of_the_same_seed(tmp_path):
  runs = planned(tmp_path, "rte", "cola", "mnli", seeds=2, intermediate="mnli")
  assert next(iter(runs)) == "mnli.seed-12345"
  rte = runs["rte.seed-12346"]
  assert rte.needs == ("mnli.seed-12346",)
  assert [word for word in rte.flags if "init_checkpoint" in word] == [
    "--init_checkpoint=out/runs/mnli.seed-12346"
  ]
  assert not runs["cola.seed-12346"].needs


BAD = [
  ({"tasks": ("sst",)}, "`tasks`: expected some of cola, .*, found 'sst'"),
  ({"tasks": ("ax", "rte")}, "expected mnli with ax, which its model answers"),
  ({"tasks": ("rte",), "intermediate": "mnli"}, "`intermediate`: expected a task that is trained"),
  ({"tasks": ("rte", "wnli")}, r"3 files cannot be used: WNLI: .* leave out WNLI with `tasks`"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_what_cannot_be_done_is_refused(tmp_path, options, message):
  data = glue(tmp_path, "rte")
  with pytest.raises(UserError, match=message):
    suite.Suite(suite.SuiteOptions(GLUE, data, "out", (), **options))


def test_the_average_is_that_of_the_site():
  """MNLI's two sets are one task, and the diagnostic set counts for nothing."""
  means = {task.task_name: 0.5 for task in GLUE.tasks} | {"mnli": 0.9, "mnli-mm": 0.7, "ax": 0.0}
  assert suite.average_of(GLUE, means) == pytest.approx((8 * 0.5 + 0.8) / 9)
  assert suite.average_of(GLUE, {**means, "wnli": None}) is None


def submission(tmp_path):
  for task in GLUE.tasks:
    label = "3.000" if task.name == "STS-B" else task.submission._labels[0]
    lines = ["index\tprediction", *(f"{n}\t{label}" for n in range(task.submission.count))]
    (tmp_path / task.submission.file_name).write_text("\n".join(lines) + "\n")
  return str(tmp_path)


def test_a_submission_is_packed_only_if_the_site_would_take_it(tmp_path):
  directory = submission(tmp_path)
  assert suite.pack(GLUE, directory).endswith("complete, as its site takes it")
  archive = tmp_path / "submission.zip"
  assert sorted(zipfile.ZipFile(archive).namelist()) == sorted(
    task.submission.file_name for task in GLUE.tasks
  )
  assert suite.validate(GLUE, str(archive)) == []
  (tmp_path / "WNLI.tsv").rename(tmp_path / "wnli.tsv")
  archive.unlink()
  told = suite.pack(GLUE, directory)
  assert "expected WNLI.tsv, found none; expected none but" in told and "found wnli.tsv" in told
  assert not archive.exists()
  with pytest.raises(UserError, match="expected a directory or a zip"):
    suite.validate(GLUE, str(tmp_path / "none.zip"))


def write_data(directory):
  """RTE and STS-B of few words, and of rows enough to learn from."""
  for name, columns, values in (
    ("RTE", "index\tsentence1\tsentence2\tlabel", ("entailment", "not_entailment")),
    ("STS-B", "index\tsentence1\tsentence2\tscore", ("4.5", "0.5")),
  ):
    (directory / name).mkdir(parents=True)
    for split in ("train", "dev", "test"):
      header = columns if split != "test" else columns.rpartition("\t")[0]
      lines = [header]
      for n in range(16):
        row = [str(n), "the man", ("the man", "a dog")[n % 2], values[n % 2]]
        lines.append("\t".join(row if split != "test" else row[:-1]))
      (directory / name / f"{split}.tsv").write_text("\n".join(lines) + "\n")


@pytest.mark.long
def test_a_suite_from_end_to_end(golden, tmp_path):
  write_data(tmp_path / "glue")
  command = [
    sys.executable, "-m", "bert_tf", "suite", "glue", f"--data_dir={tmp_path / 'glue'}",
    f"--output_dir={tmp_path / 'out'}", "--tasks=rte,sts-b", "--seeds=2",
    f"--bert_config_file={golden / 'bert_config.json'}", f"--vocab_file={golden / 'vocab.txt'}",
    "--max_seq_length=16", "--train_batch_size=4", "--num_train_epochs=1",
  ]  # fmt: skip
  first = subprocess.run(command, capture_output=True, text=True, check=False)
  assert first.returncode == 0, first.stderr
  assert "no submission.zip, as its site would refuse it: expected CoLA.tsv" in first.stdout
  out = tmp_path / "out"
  rows = (out / "submission" / "RTE.tsv").read_text().splitlines()
  assert rows[0] == "index\tprediction" and len(rows) == 17
  assert {row.split("\t")[1] for row in rows[1:]} <= {"entailment", "not_entailment"}
  assert len((out / "submission" / "STS-B.tsv").read_text().splitlines()) == 17
  found = json.loads((out / "summary.json").read_text())
  assert list(found["rte"]["scores"]) == ["rte.seed-12345", "rte.seed-12346"]
  assert len(found["sts-b"]["expected_maximum"]) == 2 and found["average"] is None
  assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
  written = (out / "results.jsonl").read_text()
  second = subprocess.run(command, capture_output=True, text=True, check=True)
  assert (out / "results.jsonl").read_text() == written
  assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]


@pytest.mark.long
def test_seeds_of_a_script_and_the_best_exported(root, golden, tmp_path):
  write_data(tmp_path / "glue")
  command = [
    sys.executable, str(root / "run_classifier.py"), "--task_name=RTE", "--do_train", "--do_eval",
    f"--data_dir={tmp_path / 'glue' / 'RTE'}", f"--output_dir={tmp_path / 'out'}", "--seeds=2",
    f"--bert_config_file={golden / 'bert_config.json'}", f"--vocab_file={golden / 'vocab.txt'}",
    "--max_seq_length=16", "--train_batch_size=4", "--num_train_epochs=1", "--reinit_layers=1",
    f"--init_checkpoint={golden / 'tiny_heads_ckpt' / 'model.ckpt'}",
    f"--export_dir={tmp_path / 'export'}",
  ]  # fmt: skip
  result = subprocess.run(command, capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stderr
  lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
  scores = {line["name"]: line["score"] for line in map(json.loads, lines)}
  assert list(scores) == ["seed-12345", "seed-12346"]
  best = max(scores, key=scores.__getitem__)
  assert f"{best}, the best, is exported to" in result.stdout
  assert list((tmp_path / "export").rglob("saved_model.pb"))
  assert not list((tmp_path / "out" / "runs" / best).rglob("saved_model.pb"))
