"""Progress bars where somebody looks: on a terminal, and in a notebook."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import tqdm


def is_watched() -> bool:
  """Whether standard error is a terminal, or the output of a notebook's cell."""
  return sys.stderr.isatty() or _in_notebook()


def _in_notebook() -> bool:
  ipython = sys.modules.get("IPython")
  shell = ipython.get_ipython() if ipython else None
  return "IPKernelApp" in getattr(shell, "config", {})


def bar(iterable: Any = None, **options: Any) -> tqdm.tqdm:
  """A bar, drawn if somebody looks.

  Args: `iterable`, what to pass on; `**options`, as of `tqdm.tqdm`.
  """
  return _kind()(iterable, disable=not is_watched(), **options)


def _kind() -> type[tqdm.tqdm]:
  """The widget in notebooks that can show one, else text."""
  if not _in_notebook():
    return tqdm.tqdm
  with warnings.catch_warnings():
    # That ipywidgets is missing; a bar of text does as well.
    warnings.simplefilter("ignore", tqdm.TqdmWarning)
    from tqdm.auto import tqdm as found
  return found
