"""The driver does every run once: through failures, other flags, signals and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bert_tf import UserError
from bert_tf.experiments.driver import Driver
from bert_tf.experiments.plan import FAILED, FINISHED, Run
from bert_tf.experiments.seeds import runs_of

# A script in little: it counts steps in its output directory, saves when it is asked to end, goes
# on from there, and leaves a score.
SCRIPT = """
import json, os, pathlib, signal, sys, time
flags = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
out = pathlib.Path(flags["output_dir"])
out.mkdir(parents=True, exist_ok=True)
def stop(number, frame):
  sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
(out / "starts").open("a").write("x")
if "fail" in flags and not pathlib.Path(flags["fail"]).exists():
  print("Traceback of something")
  print("error: expected " + flags["fail"] + ", found nothing", file=sys.stderr)
  sys.exit(1)
if "wait_for" in flags:
  while not pathlib.Path(flags["wait_for"]).exists():
    time.sleep(0.01)
(out / "started").write_text(" ".join(sys.argv[1:]))
step = out / "step"
while len(step.read_text() if step.exists() else "") < int(flags.get("steps", 1)):
  time.sleep(float(flags.get("seconds", 0)))
  step.open("a").write("x")
score = float(flags.get("score", 0.75))
json.dump({"accuracy": score, "per_label": {"a": {"support": 3}, "b": {"support": 1}}},
          (out / "eval_metrics.json").open("w"))
(out / "done").open("a").write("x")
"""


@pytest.fixture
def script(tmp_path) -> str:
  path = tmp_path / "script.py"
  path.write_text(SCRIPT)
  return str(path)


def run(script, name, *flags, **more) -> Run:
  return Run(name, script, flags, name, **more)


def do(tmp_path, runs, workers=1):
  with Driver(str(tmp_path / "out"), workers) as driver:
    return driver.do(runs)


def times_done(tmp_path, name) -> int:
  return len((tmp_path / "out" / "runs" / name / "done").read_text())


def test_every_run_is_done_once_and_scored(script, tmp_path, capfd):
  runs = runs_of(script, ["--score=0.9", "--seed=7"], 3)
  results = do(tmp_path, runs)
  assert [result.name for result in results] == ["seed-7", "seed-8", "seed-9"]
  assert {result.status for result in results} == {FINISHED}
  assert [result.score for result in results] == [0.9] * 3
  assert results[0].baseline == 0.75 and not results[0].learnt_nothing
  assert results[0].seconds > 0 and results[0].peak_bytes > 1e6 and results[0].driver_bytes > 1e6
  out = tmp_path / "out"
  started = (out / "runs" / "seed-8" / "started").read_text().split()
  assert started == ["--score=0.9", "--seed=8", f"--output_dir={out}/runs/seed-8"]
  lines = [json.loads(line) for line in (out / "plan.jsonl").read_text().splitlines()]
  assert [line["seed"] for line in lines] == [7, 8, 9]
  assert do(tmp_path, runs_of(script, ["--score=0.9", "--seed=7"], 4))[:3] == results
  assert [times_done(tmp_path, f"seed-{n}") for n in (7, 8, 9, 10)] == [1, 1, 1, 1]
  assert "seed-10: 0.9000 in" in capfd.readouterr().out


def test_a_majority_classifier_is_named(script, tmp_path, capfd):
  (result,) = do(tmp_path, [run(script, "a", "--score=0.75")])
  assert result.learnt_nothing
  assert "no better than always the same answer, 0.7500" in capfd.readouterr().out


def test_other_flags_are_refused_once_a_run_is_done(script, tmp_path):
  do(tmp_path, [run(script, "a", "--score=0.5")])
  with pytest.raises(UserError, match=r"results of a with other flags, --score=0.5 in the"):
    do(tmp_path, [run(script, "a", "--score=0.6")])
  assert times_done(tmp_path, "a") == 1


def test_a_script_may_be_named_from_elsewhere(script, tmp_path, monkeypatch):
  (first,) = do(tmp_path, [run(script, "a")])
  monkeypatch.chdir(tmp_path)
  assert do(tmp_path, [run("script.py", "a")]) == [first]
  assert times_done(tmp_path, "a") == 1


def test_a_failed_run_stops_only_what_needs_it_and_is_tried_again(script, tmp_path):
  needed = tmp_path / "needed"
  runs = [
    run(script, "a"),
    run(script, "b", f"--fail={needed}"),
    run(script, "c", needs=("b",)),
    run(script, "d", needs=("a",)),
  ]
  results = do(tmp_path, runs)
  assert [(r.name, r.status) for r in results] == [("a", FINISHED), ("b", FAILED), ("d", FINISHED)]
  assert results[1].error == f"expected {needed}, found nothing"
  needed.write_text("")
  assert {r.status for r in do(tmp_path, runs)} == {FINISHED}
  assert [times_done(tmp_path, name) for name in "abcd"] == [1, 1, 1, 1]


def test_the_first_run_of_all_says_what_is_wrong_with_them(script, tmp_path):
  runs = [run(script, name, "--fail=/nothing/there") for name in "abc"]
  with pytest.raises(UserError, match=r"a, the first of the runs, failed: expected /nothing/there"):
    do(tmp_path, runs)
  assert not (tmp_path / "out" / "runs" / "b").exists()


def test_a_run_without_scores_is_a_failure_that_says_so(script, tmp_path):
  with pytest.raises(UserError, match="`metric`: expected 'f1' among the scores, found accuracy"):
    do(tmp_path, [run(script, "a", metrics=("f1",))])


def test_workers_work_at_the_same_time(script, tmp_path):
  """The first waits for the second, which one worker would start after it."""
  second = tmp_path / "out" / "runs" / "b" / "started"
  runs = [run(script, "a", f"--wait_for={second}"), run(script, "b")]
  assert len(do(tmp_path, runs, workers=2)) == 2


def start(tmp_path, script, steps, seconds, seeds) -> subprocess.Popen:
  code = f"""
from bert_tf import script as scripts
from bert_tf.experiments.driver import Driver
from bert_tf.experiments.seeds import runs_of
def main():
  with Driver({str(tmp_path / "out")!r}) as driver:
    driver.do(runs_of({script!r}, ["--steps={steps}", "--seconds={seconds}"], {seeds}))
scripts.call(main)
"""
  return subprocess.Popen(
    [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )


def test_a_signal_reaches_the_run_and_the_next_start_goes_on(script, tmp_path):
  process = start(tmp_path, script, steps=50, seconds=0.05, seeds=1)
  step = tmp_path / "out" / "runs" / "seed-12345" / "step"
  while not step.exists() or not step.read_text():
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  _, err = process.communicate(timeout=30)
  assert process.returncode == 128 + signal.SIGTERM, err
  assert "stopped: start the same command again" in err
  reached = len(step.read_text())
  assert 0 < reached < 50
  assert not (tmp_path / "out" / "results.jsonl").exists()
  (result,) = do(tmp_path, runs_of(script, ["--steps=50", "--seconds=0.05"], 1))
  assert result.status == FINISHED and result.seconds < 0.05 * (50 - reached) + 2
  assert len((step.parent / "starts").read_text()) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_killed_again_and_again_every_run_is_finished_once(script, tmp_path):
  kills = 0
  for _ in range(100):
    process = start(tmp_path, script, steps=4, seconds=0.1, seeds=4)
    try:
      process.wait(timeout=0.9)
    except subprocess.TimeoutExpired:
      process.kill()
      kills += 1
    _, err = process.communicate()
    if process.returncode == 0:
      break
    # The run of the start before may not have ended yet; it holds the lock until it has.
    assert process.returncode == -signal.SIGKILL or "is at work in" in err
  assert process.returncode == 0 and kills >= 1
  steps = [tmp_path / "out" / "runs" / f"seed-{12345 + n}" / "step" for n in range(4)]
  assert [path.read_text() for path in steps] == ["xxxx"] * 4
  lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
  assert [json.loads(line)["status"] for line in lines] == [FINISHED] * 4


def test_two_drivers_do_not_share_a_directory(tmp_path):
  with Driver(str(tmp_path)), pytest.raises(UserError, match=rf"pid {os.getpid()}\) is at work"):
    Driver(str(tmp_path)).__enter__()


def test_damaged_results_are_one_line(tmp_path):
  (tmp_path / "results.jsonl").write_text('{"name": "a"}\n')
  with pytest.raises(UserError, match=r"results\.jsonl: expected a run a line"):
    Driver(str(tmp_path)).__enter__()
