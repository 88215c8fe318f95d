"""CLUE's lines as its own baseline reads them, and the files that its site scores."""

from __future__ import annotations

import json

import pytest

from bert_tf.errors import UserError
from bert_tf.tasks.benchmarks import data_check, registry
from bert_tf.tasks.benchmarks.clue import CLUE
from bert_tf.tasks.classification.processors import TableOptions, create_processor

# A line of each task in the layout of its own files.
LINES = {
  "afqmc": {"sentence1": "花呗可以还款吗", "sentence2": "怎么还花呗", "label": "0"},
  "tnews": {"label": "102", "label_desc": "news_entertainment", "sentence": "两江新区放大招",
            "keywords": "重庆,地块"},
  "iflytek": {"label": "11", "label_des": "薅羊毛", "sentence": "用手机赚钱的软件。"},
  "cmnli": {"sentence1": "新的权利已经足够好了", "sentence2": "每个人都喜欢", "label": "neutral"},
  "ocnli": {"level": "medium", "sentence1": "身上裹一件大衣", "sentence2": "大衣有四个兜",
            "label": "entailment", "label0": "entailment", "genre": "lit", "prem_id": "x", "id": 0},
  "csl": {"id": 1, "abst": "研究了监控技术。", "keyword": ["安全监控", "设备描述"], "label": "1"},
  "wsc": {"target": {"span2_index": 9, "span1_index": 2, "span1_text": "床", "span2_text": "它"},
          "idx": 261, "label": "false", "text": "放在床上的人说了吧它很好"},
}  # fmt: skip
# What CLUE's baseline gives to the model: texts and label.
EXPECTED = {
  "afqmc": ("花呗可以还款吗", "怎么还花呗", "0"),
  "tnews": ("两江新区放大招", None, "102"),
  "iflytek": ("用手机赚钱的软件。", None, "11"),
  "cmnli": ("新的权利已经足够好了", "每个人都喜欢", "neutral"),
  "ocnli": ("身上裹一件大衣", "大衣有四个兜", "entailment"),
  "csl": ("安全监控 设备描述", "研究了监控技术。", "1"),
  "wsc": ("放在_床_上的人说了吧[它]很好", None, "false"),
}


def write(path, *lines):
  text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
  path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("task", LINES)
def test_lines_are_read_as_by_the_baseline(tmp_path, task):
  write(tmp_path / "train.json", LINES[task], LINES[task])
  unlabelled = {key: value for key, value in LINES[task].items() if key != "label"}
  write(tmp_path / "test.json", {**unlabelled, "id": 7})
  processor = create_processor(task, str(tmp_path), TableOptions())
  found = processor.examples("train")
  assert [(e.text_a, e.text_b, e.label) for e in found] == [EXPECTED[task]] * 2
  assert EXPECTED[task][2] in processor.labels()
  [test] = processor.examples("test")
  assert (test.guid, test.text_a, test.label) == ("7", EXPECTED[task][0], None)


def test_pronoun_before_noun(tmp_path):
  target = {"span1_text": "小明", "span1_index": 4, "span2_text": "他", "span2_index": 0}
  write(tmp_path / "dev.json", {"text": "他看见了小明。", "target": target, "label": True})
  [example] = create_processor("wsc", str(tmp_path), TableOptions()).examples("dev")
  assert (example.text_a, example.label) == ("[他]看见了_小明_。", "true")
  wrong = {**target, "span1_index": 3}
  write(tmp_path / "dev.json", {"text": "他看见了小明。", "target": wrong, "label": True})
  with pytest.raises(UserError, match="line 1: expected '小明' at character 3"):
    create_processor("wsc", str(tmp_path), TableOptions()).examples("dev")


def test_lines_without_agreement_are_left_out_and_the_larger_training_set_is_read(tmp_path):
  write(tmp_path / "train.json", LINES["ocnli"])
  processor = create_processor("ocnli", str(tmp_path), TableOptions())
  assert len(processor.examples("train")) == 1
  write(tmp_path / "train.50k.json", LINES["ocnli"], {**LINES["ocnli"], "label": "-"},
        LINES["ocnli"])  # fmt: skip
  processor = create_processor("ocnli", str(tmp_path), TableOptions())
  assert len(processor.examples("train")) == 2
  assert processor.files("train") == [str(tmp_path / "train.50k.json")]


def test_a_file_of_another_task_is_refused(tmp_path):
  write(tmp_path / "dev.json", LINES["tnews"])
  with pytest.raises(UserError, match=r"dev.json: line 1: expected the key 'sentence1', found lab"):
    create_processor("afqmc", str(tmp_path), TableOptions()).examples("dev")
  write(tmp_path / "dev.json", {**LINES["csl"], "keyword": "监控"})
  with pytest.raises(UserError, match="'keyword' to be a list of texts"):
    create_processor("csl", str(tmp_path), TableOptions()).examples("dev")
  write(tmp_path / "dev.json", {**LINES["iflytek"], "sentence": 7})
  with pytest.raises(UserError, match="'sentence' to be a text, found 7"):
    create_processor("iflytek", str(tmp_path), TableOptions()).examples("dev")


@pytest.mark.parametrize("header", ["", "text_a\ttext_b\tlabel\n", "sentence1\tsentence2\tlabel\n"])
@pytest.mark.parametrize("task", ["lcqmc", "bq"])
def test_pairs_of_questions(tmp_path, header, task):
  (tmp_path / "dev.tsv").write_text(f"{header}我的额度\t为什么没有额度\t1\n", encoding="utf-8")
  [example] = create_processor(task, str(tmp_path), TableOptions()).examples("dev")
  assert (example.text_a, example.text_b, example.label) == ("我的额度", "为什么没有额度", "1")


def test_chnsenticorp(real_data):
  processor = create_processor("chnsenticorp", str(real_data / "chnsenticorp"), TableOptions())
  counts = {split: len(processor.examples(split)) for split in ("train", "dev", "test")}
  assert counts == {"train": 9600, "dev": 1200, "test": 1200}
  assert processor.examples("dev")[0].text_a.startswith("這間酒店環境")


def test_names_of_the_submissions():
  """https://github.com/CLUEbenchmark/CLUE, notes on submissions of 2021-09-04."""
  assert registry.find("clue") is CLUE
  assert {task.submission.file_name for task in CLUE.tasks} == {
    "afqmc_predict.json", "tnews11_predict.json", "iflytek_predict.json", "cmnli_predict.json",
    "ocnli_50k_predict.json", "cluewsc11_predict.json", "csl_predict.json",
  }  # fmt: skip
  averaged = [name for group in CLUE.averages for name in group]
  assert sorted([*averaged, "CMNLI"]) == sorted(task.name for task in CLUE.tasks)


def test_submissions_are_lines_of_id_and_label(tmp_path):
  predictions = tmp_path / "predictions.jsonl"
  write(predictions, {"id": "0", "label": "102", "probability": 0.5}, {"id": "1", "label": "116"})
  submission = CLUE.task("tnews").submission
  path = tmp_path / submission.file_name
  assert submission.write(str(predictions), str(path)) == 2
  assert path.read_text() == '{"id": 0, "label": "102"}\n{"id": 1, "label": "116"}\n'
  with pytest.raises(UserError, match=r"expected 10000 predictions, .* found 2; predict the whole"):
    submission.check(str(path))


@pytest.mark.parametrize(
  ("lines", "message"),
  [
    ([{"id": 0}], "line 1: expected the keys id and label, found id"),
    ([{"id": 0, "label": "105"}], "a label out of 100, 101, 102, 103, ..., found '105'"),
    ([{"id": 0, "label": 100}], "found 100"),
    ([{"id": 3, "label": "100"}, {"id": 3, "label": "101"}], "line 2: expected each id once"),
  ],
)
def test_what_the_site_cannot_score_is_refused(tmp_path, lines, message):
  write(tmp_path / "x.json", *lines)
  with pytest.raises(UserError, match=message):
    CLUE.task("tnews").submission.check(str(tmp_path / "x.json"), len(lines))


def test_files_of_the_benchmark_are_looked_at(tmp_path):
  (tmp_path / "ocnli").mkdir()
  write(tmp_path / "ocnli" / "train.50k.json", LINES["ocnli"])
  reports = data_check.check([CLUE.task("ocnli")], str(tmp_path))
  assert "1 lines, where the official file has 50,437 examples" in reports[0].note
  assert len(data_check.problems(reports)) == 2
