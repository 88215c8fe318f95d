from __future__ import annotations

import importlib.util
import io
import json
import logging
import sys
import time

import pytest

from bert_tf.errors import UserError
from bert_tf.training.progress import Progress

LOOP = {
  "loss": 2.0,
  "masked_lm_loss": 1.5,
  "examples": 8.0,
  "tokens": 60.0,
  "positions": 80.0,
  "updates": 2.0,
  "learning_rate": 1e-4,
  "gradient_norm": 3.0,
  "last_loss": 2.5,
  "halted": False,
}


def lines(directory) -> list[dict]:
  return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_loops_are_joined_into_records(tmp_path, caplog):
  progress = Progress(str(tmp_path), 10, 100, log_steps=4)
  with caplog.at_level(logging.INFO, "absl"):
    progress.update(12, LOOP)
    assert not caplog.records
    time.sleep(0.05)
    progress.update(14, {**LOOP, "loss": 4.0, "updates": 1.0, "learning_rate": 5e-5})
  progress.close()
  [record] = lines(tmp_path)
  assert record["kind"] == "train"
  assert record["step"] == 14
  # Two updates with 2.0 and one with 4.0; one batch of four was left out.
  assert record["loss"] == pytest.approx(8 / 3)
  assert record["skipped_steps"] == 1
  assert record["learning_rate"] == 5e-5
  assert record["padding_ratio"] == pytest.approx(0.25)
  assert record["tokens_per_second"] / record["examples_per_second"] == pytest.approx(7.5)
  assert 0 < record["examples_per_second"] < 16 / 0.05
  assert record["memory_gb"] > 0.05
  [line] = [record.getMessage() for record in caplog.records]
  assert line.startswith("step 14 of 100, loss 2.6667, learning rate 5e-05, ")
  assert " tokens/s, " in line
  assert line.endswith(" left")
  assert list(tmp_path.glob("events.out.tfevents.*"))


def test_lines_of_steps_that_will_be_done_again_are_removed(tmp_path, caplog):
  path = tmp_path / "metrics.jsonl"
  path.write_text("".join(f'{{"step": {step}, "kind": "train"}}\n' for step in (5, 10, 15, 20))
                  + '{"step": 25, "ki')  # fmt: skip
  Progress(str(tmp_path), 10, 100, 5).close()
  assert [line["step"] for line in lines(tmp_path)] == [5, 10]
  assert "was not written to its end" in caplog.text


def test_numbers_that_json_does_not_know(tmp_path):
  progress = Progress(str(tmp_path), 0, 10, 5)
  progress.write("eval", 1, {"loss": float("nan"), "accuracy": 0.5})
  progress.close()
  [record] = lines(tmp_path)
  assert record["loss"] is None
  assert record["accuracy"] == 0.5


def test_a_bar_on_a_terminal(tmp_path, monkeypatch, caplog):
  class Terminal(io.StringIO):
    def isatty(self) -> bool:
      return True

  terminal = Terminal()
  monkeypatch.setattr(sys, "stderr", terminal)
  progress = Progress(str(tmp_path), 0, 100, 2)
  with caplog.at_level(logging.INFO, "absl"):
    progress.update(2, LOOP)
  progress.close()
  shown = terminal.getvalue()
  assert "2/100" in shown
  assert "loss 2.0000, learning rate 0.0001" in shown
  assert not caplog.records


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_a_missing_extra_is_named(tmp_path):
  with pytest.raises(UserError, match=r"pip install bert_tf\[wandb\]"):
    Progress(str(tmp_path), 0, 10, 5, wandb_project="bert")
