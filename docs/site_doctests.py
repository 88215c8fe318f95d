"""Shows the examples of docstrings as code, which Markdown would take for quotations and links."""

from __future__ import annotations

import re

import griffe

# Lines of `>>>`, and what they print: up to an empty line.
_EXAMPLE = re.compile(r"(?:^ *>>> .*\n?(?:^ *\S.*\n?)*)+", re.MULTILINE)


class Doctests(griffe.Extension):
  """Puts a fence around each example."""

  def on_instance(self, *, obj: griffe.Object | griffe.Alias, **unused) -> None:
    """Changes the docstring of one function, class, method or module."""
    if not obj.is_alias and obj.docstring:
      obj.docstring.value = _EXAMPLE.sub(r"```pycon\n\g<0>\n```\n", obj.docstring.value)
