"""Makes pages of the site out of files of the repository, so that nothing is written twice."""

from __future__ import annotations

import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Page -> the file at the top of the repository that it shows.
PAGES = {
  "index.md": "README.md",
  "contributing.md": "CONTRIBUTING.md",
  "changes.md": "CHANGELOG.md",
}


def on_files(files, config):
  """Adds the pages."""
  for page, source in PAGES.items():
    text = (ROOT / source).read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, page, content=outside_links(text)))
  return files


def on_page_markdown(markdown, **unused):
  """Links to files that are not part of the site become their names."""
  return outside_links(markdown)


def outside_links(text: str) -> str:
  """[words](../examples/file.py) -> words (`examples/file.py`)."""
  return re.sub(r"\[([^\]]+)\]\((?:\.\./)+([^)]+)\)", r"\1 (`\2`)", text)
