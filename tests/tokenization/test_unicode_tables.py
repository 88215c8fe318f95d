import random
import unicodedata

import numpy as np
import pytest

from bert_tf.tokenization import unicode_tables as tables
from bert_tf.tokenization.basic import BasicTokenizer
from bert_tf.tokenization.settings import TokenizerSettings

ALL_SETTINGS = [
  TokenizerSettings(lower, strip, chinese)
  for lower in (True, False)
  for strip, chinese in ((lower, True), (not lower, True), (not lower, False))
]


def words_by_table(text: str, settings: TokenizerSettings) -> list[str]:
  """Splits text whose characters do not depend on neighbours, by look-up alone."""
  table = tables.character_table(settings)
  words = ""
  for char in text:
    for slot in table.replacement(ord(char)):
      part = chr(slot & tables.CODE_POINT_MASK)
      if slot & tables.SPACE:
        words += " "
      elif not slot & (tables.DELETED | tables.STRIPPED):
        words += f" {part} " if slot & tables.ISOLATED else part
  return words.split()


@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_every_code_point_by_itself(settings):
  tokenizer = BasicTokenizer(settings=settings)
  # One of five, other ones in each run of the blocks: all properties come in stretches.
  for code_point in range(0, 0x30000, 5):
    if not 0xD800 <= code_point < 0xE000:
      text = f"a{chr(code_point)}b"
      assert words_by_table(text, settings) == tokenizer.tokenize(text), hex(code_point)


@pytest.mark.long
@pytest.mark.parametrize("settings", ALL_SETTINGS)
def test_all_code_points_by_themselves(settings):
  tokenizer = BasicTokenizer(settings=settings)
  for code_point in range(0x110000):
    if not 0xD800 <= code_point < 0xE000:
      text = f"a{chr(code_point)}b"
      assert words_by_table(text, settings) == tokenizer.tokenize(text), hex(code_point)


def test_pages_hold_the_whole_table():
  for table in (tables.character_table(TokenizerSettings()).entries, tables.case_context()):
    starts, pages = tables.paged(table)
    code_points = np.arange(tables.CODE_POINTS)
    np.testing.assert_array_equal(pages[starts[code_points >> 8] + (code_points & 255)], table)
    assert pages.size < table.size // 20


def test_case_context_predicts_final_sigmas():
  context = tables.case_context()
  random.seed(1)
  letters = "aA\u02b0.'\u0301\u00ad-\u4e00\u2019Σ1ⓐ"
  for _ in range(2000):
    before, after = ("".join(random.choices(letters, k=random.randrange(4))) for _ in range(2))
    kinds = [context[ord(char)] for char in before], [context[ord(char)] for char in after]
    # Control characters are deleted before lower-casing, so str.lower never sees them.
    seen = "".join(c for c in f"{before}Σ{after}" if unicodedata.category(c) != "Cf")
    sides = [
      [kind for kind in side if kind >= tables.CONTEXT_CASED] or [tables.CONTEXT_OTHER]
      for side in kinds
    ]
    final = sides[0][-1] == tables.CONTEXT_CASED and sides[1][0] != tables.CONTEXT_CASED
    place = len([c for c in before if unicodedata.category(c) != "Cf"])
    assert seen.lower()[place] == ("ς" if final else "σ"), seen


def test_decompositions_keep_starters_in_front_of_marks():
  """Then sorting marks by class between starters never has to look inside a decomposition."""
  table = tables.character_table(TokenizerSettings())
  for code_point in np.flatnonzero(table.entries & tables.EXPANDS):
    slots = table.replacement(int(code_point))
    is_mark = [bool(slot & tables.MARK) for slot in slots]
    assert is_mark == sorted(is_mark)


def test_combining_classes():
  classes = tables.combining_classes()
  assert (classes[0x301], classes[0x1B44], classes[0x302E], classes[ord("a")]) == (230, 9, 224, 0)
