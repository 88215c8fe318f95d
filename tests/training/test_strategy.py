"""One device, two replicas and two workers compute the same."""

from __future__ import annotations

import functools
import json
import pathlib

import numpy as np
import pytest
import shared_once
from runs import (
  GOLDEN,
  finish,
  free_ports,
  in_process,
  log_of,
  train,
  weights_of,
  write_records,
)

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
# Gradient norms are 3 to 5 here, so 1.0 clips every step. (test_step.py has clipping without
# accumulation on one device, with the original's numbers.)
CASES = {
  "plain": {"max_grad_norm": 0.0},
  "accumulated_and_clipped": {"max_grad_norm": 1.0, "gradient_accumulation_steps": 2},
  "pieces_of_tokens": {"tokens_per_batch": 64},
}


def train_cases(directory: str, strategy: str) -> None:
  """All cases in one process, as they share what it costs to start."""
  from bert_tf.training import strategy as strategies

  # Workers are connected at the start of a process, and once only.
  create = functools.cache(strategies.create_strategy)
  strategies.create_strategy = lambda devices, *unused: create(devices)
  init = str(GOLDEN / "tiny_ckpt" / "bert_model.ckpt")
  for name, options in CASES.items():
    options = {"init_checkpoint": init, "save_checkpoints_steps": 100, **options}
    train(f"{directory}/{name}", strategy, options, NO_DROPOUT)
  evaluated = {"init_checkpoint": init, "eval_steps": 5}
  files = sorted(map(str, pathlib.Path(directory).parent.glob("*.tfrecord")))
  train(f"{directory}/evaluated", strategy, evaluated, NO_DROPOUT, files)
  short = sorted(map(str, pathlib.Path(directory).parent.glob("short/*.tfrecord")))
  options = {"init_checkpoint": init, "train_batch_size": 16, "tokens_per_batch": 192}
  train(f"{directory}/packed", strategy, options, NO_DROPOUT, short, pack=True)


def tf_config(ports: list[int], index: int) -> dict[str, str]:
  workers = [f"localhost:{port}" for port in ports]
  task = {"type": "worker", "index": index}
  return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  return shared_once.directory_of(tmp_path_factory, "strategies", train_all)


def train_all(root: pathlib.Path) -> None:
  write_records(root, files=2)
  (root / "short").mkdir()
  write_records(root / "short", files=1, short=True)
  ports = free_ports(2)
  processes = [
    in_process(train_cases, str(root / "one_device"), "one_device"),
    *(
      in_process(
        train_cases,
        str(root / "multi_worker_mirrored"),
        "multi_worker_mirrored",
        environment=tf_config(ports, index),
      )
      for index in range(2)
    ),
  ]
  assert [finish(process, 240) for process in processes] == [0, 0, 0]
  assert finish(in_process(train_cases, str(root / "mirrored"), "mirrored"), 240) == 0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("strategy", ["mirrored", "multi_worker_mirrored"])
def test_same_weights_after_ten_steps(trained, strategy, case):
  check_same_weights(trained / strategy / case, trained / "one_device" / case)


def test_packed_rows_on_two_devices(trained):
  check_same_weights(trained / "mirrored" / "packed", trained / "one_device" / "packed")


def test_packed_rows_on_two_workers(trained):
  """Workers read other records than one device does, so the weights are others."""
  lines = (trained / "multi_worker_mirrored" / "packed" / "metrics.jsonl").read_text().splitlines()
  assert len(lines) == 10
  assert json.loads(lines[-1])["padding_ratio"] < 0.2


def check_same_weights(directory, reference) -> None:
  expected, found = weights_of(reference), weights_of(directory)
  assert found["global_step"] == 10
  for name, value in expected.items():
    if not name.startswith("bert_tf/"):
      # The true gradient of key biases is zero: Adam scales rounding noise.
      atol = 5e-5 if "key/bias" in name else 1e-5
      np.testing.assert_allclose(found[name], value, rtol=0, atol=atol, err_msg=name)


def test_clipping_does_something(trained):
  plain = weights_of(trained / "one_device" / "plain")
  clipped = weights_of(trained / "one_device" / "accumulated_and_clipped")
  name = "bert/embeddings/word_embeddings/adam_v"
  assert np.linalg.norm(plain[name]) > 5 * np.linalg.norm(clipped[name])


def test_the_log_tells_the_share_of_each_replica(trained):
  assert "2 replica(s), 2 of 4 examples of a batch each" in log_of(trained / "mirrored" / "plain")


def evaluations(directory) -> list[dict[str, float]]:
  lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
  return [line for line in lines if line["kind"] == "eval"]


def test_evaluation_while_training_on_two_devices(trained):
  expected = evaluations(trained / "one_device" / "evaluated")
  found = evaluations(trained / "mirrored" / "evaluated")
  assert [line["step"] for line in expected] == [5, 10]
  for one, two in zip(expected, found, strict=True):
    # The scores are of weights that agree to 1e-5, over some 1,000 predictions.
    assert two["loss"] == pytest.approx(one["loss"], abs=1e-4)
    assert two["masked_lm_accuracy"] == pytest.approx(one["masked_lm_accuracy"], abs=2e-3)
  assert (trained / "mirrored" / "evaluated" / "best" / "checkpoint").exists()


def test_evaluation_while_training_on_two_workers(trained):
  # Workers read other files than one device does, so the weights are others.
  [first, last] = evaluations(trained / "multi_worker_mirrored" / "evaluated")
  assert (first["step"], last["step"]) == (5, 10)
  assert 0 < last["loss"] < first["loss"] + 1
  assert (trained / "multi_worker_mirrored" / "evaluated" / "best" / "checkpoint").exists()


def test_pieces_of_a_model_with_large_gradients(tmp_path):
  # From about 200 MB on TensorFlow's memory optimizer rewrites a step: it must run twice.
  options = {"num_train_steps": 2, "gradient_accumulation_steps": 2, "steps_per_loop": 1}
  process = in_process(train, str(tmp_path), "one_device", options, {"vocab_size": 300_000})
  assert finish(process, 120) == 0, log_of(tmp_path)
