"""What README.md and docs/ show is there and runs, or says why it is not run."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

import pages
import pytest

from bert_tf import __main__ as program

SCRIPTS = {f"{name}.py": name for name, _ in program.SCRIPTS.values()}
COMMANDS = [(block, words) for block in pages.EVERY for words in block.commands()]

_DUMP = """
import importlib, json, sys
from absl import flags
module = importlib.import_module("bert_tf.scripts." + sys.argv[1])
print(json.dumps([flag.name for flag in flags.FLAGS.get_key_flags_for_module(module)]))
"""


@pytest.fixture(scope="module")
def flags_of_scripts(root) -> dict[str, set[str]]:
  """By processes of their own, since scripts define flags of the same names."""
  started = {
    name: subprocess.Popen(
      [sys.executable, "-c", _DUMP, name], stdout=subprocess.PIPE, text=True, cwd=root
    )
    for name in SCRIPTS.values()
  }
  found = {
    name: json.loads(process.communicate(timeout=120)[0]) for name, process in started.items()
  }
  assert all(found.values())
  return {name: set(flags) for name, flags in found.items()}


def flags_of_command(name: str) -> set[str]:
  """Of a command that is no script."""
  parser = argparse.ArgumentParser()
  program.importlib.import_module(program.COMMANDS[name][0]).add_arguments(parser)
  return {flag.lstrip("-") for flag in parser._option_string_actions}


def flags_of(words: list[str], flags_of_scripts, root) -> set[str] | None:
  """The flags of what a command starts; None where that is no program of this repository."""
  if words[0] == "bert-tf":
    words = ["python", "-m", "bert_tf", *words[1:]]
  if words[1:3] == ["-m", "bert_tf"]:
    command = words[3]
    if command in program.SCRIPTS:
      return flags_of_scripts[program.SCRIPTS[command][0]]
    if command in program.STARTING_SCRIPTS:
      script = words[4] if words[4] in SCRIPTS.values() else "run_classifier"
      return flags_of_command(command) | flags_of_scripts[script]
    return flags_of_command(command)
  if words[0].endswith("python") and words[1] in SCRIPTS:
    return flags_of_scripts[SCRIPTS[words[1]]]
  if words[0].endswith("python") and words[1].endswith(".py"):
    source = (root / words[1]).read_text(encoding="utf-8")
    return set(re.findall(r'"--(\w+)"', source)) | flags_of_scripts["run_classifier"]
  return None


def test_there_are_blocks_to_look_at():
  languages = [block.language for block in pages.EVERY]
  assert languages.count("python") >= 10 and languages.count("shell") >= 25
  assert len(COMMANDS) >= 30


@pytest.mark.parametrize(
  ("block", "words"), COMMANDS, ids=[f"{b.name}-{n}" for n, (b, _) in enumerate(COMMANDS)]
)
def test_programs_and_flags_exist(block, words, flags_of_scripts, root):
  known = flags_of(words, flags_of_scripts, root)
  if known is None:
    return
  for word in words[2:]:
    name = word.lstrip("-").partition("=")[0]
    if re.match(r"--?[a-z]", word) and name not in ("help", "helpfull", "version", "m"):
      aliases = {name, name.removeprefix("no"), name.replace("-", "_"), name.removeprefix("no-")}
      assert aliases & known, f"{block.name}: {words[1]} has no flag {word}"


def test_a_wrong_flag_would_be_found(flags_of_scripts, root):
  words = ["python", "run_squad.py", "--no_such_flag=1"]
  with pytest.raises(AssertionError, match="no flag --no_such_flag"):
    test_programs_and_flags_exist(pages.EVERY[0], words, flags_of_scripts, root)


def test_flags_named_in_sentences_exist(flags_of_scripts, root):
  """`--flag` in running text: of some script, command, benchmark, or of a tool that is named."""
  # Those of absl, Docker, Slurm, Beam and the scorer of SQuAD, and an alias.
  known = {"help", "helpfull", "verbosity", "gpus", "user", "shm", "signal", "requeue", "do_lower"}
  known |= {"runner", "environment_type", "setup_file", "na-prob-file"}
  # Fields of its options; it cannot be imported without Apache Beam.
  beam = (root / "bert_tf" / "data" / "beam.py").read_text(encoding="utf-8")
  known |= set(re.findall(r"^  (\w+): ", beam, re.M))
  known |= {flag for flags in flags_of_scripts.values() for flag in flags}
  for name in program.COMMANDS:
    known |= flags_of_command(name)
  for path in (root / "benchmarks").glob("*.py"):
    known |= set(re.findall(r'"--([\w-]+)"', path.read_text(encoding="utf-8")))
  missing = []
  for page in pages.PAGES:
    for flag in re.findall(r"`--(\w[\w-]*)", page.read_text(encoding="utf-8")):
      if not {flag, flag.removeprefix("no"), flag.removeprefix("no-")} & known:
        missing.append(f"{page.name}: --{flag}")
  assert not missing, "\n".join(missing)


def anchors(page) -> set[str]:
  """What the headings of a page are called in links."""
  headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
  return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(root):
  missing = []
  for page in pages.PAGES:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]*))?\)", text):
      path = page.parent / target if target else page
      if "://" not in target and not (path.exists() and (not anchor or anchor in anchors(path))):
        missing.append(f"{page.name}: {target}#{anchor}")
  assert not missing


@pytest.fixture(scope="module")
def place(root, golden, tmp_path_factory):
  """A directory with all files that the blocks name, small, and the scripts beside them."""
  home = tmp_path_factory.mktemp("docs")
  for name in [*SCRIPTS, "sample_text.txt"]:
    shutil.copy(root / name, home)
  bert = home / "bert_model"
  subprocess.run(
    [
      sys.executable, "-m", "bert_tf", "extend-positions", str(golden / "tiny_ckpt"), str(bert),
      "--max_position_embeddings=512", f"--bert_config_file={golden / 'bert_config.json'}",
      f"--vocab_file={golden / 'vocab.txt'}",
    ],
    check=True, timeout=120, cwd=root, capture_output=True,
  )  # fmt: skip
  [weights] = bert.glob("*.index")
  for path in bert.glob(f"{weights.stem}.*"):
    path.rename(bert / path.name.replace(weights.stem, "bert_model.ckpt"))
  (bert / "checkpoint").unlink(missing_ok=True)
  shutil.copytree(bert, home / "uncased_L-12_H-768_A-12")
  for name, source in {
    "vocab.txt": "vocab.txt", "train-v1.1.json": "squad_v1.json", "dev-v1.1.json": "squad_v1.json",
    "corpus.txt": "corpus.txt", "input.txt": "extract_input.txt",
  }.items():  # fmt: skip
    shutil.copy(golden / source, home / name)
  shutil.copytree(golden / "glue", home / "glue")
  (home / "corpus").mkdir()
  shutil.copy(golden / "corpus.txt", home / "corpus" / "a.txt")
  return home


def run(command: list[str], place, root, **more) -> None:
  environment = {
    **os.environ, "PYTHONPATH": str(root), "BERT_DIR": str(place / "bert_model"),
    "BERT": str(place / "bert_model"), "SQUAD": str(place), "GLUE_DIR": str(place / "glue"),
    "DATA_DIR": str(place / "glue"),
    "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}",
  }  # fmt: skip
  ended = subprocess.run(
    command, cwd=place, env=environment, capture_output=True, text=True, timeout=900, **more
  )
  assert ended.returncode == 0, ended.stdout[-1500:] + ended.stderr[-3000:]


@pytest.mark.long
def test_python_blocks_run(place, root):
  """All of them in one process, page by page; those of one page build on each other."""
  run(
    [sys.executable, "create_pretraining_data.py", "--input_file=corpus.txt", "--dupe_factor=1",
     "--output_file=records.tfrecord", "--vocab_file=vocab.txt"], place, root,
  )  # fmt: skip
  run(
    [sys.executable, "convert_checkpoint.py", "--input=bert_model", "--output=theirs",
     "--to=huggingface"], place, root,
  )  # fmt: skip
  code = ["import tensorflow as tf"]
  for page in pages.PAGES:
    found = [b for b in pages.blocks(page) if b.language == "python" and b.reason is None]
    code.append("space = {'tf': tf, '__name__': 'page'}")
    for block in found:
      code.append(f"print({block.name!r}, flush=True)")
      code.append(f"exec(compile({block.text!r}, {block.name!r}, 'exec'), space)")
  run([sys.executable, "-c", "\n".join(code)], place, root)
  # A block of commands writes it, too.
  shutil.rmtree(place / "theirs")


SHELL = [b for b in pages.EVERY if b.language == "shell" and b.reason is None]
# Those that need no TensorFlow, and so take a second.
QUICK = [b for b in SHELL if all("create_pretraining_data" in " ".join(w) for w in b.commands())]


def run_shell(block, place, root) -> None:
  text = block.text.replace("/tmp/", f"{place}/out/").replace("/models/", f"{place}/models/")
  # The small BERT has two layers, the machine perhaps two cores.
  text = text.replace("--num_workers=16", "--num_workers=2").replace("=-1,-2,-3,-4", "=-1,-2")
  if ".txt.gz" in text:
    subprocess.run(["gzip", "-kf", "corpus/a.txt"], cwd=place, check=True)
  run(["bash", "-euc", text], place, root)


@pytest.mark.parametrize("block", QUICK, ids=lambda block: block.name)
def test_quick_shell_blocks_run(block, place, root):
  assert block.commands()
  run_shell(block, place, root)


@pytest.mark.long
@pytest.mark.parametrize("block", [b for b in SHELL if b not in QUICK], ids=lambda b: b.name)
def test_shell_blocks_run(block, place, root):
  """Commands as they stand, on small data and a small BERT."""
  (place / "my_task.py").write_text(_MY_TASK)
  run_shell(block, place, root)


_MY_TASK = """
from bert_tf.tasks.classification import DataProcessor, InputExample, register

class MyProcessor(DataProcessor):
  def get_train_examples(self, data_dir):
    labels = ["good", "bad"] * 32
    return [InputExample(str(i), "What a film!", None, label) for i, label in enumerate(labels)]

  def get_labels(self):
    return ["bad", "good"]

register("my_task", MyProcessor)
"""


def test_every_reason_says_something():
  for block in pages.EVERY:
    assert block.reason is None or len(block.reason.split()) >= 2, block.name
