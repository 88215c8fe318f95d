"""The quickstart on a text of the user's own."""

from __future__ import annotations

import argparse
import json

import pytest

from bert_tf.errors import UserError
from bert_tf.quickstart import command, own_text, plan
from bert_tf.quickstart.size import FAST


def write(path, *lines):
  path.write_text("\n".join(lines) + "\n", encoding="utf-8")
  return str(path)


CHINESE = [f"第{n}座桥建于一九三七年。“它修了三次。”后来门开着，风很大！" for n in range(150)]


def test_sentences_end_with_the_marks_of_their_script():
  assert own_text.sentences(CHINESE[0]) == [
    "第0座桥建于一九三七年。", "“它修了三次。”", "后来门开着，风很大！",
  ]  # fmt: skip
  assert own_text.sentences('He paid 3.50. "Why?" she asked.') == [
    "He paid 3.50.", '"Why?"', "she asked.",
  ]  # fmt: skip
  assert own_text.sentences("यह पुल है। वह नदी है।") == ["यह पुल है।", "वह नदी है।"]


def test_documents_are_what_blank_lines_part_or_runs_of_sentences(tmp_path):
  documents = own_text.read(write(tmp_path / "a", *CHINESE))
  assert [len(d.sentences) for d in documents] == [20] * 22 + [10]
  blank = [line for sentence in CHINESE for line in (sentence, "")]
  documents = own_text.read(write(tmp_path / "b", *blank))
  assert len(documents) == 150
  train, held_out = own_text.split(documents)
  assert len(held_out) == 15 and len(train) == 135
  assert not {d.name for d in train} & {d.name for d in held_out}
  with pytest.raises(UserError, match="expected at least 200 sentences, found 3; give a longer"):
    own_text.read(write(tmp_path / "c", CHINESE[0]))
  with pytest.raises(UserError, match="cannot read"):
    own_text.read(str(tmp_path / "none"))


def test_gaps_are_words_or_characters(tmp_path):
  documents = own_text.read(write(tmp_path / "a", *CHINESE))
  found = own_text.masked_sentences(documents)
  assert len(found) == 2 and all(s.count("[MASK]") == 1 for s in found)
  assert own_text._masked("门开着，风很大。") == "门开着，[MASK]很大。"
  assert own_text._masked("He came late today.") == "He [MASK] late today."
  assert own_text._masked("...!") is None


@pytest.mark.parametrize(("text", "lower"), [(CHINESE[0], True), ("がぎぐげ ございます。", False)])
def test_case_is_kept_where_marks_are_letters(tmp_path, text, lower):
  corpus = write(tmp_path / "a", *[text] * 300)
  steps = own_text.steps(corpus, plan.Layout(str(tmp_path / "out")), FAST, 1)
  assert [step.name for step in steps] == [
    "text", "vocabulary", "records_train", "records_held_out", "pretraining", "export", "fill_mask",
  ]  # fmt: skip
  flags = [flag for step in steps for flag in step.command if "lower" in flag]
  first = "--do_lower_case" if lower else "--no-do_lower_case"
  assert flags == [first, *[f"--do_lower_case={lower}"] * 3]


@pytest.mark.long
def test_the_whole_life_on_chinese_text(tmp_path, capfd):
  corpus = write(tmp_path / "zh.txt", *CHINESE)
  parser = argparse.ArgumentParser()
  command.add_arguments(parser)
  out = tmp_path / "out"
  command.run(parser.parse_args(["--fast", f"--corpus={corpus}", f"--output_dir={out}"]))
  text = (out / "summary.txt").read_text(encoding="utf-8")
  assert "masked lm, held-out documents" in text and "[MASK]" in text
  answers = [json.loads(line) for line in (out / "answers" / "masks.jsonl").open(encoding="utf-8")]
  assert len(answers) == 2 and all(len(answer["masks"][0]) == 3 for answer in answers)
  assert (out / "export" / "masks" / "1" / "saved_model.pb").exists()
  assert "classify --task_name=table" in capfd.readouterr().out
