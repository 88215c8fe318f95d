"""Scripts started as two workers on one machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest


def free_ports(count: int) -> list[int]:
  sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
  ports = [one.getsockname()[1] for one in sockets]
  for one in sockets:
    one.close()
  return ports


@pytest.mark.long
def test_two_workers_fine_tune_and_one_of_them_writes(root, golden, tmp_path):
  table = tmp_path / "train.tsv"
  rows = [f"the quick fox {i}\t{i % 2}" for i in range(12)]
  table.write_text("\n".join(["text\tlabel", *rows]) + "\n")
  ports = free_ports(2)
  workers = [f"localhost:{port}" for port in ports]
  processes = []
  for index in range(2):
    config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
    command = [
      sys.executable, str(root / "run_classifier.py"), "--task_name=table", "--do_train",
      "--do_eval", f"--data_dir={tmp_path}", f"--dev_file={table}",
      f"--bert_config_file={golden / 'bert_config.json'}", f"--vocab_file={golden / 'vocab.txt'}",
      f"--output_dir={tmp_path / 'out'}", "--max_seq_length=16", "--train_batch_size=4",
      "--num_train_epochs=1", "--log_steps=1", "--distribution_strategy=multi_worker_mirrored",
    ]  # fmt: skip
    environment = {**os.environ, "TF_CONFIG": json.dumps(config)}
    processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
  said = [process.communicate(timeout=240)[1] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], said
  assert "worker 1: step 3 of 3" in said[1]
  assert "eval_accuracy" in (tmp_path / "out" / "eval_results.txt").read_text()
  assert "Eval results" in said[0]
  assert "Eval results" not in said[1]
