"""The whole quickstart, small: interrupted while it pretrains, and started again."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import shared_once

from bert_tf.quickstart import plan
from bert_tf.quickstart.size import FAST

# Far more than it takes: a hang must not hold up the tests for ever.
_MOST_SECONDS = 600


@pytest.fixture(scope="module")
def quickstart(root, tmp_path_factory):
  """(output directory, output of the interrupted start, output of the second start)."""

  def make(directory: pathlib.Path) -> None:
    texts = run_twice(root, directory / "out")
    (directory / "output.json").write_text(json.dumps(texts))

  directory = shared_once.directory_of(tmp_path_factory, "quickstart", make)
  return directory / "out", *json.loads((directory / "output.json").read_text())


def run_twice(root, output_dir) -> tuple[str, str]:
  command = [sys.executable, "-m", "bert_tf", "quickstart", "--fast", f"--output_dir={output_dir}"]
  interrupted = _interrupt_pretraining(command, root, output_dir)
  finished = subprocess.run(
    command, cwd=root, text=True, capture_output=True, timeout=_MOST_SECONDS
  )
  assert finished.returncode == 0, finished.stdout + finished.stderr
  return interrupted, finished.stdout + finished.stderr


def _interrupt_pretraining(command, root, output_dir) -> str:
  """Sends Ctrl-C once the first losses have been logged."""
  process = subprocess.Popen(
    command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
  )
  metrics = output_dir / "pretraining" / "metrics.jsonl"
  try:
    deadline = time.monotonic() + _MOST_SECONDS
    while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None:
      assert time.monotonic() < deadline
      time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=_MOST_SECONDS)
  finally:
    process.kill()
  assert process.returncode == 130, output
  return output


def test_ctrl_c_says_how_to_go_on(quickstart):
  _, interrupted, _ = quickstart
  assert "stopped: start the same command again to go on from here" in interrupted
  assert "Traceback" not in interrupted
  assert "Fine-tune" not in interrupted


def test_goes_on_where_it_was(quickstart):
  output_dir, _, output = quickstart
  for title in ("Collect English text", "Learn a WordPiece", "Create pretraining data"):
    assert f"{title}" in output
  assert output.count("done before") == 4
  steps = [
    line["step"] for line in _json_lines(output_dir / "pretraining" / "metrics.jsonl")
    if line["kind"] == "train"
  ]  # fmt: skip
  assert steps == sorted(set(steps)) and steps[-1] == FAST.num_train_steps


def test_prints_every_command_line(quickstart):
  _, _, output = quickstart
  for program in (
    "bert_tf pretrain ", "bert_tf classify ", "bert_tf export ", "classify.py", "fill-mask",
  ):  # fmt: skip
    assert any(line.startswith("$ ") and program in line for line in output.splitlines()), program


def test_everything_is_there(quickstart):
  output_dir, _, output = quickstart
  assert (output_dir / "curves.png").read_bytes().startswith(b"\x89PNG")
  assert (output_dir / "summary.txt").read_text() in output
  for run in ("pretraining", "classifier_pretrained", "classifier_random"):
    assert list((output_dir / run).glob("events.out.tfevents.*")), run
  assert (output_dir / "export" / "area" / "1" / "saved_model.pb").exists()


def test_the_export_answers_every_sentence_with_an_area(quickstart):
  output_dir, _, _ = quickstart
  labels = (output_dir / "task" / "labels.txt").read_text().splitlines()
  answers = _json_lines(output_dir / "answers" / "areas.jsonl")
  assert [answer["text"] for answer in answers] == list(plan.UNSEEN_SENTENCES)
  assert all(answer["label"] in labels for answer in answers)
  assert all(1 / len(labels) <= answer["probability"] <= 1 for answer in answers)


def test_the_sentences_are_in_no_document(quickstart):
  output_dir, _, _ = quickstart
  text = "".join((output_dir / "text" / f"{n}.txt").read_text() for n in ("train", "held_out"))
  assert len(text) > 1_500_000
  for sentence in plan.UNSEEN_SENTENCES:
    assert sentence not in text


def test_masks_are_filled(quickstart):
  output_dir, _, _ = quickstart
  answers = _json_lines(output_dir / "answers" / "masks.jsonl")
  assert [answer["text"] for answer in answers] == list(plan.MASKED_SENTENCES)
  for answer in answers:
    assert "[MASK]" not in answer["filled"]
    assert [len(mask) for mask in answer["masks"]] == [3]


def test_a_third_start_does_nothing_again(quickstart, root):
  output_dir, _, _ = quickstart
  before = os.stat(output_dir / "classifier_random" / "eval_results.txt")
  output = subprocess.run(
    [sys.executable, "-m", "bert_tf", "quickstart", "--fast", f"--output_dir={output_dir}"],
    cwd=root,
    text=True,
    capture_output=True,
    timeout=_MOST_SECONDS,
    check=True,
  ).stdout
  assert output.count("done before") == 10
  assert "$ " not in output
  assert os.stat(output_dir / "classifier_random" / "eval_results.txt") == before


def _json_lines(path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]
