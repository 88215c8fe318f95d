from __future__ import annotations

import fnmatch
import os
import sys

import pytest

from bert_tf.config import BertConfig
from bert_tf.quickstart import plan
from bert_tf.quickstart.size import FAST, FULL, Scale


@pytest.fixture(params=[FULL, FAST], ids=["full", "fast"])
def scale(request) -> Scale:
  return request.param


def test_every_input_was_written_before(scale, tmp_path):
  layout = plan.Layout(str(tmp_path))
  written = [layout.config_file, layout.classify_script]
  for step in plan.steps(layout, scale, seed=1):
    for path in step.inputs:
      assert any(
        path == output or path.startswith(output + os.sep) or fnmatch.fnmatch(output, path)
        for output in written
      ), (step.name, path)
    written += step.outputs


def test_no_two_steps_share_a_name_or_an_output(scale, tmp_path):
  steps = plan.steps(plan.Layout(str(tmp_path)), scale, seed=1)
  names = [step.name for step in steps]
  outputs = [output for step in steps for output in step.outputs]
  assert len(set(names)) == len(names)
  for one in outputs:
    assert [other for other in outputs if (other + os.sep).startswith(one + os.sep)] == [one]


def test_both_classifiers_get_the_same_budget(scale, tmp_path):
  steps = {s.name: s for s in plan.steps(plan.Layout(str(tmp_path)), scale, seed=1)}
  pretrained, random = (
    {word for word in steps[f"classifier_{name}"].command if "--output_dir" not in word}
    for name in ("pretrained", "random")
  )
  assert {word.partition("=")[0] for word in pretrained ^ random} == {"--init_checkpoint"}


def test_the_seed_reaches_everything_that_is_random(tmp_path):
  def commands(seed: int) -> dict[str, tuple[str, ...]]:
    steps = plan.steps(plan.Layout(str(tmp_path)), FULL, seed)
    return {step.name: step.command for step in steps}

  one, two = commands(1), commands(2)
  assert {name for name in one if one[name] != two[name]} == {
    "records_train", "records_held_out", "pretraining", "classifier_pretrained",
    "classifier_random", "classifier_longer",
  }  # fmt: skip


def test_the_model_is_small_and_fits_its_sequences(scale, tmp_path):
  path = tmp_path / "bert_config.json"
  path.write_text(plan.config_json(scale))
  config = BertConfig.from_json_file(str(path))
  config.check_sequence_length(scale.max_seq_length)
  assert config.vocab_size == scale.vocab_size
  assert config.hidden_size <= 256


def test_closing_lines_start_this_installation(monkeypatch, tmp_path):
  command = tmp_path / "bert-tf"
  command.touch(mode=0o755)
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
  assert plan.program() == "bert-tf"
  # Of another environment, or of none that was activated.
  monkeypatch.setattr(sys, "executable", "/elsewhere/python")
  assert plan.program() == "/elsewhere/python -m bert_tf"


def test_the_classify_script_stands_alone():
  source = plan.classify_source()
  compile(source, "classify.py", "exec")
  assert "import bert_tf" not in source
