from __future__ import annotations

import contextlib
import gzip
import os
import resource
import signal
import stat
import subprocess
import sys

import pytest

from bert_tf import UserError
from bert_tf.files import (
  atomic_writer,
  existing_file,
  not_utf8,
  refuse_overwriting,
  scratch_directory,
  sweep_scratch,
)


@contextlib.contextmanager
def room_for(num_bytes: int):
  """No file may grow beyond this, as on a disk that is full."""
  old = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, old[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_file_is_complete_or_absent(tmp_path):
  path = tmp_path / "deep" / "result.txt"
  with pytest.raises(RuntimeError), atomic_writer(path) as file:
    file.write("half")
    raise RuntimeError
  assert os.listdir(path.parent) == []
  with atomic_writer(path) as file:
    file.write("whole\n")
  assert path.read_text() == "whole\n"
  assert os.listdir(path.parent) == ["result.txt"]


def test_the_old_content_stays_until_the_new_one_is_complete(tmp_path):
  path = tmp_path / "result.txt"
  path.write_text("old")
  with pytest.raises(KeyboardInterrupt), atomic_writer(path) as file:
    file.write("new")
    raise KeyboardInterrupt
  assert path.read_text() == "old"


def test_the_umask_is_followed(tmp_path):
  old = os.umask(0o027)
  try:
    with atomic_writer(tmp_path / "a") as file:
      file.write("x")
  finally:
    os.umask(old)
  assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_unwritable_directories_are_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot write"), atomic_writer(tmp_path / "file" / "x"):
    pass


def test_existing_file(tmp_path):
  (tmp_path / "empty").write_text("")
  for path, message in [("absent", "found nothing"), ("", "directory"), ("empty", "empty file")]:
    with pytest.raises(UserError, match=message):
      existing_file(str(tmp_path / path), "vocabulary")


@pytest.mark.parametrize("size", [10_000, 5_000_000])
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path, size):
  """Of a small file the system complains when it is closed, of a large one while it is written."""
  path = tmp_path / "result.txt"
  path.write_text("old")
  with (
    room_for(1000),
    pytest.raises(UserError, match=r"cannot write .*result\.txt: File too large; make room"),
    atomic_writer(path) as file,
  ):
    file.write("x" * size)
  assert path.read_text() == "old"
  assert os.listdir(tmp_path) == ["result.txt"]


def test_other_errors_of_the_block_stay_what_they_are(tmp_path):
  with pytest.raises(FileNotFoundError), atomic_writer(tmp_path / "a"):
    (tmp_path / "absent").read_text()
  assert os.listdir(tmp_path) == []


def test_an_input_is_not_overwritten(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "sub").mkdir()
  (tmp_path / "in.txt").write_text("text")
  (tmp_path / "link.txt").symlink_to("in.txt")
  (tmp_path / "same.txt").hardlink_to("in.txt")
  (tmp_path / "directory").symlink_to(".")
  (tmp_path / "model.ckpt.index").write_text("")
  for output in ("in.txt", "./sub/../in.txt", "link.txt", "same.txt", "directory/in.txt"):
    for source in ("in.txt", "i?.txt", str(tmp_path / "in.txt")):
      with pytest.raises(UserError, match=r"--output: .* is an input file \(.* of --input\)"):
        refuse_overwriting({"--output": [output]}, {"--input": [None, source]})
  with pytest.raises(UserError, match=r"'new\.txt' of --input"):
    refuse_overwriting({"--output": ["sub/../new.txt"]}, {"--input": ["new.txt"]})
  with pytest.raises(UserError, match="of --init_checkpoint"):
    refuse_overwriting({"--output": ["model.ckpt.index"]}, {"--init_checkpoint": ["model.ckpt"]})
  refuse_overwriting({"--output": ["out.txt", None]}, {"--input": ["in.txt", "none*", None]})


def test_gzip_data_under_another_name_is_recognized(tmp_path):
  (tmp_path / "a.tsv").write_bytes(gzip.compress(b"text"))
  error = UnicodeDecodeError("utf-8", b"\x1f\x8b", 1, 2, "invalid start byte")
  assert "found gzip data; uncompress it" in str(not_utf8(str(tmp_path / "a.tsv"), error))


def test_a_scratch_directory_is_gone_at_the_end(tmp_path):
  with scratch_directory(str(tmp_path), ".scratch-") as path:
    assert os.path.isdir(path) and os.path.dirname(path) == str(tmp_path)
    with scratch_directory(str(tmp_path), ".scratch-") as other:
      assert os.path.isdir(path) and other != path, "that of a living process was swept"
  assert os.listdir(tmp_path) == []
  with pytest.raises(RuntimeError), scratch_directory(str(tmp_path), ".scratch-"):
    raise RuntimeError
  assert os.listdir(tmp_path) == []


_HOLDER = """
import sys, time
from bert_tf.files import scratch_directory
with scratch_directory(sys.argv[1], ".scratch-") as path:
  open(path + "/weights", "w").close()
  print("ready", flush=True)
  time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_what_a_signal_leaves_is_removed(tmp_path, number):
  command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
  if number != signal.SIGKILL:
    assert process.returncode == 128 + number and os.listdir(tmp_path) == []
    assert errors.decode() == f"stopped by {number.name}: removing what was begun\n"
    return
  (tmp_path / ".scratch-file").write_text("no directory")
  (tmp_path / ".scratch-link").symlink_to(tmp_path / "elsewhere")
  assert len(os.listdir(tmp_path)) == 3
  sweep_scratch(str(tmp_path), ".scratch-")
  assert sorted(os.listdir(tmp_path)) == [".scratch-file", ".scratch-link"]
