"""What words of a command line mean: no word is dropped, and what is wrong is said on one line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from bert_tf import __main__ as program
from bert_tf import __version__
from bert_tf.scripts import help_page


def start(root, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, *words], capture_output=True, text=True, timeout=60,
    env={**os.environ, "PYTHONPATH": str(root), **environment},
  )  # fmt: skip


def error_of(root, *words: str) -> str:
  """The one line that the script ends with."""
  ended = start(root, *words)
  assert ended.returncode == 1
  assert ended.stderr.count("\n") == 1, ended.stderr
  return ended.stderr


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ("--stream False", "expected --stream=False, found --stream False"),
    ("--stream --do_lower true --x=y", "expected --do_lower_case=true, found --do_lower_case true"),
    ("--output_file out stream", "found the word 'stream'; did you mean --stream?"),
    ("—dupe_factor=1", "did you mean --dupe_factor=1?"),
    ("--output_file=my out", "found the word 'out'; a value with spaces stands in quotes"),
    ("--steam", "Unknown command line flag 'steam'. Did you mean: stream ?"),
    ("--dupe_factor=many", "--dupe_factor: expected a whole number, found 'many'"),
    ("--stream=maybe", "--stream=maybe"),
    ("--stream --input_file=x", "expected --output_file and --vocab_file, found none; see --help"),
  ],
)
def test_wrong_words(root, words, message):
  found = error_of(root, str(root / "create_pretraining_data.py"), *words.split(" "))
  assert message in found


def test_values_may_stand_apart(root):
  """As in the original: --name value."""
  script = str(root / "create_pretraining_data.py")
  names = ["--input_file", "nothing", "--output_file", "-b", "--vocab_file", "c", "-nodo_lower"]
  assert "nothing" in error_of(root, script, *names)


def parsed(root, name: str, *words: str, **environment: str) -> str:
  """The value that a flag of create_pretraining_data.py comes to have."""
  code = (
    "import sys\n"
    "from absl import flags\n"
    "from bert_tf.scripts import command_line, create_pretraining_data as script\n"
    "command_line.parse(script, sys.argv)\n"
    f"flag = flags.FLAGS[{name!r}]\n"
    "print(flag.value, flag.present)\n"
  )
  needed = ["--input_file=x", "--output_file=y", "--vocab_file=v"]
  ended = start(root, "-c", code, *needed, *words, **environment)
  assert ended.returncode == 0, ended.stderr
  return ended.stdout.strip()


@pytest.mark.parametrize("words", ["--do_lower=False", "--nodo_lower", "--do_lower_case=false"])
def test_the_name_in_the_original_s_readme(root, words):
  assert parsed(root, "do_lower_case", words) == "False 1"


def test_home(root):
  paths = "--input_file=~/a.txt,~/b*.txt,c~d"
  expected = "/home/ada/a.txt,/home/ada/b*.txt,c~d 2"
  assert parsed(root, "input_file", paths, HOME="/home/ada") == expected


def test_words_in_a_file(root, tmp_path):
  (tmp_path / "flags").write_text("--do_lower=False\n--dupe_factor=3\n")
  assert parsed(root, "do_lower_case", f"--flagfile={tmp_path / 'flags'}") == "False 1"


def test_every_path_is_known_by_its_name(root):
  """A flag whose help speaks of a file or a directory, and whose name does not, would be missed."""
  from bert_tf import script

  paths = "input_file output_dir init_checkpoint export_dir vocab_file labels_file input output"
  assert all(map(script.is_path, paths.split()))
  assert not any(map(script.is_path, ["task_name", "profile_steps", "tpu_name", "labels"]))


def test_help_is_grouped_and_fast(root):
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  shown = start(root, str(root / "run_classifier.py"), "--help")
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert shown.returncode == 0 and not shown.stderr
  assert sum(line.startswith("  --") for line in shown.stdout.splitlines()) <= 15
  assert "What to do:\n  --[no]do_train\n      Whether to train. (default: false)" in shown.stdout
  assert "(default: 5e-05)" in shown.stdout
  assert "run_classifier.py --helpfull" in shown.stdout
  # Of processor time, so that other work on the machine does not matter.
  seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  assert seconds < 1.5


def test_all_flags_are_shown_once(root):
  code = (
    "import importlib, sys\n"
    "from absl import flags\n"
    "from bert_tf.scripts import help_page\n"
    "for name in sys.argv[1:]:\n"
    "  module = importlib.import_module('bert_tf.scripts.' + name)\n"
    "  key = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module)}\n"
    "  assert key, name\n"
    "  page = help_page.page(module, 'program', complete=True)\n"
    "  shown = [line.strip() for line in page.splitlines() if line.startswith('  --')]\n"
    "  shown = [word.replace('[no]', '').lstrip('-').split('=')[0] for word in shown]\n"
    "  assert sorted(shown) == sorted(key), (name, set(shown) ^ key)\n"
    "  first = ' '.join(help_page.FIRST[name].values()).split()\n"
    "  assert set(first) <= key, (name, set(first) - key)\n"
    "  assert 6 <= len(first) <= 13, name\n"
    "  for flag in list(flags.FLAGS): delattr(flags.FLAGS, flag)\n"
  )
  for name in help_page.FIRST:
    ended = start(root, "-c", code, name)
    assert ended.returncode == 0, ended.stderr


def test_version(root):
  shown = start(root, "-m", "bert_tf", "--version").stdout
  assert shown.startswith(f"bert_tf {__version__} (Python 3.")
  assert "tensorflow 2." in shown


def test_every_script_is_a_command(root):
  scripts = {name for name, _ in program.SCRIPTS.values()}
  assert scripts == set(help_page.FIRST)
  assert all((root / f"{name}.py").exists() for name in scripts)


def test_a_command_is_its_script(root):
  shown = start(root, "-m", "bert_tf", "classify", "--help").stdout
  assert "Usage: python -m bert_tf classify --flag=value" in shown
  assert "Fine-tunes BERT on sentences or pairs" in shown
  found = error_of(root, "-m", "bert_tf", "classify", "--do_train", "False")
  assert "expected --do_train=False" in found


def test_home_in_other_commands(monkeypatch):
  monkeypatch.setenv("HOME", "/home/ada")
  args = program._parse(["learn-vocab", "--input_file=~/a,~/b", "--output_file=~/c"])
  assert (args.input_file, args.output_file) == ("/home/ada/a,/home/ada/b", "/home/ada/c")
