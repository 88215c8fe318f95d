from __future__ import annotations

import os

import pytest

from bert_tf.data import input_files
from bert_tf.errors import UserError


@pytest.fixture
def directory(tmp_path, monkeypatch):
  for name in ("b.txt", "a.txt", "c[1].txt"):
    (tmp_path / name).write_text("text\n")
  (tmp_path / "empty.txt").touch()
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_globs_and_lists_keep_their_order(directory):
  assert input_files.input_files("b.txt,a.txt") == ["b.txt", "a.txt"]
  assert input_files.input_files("?.txt") == ["a.txt", "b.txt"]
  assert input_files.input_files("b.txt, ?.txt,") == ["b.txt", "a.txt", "b.txt"]
  assert input_files.input_files("c[1].txt") == ["c[1].txt"]
  assert input_files.input_files("empty.txt,a.txt") == ["empty.txt", "a.txt"]


@pytest.mark.parametrize(
  "patterns, message",
  [
    ("none*.txt", r"`input_file`: expected files that match 'none\*\.txt', found nothing"),
    ("a.txt,nothing", "expected a file at 'nothing'"),
    ("", "expected a file, a glob"),
    (" , ", "expected a file, a glob"),
    (".", "found the directory '.'"),
    ("empty.txt", r"found only empty files \(empty\.txt\)"),
  ],
)
def test_bad_inputs_are_named(directory, patterns, message):
  with pytest.raises(UserError, match=message):
    input_files.input_files(patterns)


def test_outputs(directory):
  assert input_files.output_files("x, new/y", ["a.txt"]) == ["x", "new/y"]
  assert os.path.isdir("new") and not os.path.exists("x")


@pytest.mark.parametrize(
  "names, message",
  [
    ("", "expected one or more"),
    ("a.txt", "'a.txt' is an input file"),
    ("./a.txt", r"'\./a\.txt' is an input file"),
    ("x,./x", r"'\./x' is named twice"),
    (".", "is a directory"),
    ("a.txt/x", "cannot write in the directory 'a.txt'"),
    ("/proc/x", "cannot write in the directory '/proc'"),
  ],
)
def test_bad_outputs_are_refused(directory, names, message):
  with pytest.raises(UserError, match=message):
    input_files.output_files(names, ["a.txt"])
