from __future__ import annotations

import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import segmenters
from bert_tf.tokenization.segmenters import WordBorders


def test_the_longest_word_that_fits_is_taken(tmp_path):
  path = tmp_path / "words.txt"
  path.write_text("北京 12\n\n大学\t7\n北京大学\nภาษา\nไทย\n", encoding="utf-8")
  segment = WordBorders(words_file=str(path)).load()
  assert segment("我在北京大学，BERT-base学ภาษาไทย") == [
    "我", "在", "北京大学", "，", "BERT-base", "学", "ภาษา", "ไทย",
  ]  # fmt: skip


def test_spaces_between_words_are_not_kept():
  text, borders = segmenters.joined(["我们", "用", "BERT", "base", "训练", "2018", "年"])
  assert text == "我们用BERT base训练2018年"
  assert sorted(borders) == [0, 2, 3, 8, 12, 14, 18]


def test_a_segmenter_must_not_change_the_text():
  assert segmenters.borders_of("我们 在北京", ["我们", " ", "在", "北京"]) == {0, 3, 4}
  assert segmenters.borders_of("我们 在北京", ["我们", "在", "北京"]) == {0, 3, 4}
  with pytest.raises(UserError, match=r"found '北平' where it goes on with '北京'"):
    segmenters.borders_of("在北京", ["在", "北平"])
  with pytest.raises(UserError, match="words for all of the line, none for '京'"):
    segmenters.borders_of("在北京", ["在", "北"])


def test_segmenters_by_name(tmp_path, monkeypatch):
  (tmp_path / "my_words.py").write_text("NUMBER = 7\n\ndef pairs(line):\n  return [line]\n")
  monkeypatch.chdir(tmp_path)
  assert segmenters.named_segmenter("my_words:pairs")("ab") == ["ab"]
  for name, message in (
    ("pairs", "expected jieba or module:function, found 'pairs'"),
    ("my_words:", "expected jieba or module:function"),
    ("my_words:lost", "expected a function, found none"),
    ("no_such_module:lost", "expected a function, found none"),
    ("my_words:NUMBER", "expected a function, found int"),
  ):
    with pytest.raises(UserError, match=message):
      segmenters.named_segmenter(name)


def test_jieba():
  pytest.importorskip("jieba", reason="needs the extra chinese")
  assert list(segmenters.named_segmenter("jieba")("我们在北京大学读书")) == [
    "我们", "在", "北京大学", "读书",
  ]  # fmt: skip


def test_a_segmenter_that_is_not_installed_names_the_extra(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "jieba", None)
  with pytest.raises(UserError, match=r"pip install 'bert_tf\[chinese\]'"):
    segmenters.named_segmenter("jieba")


def test_words_come_from_one_place(tmp_path):
  with pytest.raises(UserError, match="one source of words, found `segmented` and `segmenter`"):
    WordBorders(segmented=True, segmenter="jieba")
  empty = tmp_path / "words.txt"
  empty.write_text("\n \n")
  with pytest.raises(UserError, match="expected a word a line, found none"):
    WordBorders(words_file=str(empty)).load()
  with pytest.raises(UserError, match="words_file"):
    WordBorders(words_file=str(tmp_path / "none.txt")).load()
