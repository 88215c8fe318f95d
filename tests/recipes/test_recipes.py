"""Recipes: every command is one that its script takes, and one of them is done."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys

import pytest

from bert_tf import UserError
from bert_tf.recipes import command
from bert_tf.recipes.command import RECIPES
from bert_tf.tasks.benchmarks.registry import BENCHMARKS

# Parses the flags of every command that is given, as the script would.
PARSE = """
import importlib, json, sys
from absl import flags
from bert_tf.scripts import command_line
script, commands = sys.argv[1], json.loads(sys.argv[2])
module = importlib.import_module("bert_tf.scripts." + script)
for words in commands:
  command_line.parse(module, [script, *words])
  flags.FLAGS.unparse_flags()
"""


def test_there_is_one_for_every_task():
  wanted = {t.task_name for b in BENCHMARKS.values() for t in b.tasks if not t.weights_of}
  assert wanted | {"pretraining", "squad-1.1", "squad-2.0", "conll-2003"} == RECIPES.keys()
  for recipe in RECIPES.values():
    assert recipe.expected and recipe.source and recipe.cost and recipe.data
    assert recipe.paper.startswith("https://arxiv.org/abs/")


@pytest.mark.parametrize(
  "script", ["run_classifier", "run_squad", "run_ner", "run_pretraining", "create_pretraining_data"]
)
def test_scripts_take_the_flags_of_their_recipes(script, root):
  steps = [step for recipe in RECIPES.values() for step in recipe.steps if step.script == script]
  assert steps
  commands = json.dumps([step.words({}) for step in steps])
  result = subprocess.run(
    [sys.executable, "-c", PARSE, script, commands],
    capture_output=True, text=True, cwd=root, check=False,
  )  # fmt: skip
  assert result.returncode == 0, result.stderr


def run(name, **places):
  values = {"bert": None, "data": None, "output": None, "dry_run": False, **places}
  command.run(argparse.Namespace(name=name, **values))


def test_a_dry_run_shows_a_command_that_a_shell_takes(capsys):
  run("rte", data="/my data", dry_run=True)
  out = capsys.readouterr().out
  assert "accuracy 66.4 on the test set (table 1 of the paper)" in out
  words = shlex.split(out[out.index("$ ") + 2 :].replace("\\\n", " "))
  assert words[:2] == ["bert-tf", "run_classifier"]
  assert "--init_checkpoint=$bert" in words and "--data_dir=/my data/RTE" in words


def test_all_are_listed(capsys):
  run(None)
  assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)


def test_what_is_missing_is_named():
  with pytest.raises(UserError, match=r"expected a recipe of pretraining, cola, .*, found 'rt'"):
    run("rt")
  with pytest.raises(UserError, match=r"`bert` \(directory of the pretrained model\), `output`"):
    run("rte", data="/data")


@pytest.mark.long
def test_a_recipe_is_done_on_a_handful_of_examples(golden, tmp_path):
  bert, data = tmp_path / "bert", tmp_path / "data" / "RTE"
  for directory in (bert, data):
    directory.mkdir(parents=True)
  for source in (golden / "tiny_heads_ckpt").glob("model.ckpt*"):
    (bert / source.name).write_bytes(source.read_bytes())
  for name in ("bert_config.json", "vocab.txt"):
    (bert / name).write_bytes((golden / name).read_bytes())
  for split in ("train", "dev", "test"):
    rows = ["index\tsentence1\tsentence2\tlabel"]
    rows += [f"{n}\tthe man\ta dog\t{('entailment', 'not_entailment')[n % 2]}" for n in range(32)]
    (data / f"{split}.tsv").write_text("\n".join(rows) + "\n")
  run("rte", bert=str(bert), data=str(tmp_path / "data"), output=str(tmp_path / "out"))
  assert json.loads((tmp_path / "out" / "eval_metrics.json").read_text())["accuracy"] >= 0
  assert len((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()) == 32
