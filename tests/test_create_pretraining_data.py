from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys

import pytest

from bert_tf.data import records

DEFAULTS = {
  "input_file": None,
  "output_file": None,
  "vocab_file": None,
  "do_lower_case": True,
  "do_whole_word_mask": False,
  "max_seq_length": 128,
  "max_predictions_per_seq": 20,
  "random_seed": 12345,
  "dupe_factor": 10,
  "masked_lm_prob": 0.15,
  "short_seq_prob": 0.1,
}


@pytest.fixture
def script(root, golden, tmp_path):
  """Runs the script as a user does, in an empty directory."""

  def run(**flags) -> subprocess.CompletedProcess:
    flags = {
      "input_file": golden / "corpus.txt",
      "output_file": "out.tfrecord",
      "vocab_file": golden / "vocab.txt",
      **flags,
    }
    return subprocess.run(
      [sys.executable, root / "create_pretraining_data.py"]
      + [f"--{name}={value}" for name, value in flags.items() if value is not None],
      cwd=tmp_path,
      capture_output=True,
      text=True,
      timeout=120,
    )

  return run


def test_flags_are_the_originals(root):
  code = (
    "from bert_tf.scripts import create_pretraining_data as script; import json;"
    "print(json.dumps({n: script.FLAGS[n].default for n in script.FLAGS}))"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
  )
  defaults = json.loads(result.stdout)
  assert {name: defaults[name] for name in DEFAULTS} == DEFAULTS


def test_golden_through_the_script(script, golden, tmp_path):
  result = script(
    max_seq_length=64,
    max_predictions_per_seq=10,
    dupe_factor=3,
    do_lower_case=False,
    do_whole_word_mask=True,
    random_seed=7,
    vocab_file=golden / "vocab_cased.txt",
  )
  assert result.returncode == 0, result.stderr
  with gzip.open(golden / "pretrain" / "cased_wwm_seed7.jsonl.gz", "rt") as file:
    expected = [json.loads(line) for line in file]
  path = tmp_path / "out.tfrecord"
  assert [records.decode_example(data) for data in records.read_records(path)] == expected
  for line in ("*** Reading from input files ***", "*** Example ***", "Wrote 309 total instances"):
    assert line in result.stderr
  assert result.stderr.count("*** Example ***") == 20
  assert os.listdir(tmp_path) == ["out.tfrecord"]


@pytest.mark.parametrize(
  "flags, message",
  [
    ({"input_file": "none*.txt"}, "--input_file: expected files that match 'none*.txt'"),
    ({"input_file": None}, "input_file"),
    ({"vocab_file": "none.txt"}, "vocab_file: expected a file, found nothing at 'none.txt'"),
    ({"output_file": "/proc/none/out"}, "--output_file: cannot write in the directory"),
    ({"output_file": "a,b", "stream": True}, "expected one name with --num_workers or --stream"),
    ({"stream": True, "shard_megabytes": 0}, "expected at least 64 kB of text, found 0 bytes"),
    ({"dynamic_masking": True, "do_whole_word_mask": True}, "has no effect with --dynamic_masking"),
    ({"do_lower_case": False}, "--do_lower_case=False with a vocabulary without capitals"),
    ({"max_seq_length": 4}, "--max_seq_length: expected at least 5, found 4"),
    ({"max_predictions_per_seq": 0}, "--max_predictions_per_seq: expected at least 1"),
    ({"dupe_factor": 0}, "--dupe_factor: expected at least 1"),
    ({"masked_lm_prob": 1.5}, "--masked_lm_prob: expected at most 1"),
    ({"short_seq_prob": -1}, "--short_seq_prob: expected at least 0"),
  ],
)
def test_mistakes_are_one_line(script, tmp_path, flags, message):
  result = script(**flags)
  assert result.returncode == 1
  assert message in result.stderr
  assert "Traceback" not in result.stderr
  assert os.listdir(tmp_path) == []


def test_a_cased_vocabulary_with_the_default_flag(script, golden, tmp_path):
  result = script(vocab_file=golden / "vocab_cased.txt")
  assert result.returncode == 1
  assert "error: expected a model and a --do_lower_case that agree" in result.stderr
  assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("output", ["vocab.txt", "text.txt", "soft.txt", "hard.txt"])
@pytest.mark.parametrize("source", ["text.txt", "t*xt.txt"])
def test_no_input_is_overwritten(script, golden, tmp_path, output, source):
  for name in ("vocab", "corpus"):
    target = tmp_path / f"{'vocab' if name == 'vocab' else 'text'}.txt"
    target.write_bytes((golden / f"{name}.txt").read_bytes())
  (tmp_path / "soft.txt").symlink_to("text.txt")
  (tmp_path / "hard.txt").hardlink_to(tmp_path / "text.txt")
  result = script(input_file=source, vocab_file="vocab.txt", output_file=f"new,{output}")
  assert result.returncode == 1
  assert f"error: --output_file: '{output}' is an input file" in result.stderr
  assert (tmp_path / "text.txt").read_bytes() == (golden / "corpus.txt").read_bytes()
  assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize("flags", [{}, {"output_file": "a,b.gz"}, {"stream": True}])
def test_a_full_disk_is_one_line(script, tmp_path, flags):
  """A limit on the size of files stands in for the end of the disk."""
  old = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
  try:
    result = script(dupe_factor=2, **flags)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
  assert result.returncode == 1
  assert "error: cannot write " in result.stderr and "make room" in result.stderr
  assert "Traceback" not in result.stderr
  assert [name for name in os.listdir(tmp_path) if not name.endswith(".plan.json")] == []


@pytest.mark.parametrize("mode", [{}, {"stream": True}])
def test_whole_sequences(script, golden, tmp_path, mode):
  """--dynamic_masking: once over the text unless told otherwise, nothing masked."""
  result = script(dynamic_masking=True, **mode)
  assert result.returncode == 0, result.stderr
  found = [
    records.decode_example(data)
    for path in tmp_path.glob("*.tfrecord")
    for data in records.read_records(path)
  ]
  tokens = (golden / "vocab.txt").read_text(encoding="utf-8").split("\n")
  assert f"Wrote {len(found)} " in result.stderr
  assert 10 < len(found) < 100
  for example in found:
    assert set(example) == set(records.unmasked_pretraining(128))
    assert tokens.index("[MASK]") not in example["input_ids"]
    assert tokens[example["input_ids"][0]] == "[CLS]"


def test_words_of_text_without_spaces(script, tmp_path):
  """A segmenter of the user's own, from the directory where the script is started."""
  (tmp_path / "my_words.py").write_text(
    "def pairs(line):\n  return [line[i:i + 2] for i in range(0, len(line), 2)]\n"
  )
  (tmp_path / "zh.txt").write_text(
    "\u4e2d\u6587\u4e2d\u6587\n\u6587\u4e2d\n\n" * 9, encoding="utf-8"
  )
  flags = {"input_file": tmp_path / "zh.txt", "do_whole_word_mask": True}
  result = script(**flags, segmenter="my_words:pairs")
  assert result.returncode == 0, result.stderr
  assert "nothing says where words begin" not in result.stderr
  result = script(**flags)
  assert "pass --segmenter=jieba, a --words_file" in result.stderr
  result = script(segmenter="my_words:pairs")
  assert result.returncode and "have no effect without --do_whole_word_mask" in result.stderr
  result = script(**flags, segmenter="my_words:none")
  assert result.returncode and "--segmenter=my_words:none: expected a function" in result.stderr
