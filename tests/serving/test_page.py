"""The page in headless Chromium, by its keyboard, and what an accessibility checker says of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import urllib.parse

import pytest
import running_server

pytest.importorskip("tensorflow_serving.apis", reason="needs the extra serving")

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if not CHROMIUM:
  pytest.skip("needs chromium or google-chrome", allow_module_level=True)
# axe.min.js of the package axe-core of npm.
AXE = os.environ.get("BERT_TF_AXE")
# Where to leave pictures of the page, to look at.
PICTURES = os.environ.get("BERT_TF_PICTURES")


class Page:
  """A tab of a browser, by Chrome's DevTools protocol."""

  def __init__(self, socket):
    self._socket = socket
    self._number = 0
    self.events: list[dict] = []

  async def call(self, method: str, **parameters) -> dict:
    self._number += 1
    await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
    while True:
      message = await self._socket.receive_json(timeout=60)
      if message.get("id") == self._number:
        assert "error" not in message, message
        return message["result"]
      self.events.append(message)

  async def run(self, script: str):
    found = await self.call(
      "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
    )
    assert "exceptionDetails" not in found, found
    return found["result"].get("value")

  async def until(self, script: str) -> None:
    for _ in range(300):
      if await self.run(script):
        return
      await asyncio.sleep(0.1)
    raise AssertionError(f"{script}: {await self.run('document.body.innerText')}")

  async def open(self, url: str) -> None:
    await self.call("Page.navigate", url=url)
    await self.until("document.querySelector('textarea') !== null")

  async def press(self, key: str, control: bool = False) -> None:
    known = {"Enter": (13, "\r"), "Tab": (9, "")}
    code, text = known[key]
    for kind in ("keyDown", "keyUp"):
      await self.call(
        "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
        modifiers=2 if control else 0, **({"text": text} if text and kind == "keyDown" else {}),
      )  # fmt: skip

  async def type(self, text: str) -> None:
    await self.call("Input.insertText", text=text)

  async def answered(self) -> None:
    await self.until("document.getElementById('state').textContent.startsWith('Answered in')")

  async def text(self) -> str:
    return await self.run("document.getElementById('answer').innerText")

  async def picture(self, name: str, width: int, scheme: str) -> None:
    await self.call(
      "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
      mobile=width < 500,
    )  # fmt: skip
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await self.call("Emulation.setEmulatedMedia", features=features)
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    assert await self.run(wide), f"{name}: the page is wider than {width} pixels"
    if PICTURES:
      taken = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
      path = pathlib.Path(PICTURES, f"{name}-{width}-{scheme}.png")
      path.write_bytes(base64.b64decode(taken["data"]))


@contextlib.asynccontextmanager
async def browser(directory: pathlib.Path):
  """A page in a browser of its own."""
  flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage"
  command = [CHROMIUM, *flags.split(), "--remote-debugging-port=0", f"--user-data-dir={directory}"]
  process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
  try:
    for line in process.stderr:
      if "DevTools listening on" in line:
        port = urllib.parse.urlsplit(line.split()[-1]).port
        break
    async with aiohttp.ClientSession() as session:
      async with session.get(f"http://127.0.0.1:{port}/json") as response:
        tabs = await response.json(content_type=None)
      url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
      async with session.ws_connect(url, max_msg_size=0) as socket:
        page = Page(socket)
        for domain in ("Page", "Runtime", "Log"):
          await page.call(f"{domain}.enable")
        yield page
  finally:
    process.kill()
    process.communicate()


def drive(tmp_path, use) -> None:
  """Runs an asynchronous function of a page, of which no error may be reported."""

  async def main():
    async with browser(tmp_path / "browser") as page:
      await use(page)
      bad = [
        event for event in page.events
        if event["method"] == "Runtime.exceptionThrown"
        or (event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error")
      ]  # fmt: skip
      assert not bad, bad

  asyncio.run(main())


@pytest.fixture(scope="module")
def running(exports, tmp_path_factory):
  """Models of four kinds under one roof."""
  path = tmp_path_factory.mktemp("page") / "models.config"
  entries = "".join(
    f'config {{ name: "{kind}" base_path: "{exports[kind].parent}" }}'
    for kind in ("classifier", "tokens", "questions", "pretraining")
  )
  path.write_text(f"model_config_list {{ {entries} }}")
  with running_server.running(None, models_config=str(path)) as one:
    yield one


def test_it_is_used_by_keyboard_alone(running, tmp_path):
  async def use(page: Page):
    await page.open(f"{running.url}/?model=classifier")
    for _ in range(8):
      await page.press("Tab")
      if await page.run("document.activeElement.id") == "text":
        break
    await page.type("the old <b>house</b> unbelievably")
    await page.press("Enter", control=True)
    await page.answered()
    text = await page.text()
    assert "yes" in text and "no" in text and "Tokens that the model reads" in text
    tokens = await page.run("[...document.querySelectorAll('.tokens li')].map(x => x.textContent)")
    assert tokens[:4] == ["[CLS]", "the", "old", "<"] and tokens[-1] == "[SEP]"
    assert any(token.startswith("##") for token in tokens) and "## marks a piece" in text
    meters = await page.run("[...document.querySelectorAll('[role=meter]')].map(x =>"
                            " [x.ariaLabel, x.ariaValueText])")  # fmt: skip
    assert {name for name, _ in meters} == {"yes", "no"} and all(v[-1] == "%" for _, v in meters)
    # The address brings the text back.
    kept = await page.run("location.href")
    assert "old" in kept and "model=classifier" in kept
    await page.open(kept)
    await page.answered()
    assert (await page.run("document.getElementById('text').value")).startswith("the old <b>")
    # What is shown to copy asks the same.
    shown = await page.run("[...document.querySelectorAll('details pre')].map(x => x.textContent)")
    status, answer = running.request("/v1/models/classifier:predict", shown[0].encode())
    assert status == 200 and answer["predictions"][0]["label"] in ("yes", "no")
    assert shown[1].startswith(f"curl {running.url}/v1/models/classifier:predict -d '")

  drive(tmp_path, use)


def test_examples_of_every_kind(running, tmp_path):
  async def use(page: Page):
    for kind, expected in (
      ("classifier", "yes"), ("tokens", "Tokens that"), ("questions", "Answers"),
      ("pretraining", "Mask 1"),
    ):  # fmt: skip
      await page.open(f"{running.url}/?model={kind}")
      assert await page.run("document.querySelectorAll('.examples button').length") >= 2
      # By the keyboard: a button that has the focus is pressed by Enter.
      await page.run("document.querySelector('.examples button').focus()")
      await page.press("Enter")
      await page.answered()
      assert expected in await page.text()
      for width in (1200, 390):
        for scheme in ("light", "dark"):
          await page.picture(kind, width, scheme)

  drive(tmp_path, use)


def test_what_was_cut_and_how_a_context_was_read(running, tmp_path):
  async def use(page: Page):
    await page.open(f"{running.url}/?model=classifier&text={'the+' * 200}")
    await page.answered()
    assert "of the text's 200 pieces those at the end were cut off" in await page.text()
    context = "the+house+is+old.+" * 40
    await page.open(f"{running.url}/?model=questions&question=who%3F&context={context}")
    await page.answered()
    text = await page.text()
    assert "overlapping windows" in text and "up to 16 pieces after" in text

  drive(tmp_path, use)


def test_errors_are_told(running, tmp_path):
  async def use(page: Page):
    text = "the+house+is+old.+" * 600
    await page.open(f"{running.url}/?model=questions")
    await page.run(
      f"for (const x of document.querySelectorAll('textarea')) x.value = {text!r}.repeat(8);"
    )
    await page.run("document.querySelector('button.main').click()")
    await page.until("document.querySelector('[role=alert]') !== null")
    assert "expected at most" in await page.text()
    page.events.clear()  # The browser reports the status 400, too.

  drive(tmp_path, use)


@pytest.mark.skipif(not AXE, reason="needs BERT_TF_AXE, the file axe.min.js of axe-core")
def test_an_accessibility_checker_finds_nothing(running, tmp_path):
  source = pathlib.Path(AXE).read_text()

  async def use(page: Page):
    await page.call("Page.setBypassCSP", enabled=True)
    for kind in ("classifier", "tokens", "questions", "pretraining"):
      for scheme in ("light", "dark"):
        await page.open(f"{running.url}/?model={kind}")
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.run("document.querySelector('.examples button').click()")
        await page.answered()
        await page.run("document.querySelector('details').open = true")
        await page.run(source + "; true")
        found = json.loads(
          await page.run(
            "axe.run().then(r => JSON.stringify(r.violations.map(v =>"
            " [v.id, v.help, v.nodes.map(n => n.html)])))"
          )
        )
        assert not found, (kind, scheme, found)

  drive(tmp_path, use)
