from __future__ import annotations

import collections
import csv
import re

import pytest

from bert_tf.errors import UserError
from bert_tf.quickstart import areas
from bert_tf.quickstart.corpus import Module, Text


@pytest.fixture(scope="module")
def examples(modules):
  return areas.examples(modules)


def test_there_are_enough_examples_of_enough_areas(examples):
  counts = collections.Counter(each.area for each in examples)
  assert len(examples) > 1500
  assert len(counts) >= 6
  assert min(counts.values()) >= 40


def test_is_deterministic(modules, examples):
  assert areas.examples(modules) == examples
  assert areas.dev_modules(examples) == areas.dev_modules(list(reversed(examples)))


def test_split_by_module_takes_a_share_of_every_area(examples):
  dev_modules = areas.dev_modules(examples)
  train = [each for each in examples if each.module not in dev_modules]
  dev = [each for each in examples if each.module in dev_modules]
  assert not {each.module for each in train} & {each.module for each in dev}
  assert not {each.text for each in train} & {each.text for each in dev}
  total, chosen = (collections.Counter(each.area for each in part) for part in (examples, dev))
  for area, count in total.items():
    assert 0.1 * count < chosen[area] <= 0.2 * count


def test_the_package_is_not_named(examples):
  for each in examples:
    package = each.module.partition(".")[0]
    assert not re.search(rf"\b{package}\.\w", each.text)
  texts = [each.text for each in examples if each.module.startswith("tkinter")]
  assert len(texts) > 50
  assert not any("tkinter" in text.split() for text in texts)


def _numbered(module: str, count: int) -> Module:
  texts = [f"Return the {'very ' * i}last item of a {module.title()}." for i in range(count)]
  return Module(module, tuple(Text("f", text, line) for line, text in enumerate(texts)))


def test_takes_docstrings_of_known_modules_once_and_hides_the_package():
  names = ("threading", "heapq", "ast", "glob", "turtle", "ftplib")
  modules = [_numbered(name, 41) for name in names]
  extra = Module(
    "asyncio.locks",
    (
      Text("f", "The asyncio lock of asyncio.locks is held by at most one task.", 1),
      Text(None, "This comment of the module documents no function at all.", 2),
      Text("g", "Too short.", 3),
    ),
  )
  unknown = _numbered("no_such_module_of_the_library", 50)
  found = areas.examples([*modules, extra, extra, unknown])
  assert [each for each in found if each.module == "asyncio.locks"] == [
    areas.Example(
      "asyncio.locks", "The module lock of locks is held by at most one task.", "concurrency"
    )
  ]
  assert {each.area for each in found} == {areas.AREAS[module.name] for module in modules}


def test_too_few_areas_are_refused():
  with pytest.raises(UserError, match="expected docstrings of 6 areas"):
    areas.examples([_numbered("threading", 50)])


def test_writes_columns_with_a_header(tmp_path, examples):
  path = tmp_path / "task.tsv"
  areas.write_examples(examples, str(path))
  with open(path, encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
  assert [areas.Example(**row) for row in rows] == examples
