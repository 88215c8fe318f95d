"""The text of the quickstart: English prose that comes with every Python interpreter.

Sources are the language reference (`pydoc_data.topics`) and the docstrings and comments of the
standard library, read from its source files; no module of it is imported or run.
"""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import sysconfig
import tokenize
import warnings
from collections.abc import Iterable, Iterator

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.quickstart.prose import sentences

# Tests say little in English, and not every distribution ships them.
_SKIPPED_DIRECTORIES = {
  "__pycache__", "dist-packages", "idle_test", "lib2to3", "pydoc_data", "site-packages", "test",
  "tests",
}  # fmt: skip
_FEWEST_SENTENCES = 3
_REFERENCE = "reference: "
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True)
class Text:
  """A docstring or a block of comment lines.

  Attributes:
    owner: what a docstring documents, such as "HTTPConnection.request", "" for the module; None
      for a comment.
    text: without common indentation and comment signs.
    line: where it starts in its file.
  """

  owner: str | None
  text: str
  line: int


@dataclasses.dataclass(frozen=True)
class Module:
  """What one source file says in English, in the order of its lines."""

  name: str
  texts: tuple[Text, ...]


@dataclasses.dataclass(frozen=True)
class Document:
  """Sentences that belong together: those of a module or a page of the language reference."""

  name: str
  sentences: tuple[str, ...]


def source_files(root: str | None = None) -> list[tuple[str, str]]:
  """(dotted module name, path) of the standard library's modules, sorted by name.

  Args:
    root: the library's directory; the running interpreter's if None.

  Raises:
    UserError: there are no source files (some embedded interpreters leave them out).
  """
  root = root or sysconfig.get_path("stdlib")
  found = []
  for directory, subdirectories, names in os.walk(root):
    subdirectories[:] = sorted(set(subdirectories) - _SKIPPED_DIRECTORIES)
    for name in names:
      if name.endswith(".py"):
        path = os.path.join(directory, name)
        parts = os.path.relpath(path, root)[: -len(".py")].split(os.sep)
        if parts[-1] == "__init__":
          parts.pop()
        if all(part.isidentifier() for part in parts):
          found.append((".".join(parts), path))
  if not found:
    raise UserError(
      f"expected the standard library's source files in {root}, found none; "
      "run the quickstart with a Python that has them, as python.org's and pyenv's do"
    )
  return sorted(found)


def read_module(name: str, path: str) -> Module:
  """Reads docstrings and comments from a source file; none if this Python cannot parse it."""
  try:
    with tokenize.open(path) as file:
      source = file.read()
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      tree = ast.parse(source)
  except (SyntaxError, UnicodeDecodeError, ValueError):
    return Module(name, ())
  strings: set[int] = set()
  texts = list(_docstrings(tree, (), strings))
  texts += _comments(source.splitlines(), strings)
  return Module(name, tuple(sorted(texts, key=lambda text: text.line)))


def _docstrings(node: ast.AST, owner: tuple[str, ...], strings: set[int]) -> Iterator[Text]:
  """Yields the docstrings under `node`; adds the lines of all strings of several lines."""
  if isinstance(node, _DOCUMENTED):
    text = ast.get_docstring(node)
    if text:
      yield Text(".".join(owner), text, node.body[0].lineno)
  elif isinstance(node, ast.Constant):
    last = node.end_lineno or node.lineno
    if isinstance(node.value, str) and last != node.lineno:
      strings.update(range(node.lineno, last + 1))
    return
  for child in ast.iter_child_nodes(node):
    name = getattr(child, "name", None) if isinstance(child, _DOCUMENTED) else None
    yield from _docstrings(child, (*owner, name) if name else owner, strings)


def _comments(lines: list[str], strings: set[int]) -> Iterator[Text]:
  """Yields each run of comment lines as one text."""
  block: list[str] = []
  for number, line in enumerate([*lines, ""], start=1):
    stripped = line.strip()
    if stripped.startswith("#") and number not in strings:
      block.append(re.sub(r"^#[#:!]* ?", "", stripped))
    elif block:
      yield Text(None, "\n".join(block), number - len(block))
      block = []


def standard_library(root: str | None = None) -> list[Module]:
  """All modules of the standard library, sorted by name; `root` as in `source_files`."""
  return [read_module(*file) for file in source_files(root)]


def documents(modules: Iterable[Module]) -> list[Document]:
  """Pages of the language reference, then `modules`, each without sentences that came before."""
  from pydoc_data.topics import topics

  named = [(_REFERENCE + name, [topics[name]]) for name in sorted(topics)]
  named += [(module.name, [text.text for text in module.texts]) for module in modules]
  seen: set[str] = set()
  result = []
  for name, texts in named:
    kept = []
    for text in texts:
      for sentence in sentences(text):
        if sentence.lower() not in seen:
          seen.add(sentence.lower())
          kept.append(sentence)
    if len(kept) >= _FEWEST_SENTENCES:
      result.append(Document(name, tuple(kept)))
  return result


def split(
  collection: Iterable[Document], held_out_modules: set[str]
) -> tuple[list[Document], list[Document]]:
  """Documents to train on, and those to measure with: `held_out_modules` and every tenth page."""
  train: list[Document] = []
  held_out: list[Document] = []
  pages = 0
  for document in collection:
    if document.name.startswith(_REFERENCE):
      pages += 1
      (held_out if pages % 10 == 0 else train).append(document)
    else:
      (held_out if document.name in held_out_modules else train).append(document)
  return train, held_out


def write_documents(collection: Iterable[Document], path: str) -> None:
  """Writes one sentence a line and a blank line between documents."""
  with atomic_writer(path) as file:
    file.write("\n".join("".join(f"{line}\n" for line in doc.sentences) for doc in collection))
