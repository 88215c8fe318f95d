from __future__ import annotations

import collections
import sys

import pytest

from bert_tf.errors import UserError
from bert_tf.quickstart import corpus

_SOURCE = '''\
#!/usr/bin/env python
# A comment before the module,
# of two lines.
"""The docstring of the module."""

TEXT = """
# This is a string and no comment of the module.
"""


class Thing:
  """A thing that has a method."""

  def method(self):
    """Does what it is told to do."""
    # A comment inside.
    raise SystemExit("importing or running this file would be noticed")


raise SystemExit("not run")
'''


@pytest.fixture(scope="module")
def documents(modules):
  return corpus.documents(modules)


def test_reads_docstrings_and_comments_in_order_without_running_anything(tmp_path):
  path = tmp_path / "thing.py"
  path.write_text(_SOURCE)
  module = corpus.read_module("thing", str(path))
  assert [(text.owner, text.text) for text in module.texts] == [
    (None, "/usr/bin/env python\nA comment before the module,\nof two lines."),
    ("", "The docstring of the module."),
    ("Thing", "A thing that has a method."),
    ("Thing.method", "Does what it is told to do."),
    (None, "A comment inside."),
  ]


@pytest.mark.parametrize("source", [b"def (:", b"x = '\xff'", b"a\0b"])
def test_a_file_that_is_no_python_has_no_text(tmp_path, source):
  path = tmp_path / "bad.py"
  path.write_bytes(source)
  assert corpus.read_module("bad", str(path)) == corpus.Module("bad", ())


def test_finds_modules_by_their_dotted_names(tmp_path):
  for name in (
    "b.py",
    "a/__init__.py",
    "a/c.py",
    "a/tests/d.py",
    "site-packages/e.py",
    "not-one.py",
  ):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
  (tmp_path / "notes.txt").write_text("")
  assert [name for name, _ in corpus.source_files(str(tmp_path))] == ["a", "a.c", "b"]


def test_a_library_without_sources_is_refused(tmp_path):
  with pytest.raises(UserError, match="expected the standard library's source files in"):
    corpus.source_files(str(tmp_path))


def test_there_is_enough_text(documents):
  lines = [line for document in documents for line in document.sentences]
  assert len(documents) > 300
  assert len(lines) > 20_000
  assert sum(len(line) + 1 for line in lines) > 1_500_000


def test_no_sentence_comes_twice(documents):
  counts = collections.Counter(
    line.lower() for document in documents for line in document.sentences
  )
  assert counts.most_common(1)[0][1] == 1


def test_importing_the_corpus_imports_nothing_odd(modules):
  # `this` and `antigravity` act when they are imported.
  assert {"this", "antigravity"} <= {module.name for module in modules}
  assert not {"this", "antigravity"} & set(sys.modules)


def test_order_is_deterministic(modules, documents):
  assert corpus.standard_library() == modules
  assert corpus.documents(modules) == documents


def test_split_keeps_documents_whole_and_apart(documents):
  train, held_out = corpus.split(documents, {"json.decoder", "heapq"})
  assert sorted(d.name for d in train + held_out) == sorted(d.name for d in documents)
  names = {document.name for document in held_out}
  assert {"json.decoder", "heapq"} <= names
  assert all(name.startswith("reference: ") for name in names - {"json.decoder", "heapq"})
  assert len(names) > 5


def test_writes_a_sentence_a_line_and_a_blank_line_between_documents(tmp_path):
  path = tmp_path / "text.txt"
  corpus.write_documents(
    [corpus.Document("a", ("One.", "Two.")), corpus.Document("b", ("Three.",))], str(path)
  )
  assert path.read_text() == "One.\nTwo.\n\nThree.\n"
