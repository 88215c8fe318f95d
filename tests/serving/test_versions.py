"""Which version a request goes to; tests/serving/test_server.py replaces versions for real."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("tensorflow_serving", reason="needs the extra serving")

from bert_tf.serving.errors import RequestError
from bert_tf.serving.versions import VersionManager


class Replaced(VersionManager):
  """Serves the first of some batchers when it is asked once, then the next."""

  def __init__(self, *batchers: str):
    self._batchers = list(batchers)

  def batcher(self, version=None):
    return self._batchers[0]


async def _answer(versions: Replaced, code: str) -> str:
  async def ask(batcher: str) -> str:
    if batcher == "going":
      versions._batchers[:-1] = []
      raise RequestError("no", code)
    return f"answer of {batcher}"

  return await versions.answer(None, ask)


def test_a_request_that_meets_a_version_as_it_goes_is_for_the_next():
  versions = Replaced("going", "next")
  assert asyncio.run(_answer(versions, "UNAVAILABLE")) == "answer of next"


@pytest.mark.parametrize(
  ("batchers", "code"),
  [(("going",), "UNAVAILABLE"), (("going", "next"), "INVALID_ARGUMENT")],
)
def test_other_refusals_are_for_the_client(batchers, code):
  with pytest.raises(RequestError) as raised:
    asyncio.run(_answer(Replaced(*batchers), code))
  assert raised.value.code == code
