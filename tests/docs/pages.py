"""The blocks of code in README.md and docs/*.md."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

_NOT_RUN = re.compile(r"<!-- not run: (.+?) -->", re.S)
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)
_INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=-->\n))((?:    .*\n|\n)*    .*\n)")
# What a line of a shell block begins with; programs of others are not looked at.
_COMMAND = re.compile(
  r"^(?:\$ |[A-Z_]+=\S+ )*(?:srun (?:-\S+ )*)?(python \S+|\.venv/bin/python \S+|bert-tf|make|pip)\b"
)
_OTHER_PROGRAM = re.compile(
  r"^(echo|curl|docker|export|source|cd|tensorboard|kubectl|sbatch|mkdir|for)\b"
)


@dataclasses.dataclass(frozen=True)
class Block:
  """One block.

  Attributes:
    page: its file.
    line: where it begins.
    text: without fences and indentation.
    language: "python", "shell", or what else the fence says; "" for output and tables.
    reason: why it is not run; None where it is.
  """

  page: pathlib.Path
  line: int
  text: str
  language: str
  reason: str | None

  @property
  def name(self) -> str:
    """For the names of tests."""
    return f"{self.page.name}:{self.line}"

  def commands(self) -> list[list[str]]:
    """The words of every command that is started in a shell block."""
    joined = re.sub(r"\\\n\s*", " ", self.text)
    found = []
    for line in joined.splitlines():
      for part in re.split(r"\s(?:\||&&|;)\s", line):
        if _COMMAND.match(part.strip()):
          words = shlex.split(part, comments=True)
          while words and (words[0] in ("$", "srun") or re.match(r"[A-Z_]+=|-", words[0])):
            words.pop(0)
          found.append(words)
    return found


def blocks(page: pathlib.Path) -> list[Block]:
  """All blocks of a page in their order."""
  text = page.read_text(encoding="utf-8")
  found = []
  covered = []
  for match in _FENCE.finditer(text):
    covered.append(match.span())
    found.append(_block(page, text, match.start(), match[3], match[2]))
  for match in _INDENTED.finditer(text):
    inside = any(start <= match.start() < end for start, end in covered)
    # Below an item of a list it is the item's text.
    before = text[: match.start()].rstrip().rsplit("\n", 1)[-1]
    if not inside and not re.match(r"^\s*([-*]|\d+\.|:::) ", before):
      found.append(
        _block(page, text, match.start(), re.sub(r"^    ", "", match[1], flags=re.M), "")
      )
  return sorted(found, key=lambda block: block.line)


def _block(page: pathlib.Path, text: str, start: int, content: str, language: str) -> Block:
  before = text[:start].rstrip()
  reason = None
  if before.endswith("-->"):
    match = _NOT_RUN.match(before, before.rindex("<!--"))
    reason = " ".join(match[1].split()) if match else None
  return Block(page, text[:start].count("\n") + 1, content, language or _guess(content), reason)


def _guess(content: str) -> str:
  first = content.strip().split("\n", 1)[0]
  if re.match(r"(import|from) \w", first):
    return "python"
  return "shell" if _COMMAND.match(first) or _OTHER_PROGRAM.match(first) else ""


EVERY = [block for page in PAGES for block in blocks(page)]
