"""Workers that do not belong together find out within seconds, each of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from runs import finish, free_ports, in_process, log_of, train, write_records
from test_strategy import tf_config

from bert_tf.errors import UserError
from bert_tf.training import rendezvous
from bert_tf.training.cluster import Cluster


def local_cluster(index: int, ports: list[int]) -> Cluster:
  return Cluster(tuple(f"localhost:{port}" for port in ports), index)


def meet_all(calls: list) -> list:
  """Runs every call in a thread; returns what each raised, or None."""
  ended: list = [None] * len(calls)

  def run(number: int) -> None:
    try:
      calls[number]()
    except Exception as error:
      ended[number] = error

  threads = [threading.Thread(target=run, args=[number]) for number in range(len(calls))]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(60)
    assert not thread.is_alive()
  return ended


def workers(count: int, timeout: float = 20, settings=None, output_dirs=None, late=()) -> list:
  """What `count` workers raised that met; `settings` are of each of them."""
  ports = free_ports(count)

  def come(index: int) -> None:
    time.sleep(0.5 if index in late else 0)
    own = settings[index] if settings else {"seed": 1}
    directory = output_dirs[index] if output_dirs else None
    rendezvous.meet(local_cluster(index, ports), timeout, own, directory)

  return meet_all([lambda index=index: come(index) for index in range(count)])


@pytest.mark.parametrize("late", [(), (0,), (1,), (0, 2)])
def test_workers_find_each_other_whoever_comes_first(late, tmp_path):
  assert workers(3, late=late, output_dirs=[str(tmp_path / "out")] * 3) == [None] * 3
  assert not list((tmp_path / "out").iterdir())


def test_a_worker_that_never_comes_is_named():
  ports = free_ports(3)
  calls = [lambda i=i: rendezvous.meet(local_cluster(i, ports), 1.0 + i) for i in range(2)]
  for error in meet_all(calls):
    message = f"within 1 s (`worker_timeout`), found nothing at localhost:{ports[2]}"
    assert message in str(error)


def test_a_chief_that_never_comes_is_named():
  ports = free_ports(2)
  message = rf"worker 0 at localhost:{ports[0]} within 0.5 s .* found nothing there"
  with pytest.raises(UserError, match=message):
    rendezvous.meet(local_cluster(1, ports), 0.5)


def test_a_port_in_use_is_named():
  with socket.create_server(("localhost", 0)) as server:
    port = server.getsockname()[1]
    with pytest.raises(UserError, match=f"expected the free port {port} for this worker"):
      rendezvous.meet(local_cluster(0, [port, *free_ports(1)]), 5)


def test_another_program_at_the_address_of_the_chief_is_no_worker():
  with socket.create_server(("localhost", 0)) as server:
    ports = [server.getsockname()[1], *free_ports(1)]
    with pytest.raises(UserError, match="found another program, or a worker that is busy, there"):
      rendezvous.meet(local_cluster(1, ports), 0.5)


def test_a_stranger_at_the_chief_is_not_counted():
  ports = free_ports(2)

  def stranger() -> None:
    time.sleep(0.3)
    with socket.create_connection(("localhost", ports[0])) as connection:
      connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
      connection.recv(1)

  def come(index: int) -> None:
    time.sleep(index)
    rendezvous.meet(local_cluster(index, ports), 20)

  assert meet_all([stranger, lambda: come(0), lambda: come(1)]) == [None] * 3


@pytest.mark.parametrize(
  ("other", "message"),
  [
    ({"learning_rate": 2.0}, "`learning_rate=1.0` (on worker 2 2.0)"),
    ({"input_data": [["a", 1, "x"], ["c", 2, "z"]]}, "first b 2 y (on worker 2 c 2 z)"),
    ({"vocabulary": "f00"}, "`vocabulary` on one of them only"),
  ],
)
def test_other_settings_are_named_on_every_worker(other, message):
  settings = {"learning_rate": 1.0, "seed": 3, "input_data": [["a", 1, "x"], ["b", 2, "y"]]}
  errors = workers(3, settings=[settings, settings, {**settings, **other}])
  assert all(message in str(error) for error in errors), errors
  assert len({str(error) for error in errors}) == 1


def test_two_ideas_of_the_cluster(tmp_path):
  ports = free_ports(3)
  calls = [
    lambda: rendezvous.meet(local_cluster(0, ports), 20),
    lambda: rendezvous.meet(local_cluster(1, ports[:2]), 20),
  ]
  for error in meet_all(calls):
    assert "expected one idea of the cluster, found 3 workers" in str(error)


def test_directories_of_their_own(tmp_path):
  directories = [str(tmp_path / name) for name in "aab"]
  (tmp_path / "b").mkdir()
  errors = workers(3, output_dirs=directories)
  assert all("worker 2 does not see what worker 0 writes" in str(error) for error in errors), errors
  assert not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize("failed", [0, 1])
def test_an_error_of_one_worker_is_known_to_the_others_at_once(failed):
  ports = free_ports(3)

  def come(index: int) -> None:
    if index == failed:
      rendezvous.tell_failure(local_cluster(index, ports), UserError("no vocabulary"), 20)
    else:
      rendezvous.meet(local_cluster(index, ports), 60)

  start = time.monotonic()
  rendezvous._met = False  # As in a process that has just started.
  ended = meet_all([lambda index=index: come(index) for index in range(3)])
  assert time.monotonic() - start < 20
  message = f"worker {failed} (localhost:{ports[failed]}) ended by an error of its own: no vocab"
  assert [message in str(error) for error in ended] == [index != failed for index in range(3)]


def test_a_worker_that_is_started_again_is_taken_in():
  ports = free_ports(2)
  gone = {"greeting": rendezvous._GREETING, "index": 1, "workers": ["x"], "settings": {}}
  gone["workers"] = [f"localhost:{port}" for port in ports]

  def come_twice() -> None:
    time.sleep(0.3)
    with socket.create_connection(("localhost", ports[0])) as connection:
      connection.sendall(json.dumps(gone).encode())  # Killed in the middle of its line.
    rendezvous.meet(local_cluster(1, ports), 20)

  assert meet_all([lambda: rendezvous.meet(local_cluster(0, ports), 20), come_twice]) == [None] * 2


def test_a_process_that_hangs_with_the_lock_of_python_is_ended():
  code = """
import ctypes, sys
from bert_tf.training import watchdog
with watchdog.time_limit(1, "nothing"):
  ctypes.PyDLL(None).sleep(60)
"""
  start = time.monotonic()
  ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
  assert ended.returncode == -signal.SIGKILL
  assert ended.stderr == "error: waited 1 s for nothing; start all workers again\n"
  assert time.monotonic() - start < 20


def test_a_watch_ends_with_its_process():
  code = """
import os
from bert_tf.training import watchdog
with watchdog.time_limit(600, "nothing"): pass
with watchdog.time_limit(600, "nothing"): os._exit(3)
"""
  start = time.monotonic()
  # Its standard error is open as long as the watch is there.
  ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=60)
  assert ended.returncode == 3
  assert time.monotonic() - start < 20


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
  return write_records(tmp_path_factory.mktemp("records"), files=2)


def train_two(tmp_path, options, files, own_directories=False) -> list:
  """Starts two workers; `options` and `files` are of each of them."""
  ports = free_ports(2)
  return [
    in_process(
      train,
      str(tmp_path / (f"out{index}" if own_directories else "out")),
      "multi_worker_mirrored",
      options[index],
      files=files[index],
      environment=tf_config(ports, index),
    )
    for index in range(2)
  ]


def test_workers_with_other_rates_do_not_train(tmp_path, files):
  processes = train_two(tmp_path, [{}, {"learning_rate": 1.0}], [files] * 2)
  assert [finish(process, 60) for process in processes] == [1, 1]
  message = "found on worker 0 --learning_rate=0.001 (on worker 1 1.0)"
  assert log_of(tmp_path / "out").count(message) == 2
  assert not list((tmp_path / "out").glob("model.ckpt*"))


def test_fewer_records_than_workers_are_refused(tmp_path):
  from bert_tf.data import records

  one = tmp_path / "one.tfrecord"
  with records.RecordWriter(one) as writer:
    writer.write(next(iter(records.read_records(write_records(tmp_path)[0]))))
  with records.RecordWriter(tmp_path / "empty.tfrecord"):
    pass
  both = [str(one), str(tmp_path / "empty.tfrecord")]
  for dry_run in (True, False):
    processes = train_two(tmp_path, [{"dry_run": dry_run}] * 2, [both] * 2)
    assert [finish(process, 60) for process in processes] == [1, 1]
  assert log_of(tmp_path / "out").count("for each of 2 worker(s) at least, found fewer") == 4


def test_the_script_of_a_failed_worker_tells_the_others(root, golden, tmp_path, files):
  """Here worker 1 has no vocabulary; worker 0 knows it before TensorFlow is connected."""
  ports = free_ports(2)
  (tmp_path / "vocab.txt").write_text((golden / "vocab.txt").read_text())

  def start(index: int, vocabulary: str) -> subprocess.Popen:
    command = [
      sys.executable, str(root / "run_pretraining.py"), "--do_train", f"--input_file={files[0]}",
      f"--bert_config_file={golden}/bert_config.json", f"--output_dir={tmp_path}/out",
      "--max_seq_length=64", "--max_predictions_per_seq=10", f"--vocab_file={vocabulary}",
      "--distribution_strategy=multi_worker_mirrored",
    ]  # fmt: skip
    environment = {**os.environ, **tf_config(ports, index)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)

  processes = [start(0, f"{tmp_path}/vocab.txt"), start(1, f"{tmp_path}/nothing.txt")]
  said = [process.communicate(timeout=120)[1] for process in processes]
  assert [process.returncode for process in processes] == [1, 1]
  assert f"worker 1 (localhost:{ports[1]}) ended by an error of its own: " in said[0]
  assert "nothing.txt" in said[0]
