"""Hub ids: the real client against a server on loopback, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hub_server import Hub

from bert_tf import checkpoints, names
from bert_tf.model_dir import describe

ID = "hf://acme/bert"


@pytest.fixture
def hub(golden):
  directory = golden / "formats" / "huggingface" / "BertModel"
  files = {path.name: path.read_bytes() for path in directory.iterdir()}
  hub = Hub({**files, "vocab.txt": b"[PAD]\na\n", "onnx/model.onnx": b"1", "README.md": b"2"})
  yield hub
  hub.close()


@pytest.fixture
def fetch(hub, tmp_path, root):
  """Fetches an id; returns what the process printed, the directory or the error."""

  def run(*paths, setup="", **environment):
    code = f"""
import bert_tf, resource
from bert_tf.model_dir import hub
{setup}
for path in {paths or (ID,)!r}:
  try:
    print("done", hub.fetch(path))
  except bert_tf.UserError as error:
    print("error", error)
"""
    unwanted = ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy")
    variables = {k: v for k, v in os.environ.items() if k not in unwanted}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache"), **environment}
    result = subprocess.run(
      [sys.executable, "-c", code], env=variables, cwd=root, capture_output=True, text=True,
      timeout=120,
    )  # fmt: skip
    assert result.stdout.startswith(("done ", "error ")), result.stderr
    return result.stdout.strip()

  return run


def test_fetches_what_a_bert_needs_and_loads_it(hub, fetch, golden):
  directory = fetch().removeprefix("done ")
  assert sorted(os.listdir(directory)) == ["config.json", "model.safetensors", "vocab.txt"]
  from bert_tf.modeling import BertModel

  model = BertModel(describe(directory).config)
  assert not checkpoints.load(model, directory).unexpected
  same = checkpoints.formats.open_checkpoint(str(golden / "formats" / "huggingface" / "BertModel"))
  name = "bert/pooler/dense/bias"
  np.testing.assert_array_equal(names.named_variables(model)[name], same.read(name))
  # The second time nothing but the revision is asked for, and offline nothing at all.
  asked = len([r for r in hub.requests if "/resolve/" in r[1]])
  assert fetch() == f"done {directory}"
  assert len([r for r in hub.requests if "/resolve/" in r[1]]) == asked
  before = len(hub.requests)
  assert fetch(HF_HUB_OFFLINE="1") == f"done {directory}"
  assert len(hub.requests) == before


def test_broken_transfer_is_resumed(hub, fetch):
  # More than the client's buffer, so that something is on disk when the connection breaks.
  content = np.random.RandomState(0).bytes(24 << 20)
  hub.files["model.safetensors"] = content
  hub.break_after["model.safetensors"] = 15 << 20
  directory = fetch().removeprefix("done ")
  with open(f"{directory}/model.safetensors", "rb") as file:
    assert file.read() == content
  ranges = [r[2] for r in hub.requests if r[0] == "GET" and r[1].endswith(".safetensors")]
  assert ranges[0] is None and int(ranges[1].removeprefix("bytes=").rstrip("-")) >= 10 << 20


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_wrong_checksum(hub, fetch, name):
  hub.corrupt.add(name)
  assert f"{name} was damaged on the way (wrong checksum)" in fetch()
  hub.corrupt.clear()
  directory = fetch().removeprefix("done ")
  with open(f"{directory}/{name}", "rb") as file:
    assert file.read() == hub.files[name]


def test_older_weights_where_there_are_no_newer_ones(hub, fetch):
  hub.files["pytorch_model.bin"] = hub.files.pop("model.safetensors")
  directory = fetch().removeprefix("done ")
  assert sorted(os.listdir(directory)) == ["config.json", "pytorch_model.bin", "vocab.txt"]
  del hub.files["pytorch_model.bin"]
  hub.files.update({"bert_model.ckpt.index": b"1", "bert_model.ckpt.data-00000-of-00001": b"2"})
  assert fetch(HF_HOME=directory + "2").startswith("done ")


def test_names_that_mean_nothing(fetch):
  names = {
    "hf://acme/nothing": "the hub has no such model",
    "hf://acme/bert@v3": "has this model but no revision 'v3'",
    "hf://acme/bert/file": "expected hf://organisation/name or",
    "hf://": "expected hf://organisation/name or",
    "hf://../bert": "no valid name of a model",
  }
  answers = fetch(*names).splitlines()
  for answer, message in zip(answers, names.values(), strict=True):
    assert answer.startswith("error ") and message in answer


def test_revision(fetch):
  assert fetch("hf://acme/bert@v2").startswith("done ")


def test_no_weights(hub, fetch):
  del hub.files["model.safetensors"]
  assert "expected one of model.safetensors" in fetch()


def test_no_connection_and_nothing_in_the_cache(hub, fetch):
  assert "not in the cache" in fetch(HF_HUB_OFFLINE="1")
  hub.close()
  assert fetch().startswith("error hf://acme/bert: ")


def test_disk_full(hub, fetch):
  hub.files["model.safetensors"] = bytes(4 << 20)
  # A real failure of a real write: files of this process may not grow beyond a megabyte.
  limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))"
  answer = fetch(setup=limit)
  assert answer.startswith("error hf://acme/bert: cannot be fetched: ") and "large" in answer
