from __future__ import annotations

import subprocess
import sys

import pytest


def run(root, *flags: str) -> subprocess.CompletedProcess[str]:
  """The script with TensorFlow out of reach: what it refuses, it refuses without."""
  code = (
    "import sys, runpy\n"
    "sys.modules['tensorflow'] = None\n"
    f"sys.path.insert(0, {str(root)!r})\n"
    f"sys.argv = ['export_model.py', *{list(flags)!r}]\n"
    f"runpy.run_path({str(root / 'export_model.py')!r}, run_name='__main__')\n"
  )
  return subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
  )


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--init_checkpoint=nowhere"], "expected a checkpoint, found nothing at 'nowhere'"),
    ([], "--bert_config_file: expected a file"),
    (["--bert_config_file={golden}/bert_config.json"], "--vocab_file: expected a file"),
    (
      [
        "--bert_config_file={golden}/bert_config.json",
        "--vocab_file={golden}/vocab_cased.txt",
      ],
      "tokens that the config's vocab_size says, found 1400",
    ),
    (
      [
        "--bert_config_file={golden}/bert_config.json",
        "--vocab_file={golden}/vocab.txt",
        "--labels=a,b",
        "--max_seq_length=129",
      ],
      "--max_seq_length=129 is more than the 128 positions",
    ),
    (
      [
        "--bert_config_file={golden}/bert_config.json",
        "--vocab_file={golden}/vocab.txt",
        "--labels=a,b",
        "--labels_file=x",
      ],
      "expected --labels or --labels_file, found both",
    ),
    (
      [
        "--bert_config_file={golden}/bert_config.json",
        "--vocab_file={golden}/vocab.txt",
        "--task=encoder",
        "--layers=last",
      ],
      "expected --layers as numbers, found last",
    ),
  ],
)
def test_bad_input_is_refused_without_tensorflow(root, golden, tmp_path, flags, message):
  base = [
    "--task=classification",
    f"--init_checkpoint={golden}/tiny_heads_ckpt",
    f"--export_dir={tmp_path}/export",
  ]
  result = run(root, *base, *(flag.format(golden=golden) for flag in flags))
  assert result.returncode == 1
  assert message in result.stderr and result.stderr.count("error:") == 1, result.stderr
  assert not (tmp_path / "export").exists()


def test_a_flag_that_contradicts_the_tokenizers_file_is_refused(root, golden, tmp_path):
  (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
  (tmp_path / "model.ckpt-1.index").touch()
  flags = [
    "--task=classification",
    f"--init_checkpoint={tmp_path}/model.ckpt-1",
    f"--export_dir={tmp_path}/export",
    f"--bert_config_file={golden}/bert_config.json",
    f"--vocab_file={golden}/vocab.txt",
    "--labels=a,b",
  ]
  result = run(root, *flags, "--do_lower_case")
  assert result.returncode == 1
  assert "expected --do_lower_case=False, as tokenizer_config.json beside" in result.stderr
  # Without the flag it comes as far as TensorFlow, which is out of reach.
  assert "tensorflow" in run(root, *flags).stderr.splitlines()[-1]
