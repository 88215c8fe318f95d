from __future__ import annotations

import os
import stat

import pytest

from bert_tf import UserError
from bert_tf.files import atomic_writer, existing_file


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
