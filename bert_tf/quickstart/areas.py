"""A labelled task from the standard library: which area does this docstring document?"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Sequence

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.quickstart.corpus import Module
from bert_tf.quickstart.prose import sentences

# By top-level modules; those that belong to several areas (logging, contextlib) are left out.
_MODULES = {
  "concurrency": """_threading_local asyncio concurrent contextvars multiprocessing queue sched
    selectors signal subprocess threading""",
  "data types": """_collections_abc _pydatetime _weakrefset array bisect calendar collections copy
    dataclasses datetime enum functools graphlib heapq operator pprint reprlib types weakref
    zoneinfo""",
  "development tools": """__future__ abc annotationlib ast bdb cProfile code codeop compileall dis
    distutils doctest ensurepip imp importlib inspect keyword linecache modulefinder opcode pdb
    pickletools pkgutil profile pstats py_compile pyclbr pydoc runpy site symtable sysconfig
    tabnanny timeit token tokenize trace traceback tracemalloc typing unittest venv warnings zipapp
    zipimport""",
  "files and storage": """_compression _pyio bz2 compression configparser csv dbm filecmp fileinput
    fnmatch genericpath glob gzip io lzma netrc ntpath nturl2path os pathlib pickle plistlib
    posixpath shelve shutil sqlite3 stat tarfile tempfile tomllib zipfile""",
  "graphical interfaces": "curses idlelib tkinter turtle turtledemo",
  "internet": """asynchat asyncore base64 binhex cgi cgitb email ftplib http imaplib ipaddress json
    mailbox mailcap mimetypes nntplib poplib quopri smtpd smtplib socket socketserver ssl telnetlib
    urllib uu uuid webbrowser wsgiref xdrlib xmlrpc""",
  "numbers": """_pydecimal colorsys decimal fractions hashlib hmac numbers random secrets
    statistics""",
  "text": """_markupbase _strptime argparse codecs difflib encodings gettext getopt html locale
    optparse re shlex sre_compile sre_constants sre_parse string stringprep textwrap xml""",
}
AREAS: dict[str, str] = {
  module: area for area, modules in _MODULES.items() for module in modules.split()
}
# Names of modules that are words of English: a text about an array may say so.
_ORDINARY = {
  "abc", "array", "calendar", "code", "collections", "compression", "copy", "decimal", "email",
  "fractions", "html", "json", "keyword", "locale", "numbers", "operator", "profile", "queue",
  "random", "secrets", "selectors", "signal", "site", "socket", "statistics", "string", "token",
  "trace", "traceback", "turtle", "types", "warnings",
}  # fmt: skip
_FEWEST_WORDS = 8
_MOST_WORDS = 60
_DEV_SHARE = 0.2
# An area with fewer examples than this cannot be learnt or measured, and is left out.
_FEWEST_EXAMPLES = 40
_FEWEST_AREAS = 6


@dataclasses.dataclass(frozen=True)
class Example:
  """One docstring and its label."""

  module: str
  text: str
  area: str


def examples(modules: Iterable[Module]) -> list[Example]:
  """Docstrings of at least 8 words in an area, each text once, in the order of `modules`.

  Raises:
    UserError: the library of this Python has too little text for six areas.
  """
  found: dict[str, Example] = {}
  for module in modules:
    area = AREAS.get(module.name.partition(".")[0])
    for text in module.texts:
      if area and text.owner is not None:
        words = _hide_name(" ".join(sentences(text.text)), module.name).split()[:_MOST_WORDS]
        if len(words) >= _FEWEST_WORDS:
          found.setdefault(" ".join(words).lower(), Example(module.name, " ".join(words), area))
  counts = collections.Counter(example.area for example in found.values())
  kept = [each for each in found.values() if counts[each.area] >= _FEWEST_EXAMPLES]
  if len({each.area for each in kept}) < _FEWEST_AREAS:
    raise UserError(
      f"expected docstrings of {_FEWEST_AREAS} areas of the standard library with "
      f"{_FEWEST_EXAMPLES} each, found {dict(counts)}; run the quickstart with a complete Python"
    )
  return kept


def dev_modules(collection: Sequence[Example]) -> set[str]:
  """Names of the modules whose examples measure the classifier: a fifth of every area.

  Modules come in the order of their names' hashes, which is as good as random and the same on
  every machine.
  """
  sizes = collections.Counter((each.area, each.module) for each in collection)
  totals = collections.Counter(each.area for each in collection)
  chosen: collections.Counter[str] = collections.Counter()
  result = set()
  for area, module in sorted(sizes, key=lambda key: hashlib.sha256(key[1].encode()).digest()):
    if chosen[area] + sizes[area, module] <= _DEV_SHARE * totals[area]:
      chosen[area] += sizes[area, module]
      result.add(module)
  return result


def write_examples(collection: Iterable[Example], path: str) -> None:
  """Writes tab-separated columns `module`, `text` and `area` with a header."""
  with atomic_writer(path) as file:
    file.write("module\ttext\tarea\n")
    file.writelines(f"{each.module}\t{each.text}\t{each.area}\n" for each in collection)


def _hide_name(text: str, module: str) -> str:
  """Removes what would give the answer away: the name of the package that the text belongs to."""
  package = module.partition(".")[0]
  text = re.sub(rf"\b{re.escape(package)}\.(?=\w)", "", text)
  if package not in _ORDINARY:
    text = re.sub(rf"\b{re.escape(package)}\b", "module", text)
  return text
