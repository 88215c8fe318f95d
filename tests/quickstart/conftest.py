"""The standard library's text, read once."""

from __future__ import annotations

import pytest

from bert_tf.quickstart import corpus


@pytest.fixture(scope="session")
def modules() -> list[corpus.Module]:
  return corpus.standard_library()
