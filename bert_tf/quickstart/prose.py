"""English sentences from docstrings, comments and reference pages.

Programs are documented in a mixture of prose, reStructuredText, tables, examples and code. What
is kept reads as a sentence of English; everything else is dropped, because a language model of
a few minutes' training learns nothing from a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# An English sentence of four words or more without any of these is rare; code without is common.
_FUNCTION_WORDS = {
  "a", "all", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "do", "does", "for",
  "from", "has", "have", "if", "in", "is", "it", "may", "must", "no", "not", "of", "on", "only",
  "or", "should", "so", "than", "that", "the", "then", "this", "to", "used", "was", "when",
  "which", "will", "with",
}  # fmt: skip
_FEWEST_WORDS = 4
_MOST_WORDS = 90
_PLAIN_SHARE = 0.7

_UNDERLINE = re.compile(r"^\s*([=\-~^*#+\"'`_.])\1{2,}\s*$")
_TABLE = re.compile(r"^\s*(\+[-=+]+|\|.*\||[=\-]{2,}( +[=\-]{2,})+)\s*$")
_BULLET = re.compile(r"^\s*([*+\-•]|\(?(\d{1,2}|[a-zA-Z])[.)]|\[\d+\])\s+")
_DIRECTIVE = re.compile(r"^\s*\.\. ")
_FIELD = re.compile(r"^\s*(:\w+( \w+)?:|@\w+)\s*")
_ENTRY = re.compile(r"^\s*[\w*.']+( \w+)?(:| --?) \S")
_ROLE = re.compile(r":[a-z][a-z:]*:`(?:[^`<]*<)?~?!?([^`>]+)>?`")
_QUOTED = re.compile(r"``?([^`\n]+?)``?_{0,2}")
_EMPHASIS = re.compile(r"(?<![\w*])(\*\*?)(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])")
_CITATION = re.compile(r"\s*\[(\d+|#\w*)\]_?")
_PLAIN_WORD = re.compile(r"^[(\"'“‘]*[A-Za-z]+(?:['’/-][A-Za-z]+)*[)\"'”’]*[.,;:!?]*[)\"'”’]*$")
_CODE = re.compile(
  r"::=|->|==| = |[{}|\\]|\w\(\w*=|;$|^(def|class|import|from \S+ import|for .+:$) ?"
)
_OPENING = re.compile(r"^[(\"'“‘]*[A-Za-z]")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')”’]*\s+(?=[\"'(“‘]*[A-Z])")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|cf|vs|al|resp|approx|ca|Dr|Mr|No|Fig|Sect|[A-Z])\.$")


def sentences(text: str) -> list[str]:
  """The sentences of English in `text`, in order, without markup.

  Args:
    text: a docstring, comment or page; line breaks and indentation matter.
  """
  result = []
  for paragraph in paragraphs(text):
    for sentence in _split(_plain(paragraph)):
      if is_prose(sentence):
        result.append(sentence)
  return result


def paragraphs(text: str) -> Iterator[str]:
  """Yields each paragraph or list item on one line; no headings, tables, examples or literals."""
  literal_indent = None
  for block in re.split(r"\n[ \t]*\n", text.expandtabs()):
    lines = _without_headings([line for line in block.splitlines() if line.strip()])
    if not lines:
      continue
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    if literal_indent is not None and indent > literal_indent:
      continue
    literal_indent = indent if lines[-1].rstrip().endswith("::") else None
    yield from _items(lines)


def is_prose(sentence: str) -> bool:
  """Whether `sentence` is English rather than code, a signature, a heading or an entry."""
  words = sentence.split()
  if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS:
    return False
  if _CODE.search(sentence) or not _OPENING.match(sentence):
    return False
  if not any(word.strip("(\"'.,;:").lower() in _FUNCTION_WORDS for word in words):
    return False
  return sum(bool(_PLAIN_WORD.match(word)) for word in words) >= _PLAIN_SHARE * len(words)


def _without_headings(lines: list[str]) -> list[str]:
  """Drops underlined lines and their underlines."""
  kept: list[str] = []
  for line in lines:
    if _UNDERLINE.match(line):
      if kept and len(line.strip()) >= len(kept[-1].strip()) - 2:
        kept.pop()
    else:
      kept.append(line)
  return kept


def _items(lines: list[str]) -> Iterator[str]:
  """Splits a block at its bullets and fields, and stops at an interpreter session."""
  item: list[str] = []
  for line in lines:
    stripped = line.strip()
    if stripped.startswith(">>>") or _TABLE.match(line):
      break
    if _DIRECTIVE.match(line):
      continue
    marker = _BULLET.match(line) or _FIELD.match(line)
    if marker:
      yield " ".join(item)
      item = []
      stripped = line[marker.end() :].strip()
    elif _ENTRY.match(line):
      yield " ".join(item)
      item = []
    item.append(stripped)
  yield " ".join(item)


def _plain(paragraph: str) -> str:
  """Removes reStructuredText's inline markup."""
  paragraph = _ROLE.sub(r"\1", paragraph)
  paragraph = _QUOTED.sub(r"\1", paragraph)
  paragraph = _EMPHASIS.sub(r"\2", paragraph)
  paragraph = _CITATION.sub("", paragraph)
  return re.sub(r"\s+", " ", paragraph.replace("::", ":")).strip()


def _split(paragraph: str) -> Iterator[str]:
  """Splits where a full stop is followed by a capital, except behind an abbreviation."""
  start = 0
  for end in _SENTENCE_END.finditer(paragraph):
    head = paragraph[start : end.start()]
    if not _ABBREVIATION.search(head):
      yield paragraph[start : end.end()].strip()
      start = end.end()
  if start < len(paragraph):
    yield paragraph[start:].strip()
