"""The script extract_features.py as its user meets it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

FLAGS = {
  "input_file": None, "output_file": None, "layers": "-1,-2,-3,-4", "bert_config_file": None,
  "max_seq_length": 128, "init_checkpoint": None, "vocab_file": None, "do_lower_case": True,
  "batch_size": 32, "use_tpu": False, "master": None, "num_tpu_cores": 8,
  "use_one_hot_embeddings": False,
}  # fmt: skip


@pytest.fixture
def script(root, golden, tmp_path):
  """Runs the script in an empty directory; forbids TensorFlow unless told otherwise."""

  def run(tensorflow=False, **flags) -> subprocess.CompletedProcess:
    flags = {
      "input_file": golden / "extract_input.txt",
      "output_file": "out.jsonl",
      "vocab_file": golden / "vocab.txt",
      "bert_config_file": golden / "bert_config.json",
      "init_checkpoint": golden / "tiny_ckpt" / "bert_model.ckpt",
      "layers": "-1,-2",
      "max_seq_length": 24,
      **flags,
    }
    forbid = "" if tensorflow else "sys.modules['tensorflow'] = None;"
    code = f"import sys, runpy; {forbid} runpy.run_path({str(root / 'extract_features.py')!r},"
    code += " run_name='__main__')"
    return subprocess.run(
      [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in flags.items())],
      cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

  return run


def test_flags_are_the_originals(root):
  code = (
    "from bert_tf.scripts import extract_features as script; import json;"
    "print(json.dumps({n: script.FLAGS[n].default for n in script.FLAGS}))"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
  )
  defaults = json.loads(result.stdout)
  assert {name: defaults[name] for name in FLAGS} == FLAGS


def test_golden_through_the_script(script, golden, tmp_path):
  result = script(tensorflow=True, batch_size=5, use_one_hot_embeddings=True)
  assert result.returncode == 0, result.stderr
  lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
  with gzip.open(golden / "cli" / "extract_tiny.jsonl.gz", "rt", encoding="utf-8") as file:
    expected = file.read().splitlines()
  assert len(lines) == len(expected)
  for ours, theirs in zip(map(json.loads, lines), map(json.loads, expected), strict=True):
    assert [entry["token"] for entry in ours["features"]] == [
      entry["token"] for entry in theirs["features"]
    ]
    np.testing.assert_allclose(
      [layer["values"] for entry in ours["features"] for layer in entry["layers"]],
      [layer["values"] for entry in theirs["features"] for layer in entry["layers"]],
      rtol=0,
      atol=1e-5,
    )
  assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ({"layers": "-1,-2,-3,-4"}, "error: --layers: expected layers from -2 to 1"),
    ({"input_file": "nothing.txt"}, "error: --input_file: expected a file"),
    ({"bert_config_file": "nothing.json"}, "nothing.json"),
    ({"vocab_file": "nothing.txt"}, "nothing.txt"),
    ({"init_checkpoint": "nothing.ckpt"}, "init checkpoint: expected a checkpoint, found nothing"),
    ({"max_seq_length": 129}, "max_seq_length=129 is more than the 128 positions"),
    ({"max_seq_length": 2}, "--max_seq_length of at least 3"),
    ({"batch_size": 0}, "error: --batch_size: expected at least 1, found 0"),
    ({"dtype": "float8"}, "--dtype"),
    ({"output_file": "/proc/none/out.jsonl"}, "error: cannot write /proc/none/out.jsonl"),
  ],
)
def test_bad_input_is_refused_before_tensorflow_is_loaded(script, tmp_path, flags, message):
  result = script(**flags)
  assert result.returncode == 1
  assert message in result.stderr
  assert "Traceback" not in result.stderr
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["./in.txt", "link.txt", "vocab.txt"])
def test_no_input_is_overwritten(script, golden, tmp_path, output):
  (tmp_path / "in.txt").write_text("some text\n")
  (tmp_path / "link.txt").symlink_to("in.txt")
  (tmp_path / "vocab.txt").write_bytes((golden / "vocab.txt").read_bytes())
  result = script(input_file="in.txt", output_file=output, vocab_file="vocab.txt")
  assert result.returncode == 1
  assert f"error: --output_file: '{output}' is an input file" in result.stderr
  assert (tmp_path / "in.txt").read_text() == "some text\n"
  assert len(list(tmp_path.iterdir())) == 3


def test_vocabulary_of_another_size(script, golden):
  result = script(vocab_file=golden / "vocab_cased.txt", do_lower_case=False)
  assert result.returncode == 1
  assert "expected at most the 1200 tokens" in result.stderr
  assert len(result.stderr.splitlines()) == 1
