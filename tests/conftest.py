"""Paths that many tests share."""

from __future__ import annotations

import os
import pathlib
import signal
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

# A runner that starts the tests in the background hands down an ignored SIGINT, or SIGHUP, and the
# processes that the tests interrupt would inherit it.
if threading.current_thread() is threading.main_thread():
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Exports of every kind, which the tests of several packages ask.
pytest_plugins = ["exported_models"]

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Processes that tests start find the package where it is not installed, too.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
  """The repository root, where the scripts are."""
  return ROOT


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
  """Reference outputs of the original; tests/golden/README.md tells how they were made."""
  return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
  """A directory of real text, tasks and weights; skips the test where there is none."""
  path = pathlib.Path(os.environ.get("BERT_TF_DATA", ROOT.parent / "shared" / "data"))
  if not path.is_dir():
    pytest.skip(f"BERT_TF_DATA: no directory {path}")
  return path
