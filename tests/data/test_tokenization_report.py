"""What is said of texts: unknown pieces, cuts, and layouts that make poor records."""

from __future__ import annotations

import logging

import pytest

from bert_tf.data import documents, in_memory_creation
from bert_tf.data.instances import InstanceOptions
from bert_tf.data.report import TokenizationReport, percent
from bert_tf.errors import UserError
from bert_tf.tokenization import SPECIAL_TOKENS, FullTokenizer


def test_counts_by_hand():
  report = TokenizationReport()
  report.add_tokens([["a", "[UNK]", "b"], ["c"]], 4)
  report.add_tokens([["a", "[UNK]", "[UNK]", "b", "c", "d"]], 4)
  report.add_tokens([[], []], 0)
  assert report == TokenizationReport(texts=3, pieces=10, unknown=3, empty=1, cut=1, lost=2)
  assert report.summary("lines", "`max_seq_length=6`") == (
    "3 lines of 10 pieces; 30.0% of the pieces are [UNK]; 1 lines have no piece; 1 lines (33.3%)"
    " were cut at `max_seq_length=6` and lost 20.0% of all pieces"
  )
  both = TokenizationReport()
  both += report
  both += report
  assert both == TokenizationReport(texts=6, pieces=20, unknown=6, empty=2, cut=2, lost=4)


def test_nothing_is_not_called_something_nor_something_nothing():
  assert TokenizationReport().summary() == "0 texts of 0 pieces; 0.00% of the pieces are [UNK]"
  assert TokenizationReport(1, 5).summary(limit="--x=9").endswith("none was cut at --x=9")
  assert [percent(x) for x in (0, 1e-6, 0.0012, 0.5)] == [
    "0.00%",
    "less than 0.01%",
    "0.12%",
    "50.0%",
  ]


@pytest.mark.parametrize(("unknown", "warned"), [(3, False), (4, True)])
def test_much_that_is_unknown_is_warned_about(caplog, unknown, warned):
  with caplog.at_level(logging.INFO):
    TokenizationReport(1, 100, unknown).log("train.tsv")
  assert f"train.tsv: 1 texts of 100 pieces; {unknown}.0% of the pieces are [UNK]" in caplog.text
  assert ("are vocabulary and `do_lower_case`" in caplog.text) == warned


@pytest.fixture
def create(golden, tmp_path, caplog):
  """Makes records of a text and returns what was said."""

  def run(text: str, **options) -> str:
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    options = {"max_seq_length": 64, "max_predictions_per_seq": 10, "dupe_factor": 1, **options}
    caplog.clear()
    with caplog.at_level(logging.INFO):
      in_memory_creation.create_pretraining_data(
        [str(tmp_path / "text.txt")],
        [str(tmp_path / "out.tfrecord")],
        FullTokenizer(golden / "vocab.txt"),
        InstanceOptions(**options),
      )
    return caplog.text

  return run


SENTENCE = "The clock strikes the hour and the wheel turns."


def test_a_good_text_is_described_without_a_warning(create):
  said = create(f"{SENTENCE}\n{SENTENCE}\n{SENTENCE}\n\n" * 20)
  assert "Read 20 documents: 60 lines of" in said
  assert "0.00% of the pieces are [UNK]" in said
  assert "Made " in said
  assert "WARNING" not in said


def test_every_sentence_its_own_document(create):
  said = create(f"{SENTENCE}\n\n" * 20)
  assert "100.0% of the documents are a single line" in said


def test_one_paragraph_a_line(create):
  said = create((" ".join([SENTENCE] * 5) + "\n") * 3 + "\n" + f"{SENTENCE}\n" * 2)
  assert "60.0% of the lines hold several sentences, as paragraphs do" in said


def test_lines_that_no_sequence_can_hold(create):
  said = create(("the clock " * 50 + "\n") * 3 + "\n" + f"{SENTENCE}\n")
  assert "75.0% of the lines have more pieces than a sequence of `max_seq_length`=64" in said
  assert "were cut at `max_seq_length=64`" in said


def test_text_in_another_language(create):
  said = create("\u9f98\u9f9f\u9fa0\n\u9f98\u9f9f\u9fa0\n\n" * 5 + f"{SENTENCE}\n")
  assert "the text: 75" in said or "of the pieces are [UNK], of which a model learns" in said


@pytest.mark.parametrize(
  ("vocab", "lower", "text", "message"),
  [
    ("vocab_cased.txt", True, SENTENCE, "vocabulary with capitals throughout"),
    ("vocab.txt", False, SENTENCE, "a text that has them, such as 'The'"),
    ("vocab.txt", False, SENTENCE.lower(), None),
    ("vocab.txt", True, SENTENCE, None),
    ("vocab_cased.txt", False, SENTENCE, None),
  ],
)
def test_case_and_vocabulary_must_agree(golden, tmp_path, vocab, lower, text, message):
  (tmp_path / "text.txt").write_text(f"{text}\n" * 3)
  tokenizer = FullTokenizer(golden / vocab, lower)
  if message is None:
    documents.check_case([str(tmp_path / "text.txt")], tokenizer)
    return
  with pytest.raises(UserError, match=message):
    documents.check_case([str(tmp_path / "text.txt")], tokenizer)


@pytest.mark.parametrize(
  ("text", "warns"),
  [("がぎぐげご でんしゃが きました", True), ("Schöne Brücken, 桥在河上。", False)],
)
def test_lower_casing_that_takes_letters_away_is_told(golden, tmp_path, caplog, text, warns):
  (tmp_path / "text.txt").write_text(f"{text}\n" * 3, encoding="utf-8")
  documents.check_case([str(tmp_path / "text.txt")], FullTokenizer(golden / "vocab.txt", True))
  assert ("strips marks that tell words apart" in caplog.text) == warns


def test_characters_that_the_vocabulary_lacks_are_named(golden):
  tokenizer = FullTokenizer([*SPECIAL_TOKENS, "a", "##b", "北", "，"])
  report = TokenizationReport()
  texts = ["北“ab”，", "a\u200bb ab“ 京", "ba", "x" * 300, "\ue000 \u3164"]
  for text in texts:
    pieces = tokenizer.tokenize(text)
    report.add(len(pieces), pieces.count("[UNK]"))
    report.name_unknown([text], tokenizer)
  # "ba" lacks b at the beginning and a behind it; a word that is too long lacks nothing.
  assert report.characters == {"“": 2, "”": 1, "京": 1, "b": 1, "a": 1, "\ue000": 1, "\u3164": 1}
  assert "are [UNK], for lack of “ (2), a (1), b (1), ” (1), " in report.summary()
  assert "U+E000 (1)" in report.summary()
  total = TokenizationReport()
  total += report
  total += report
  assert total.characters["“"] == 4


def test_corpora_name_what_is_unknown(create):
  said = create(f"{SENTENCE} \u9f98\u9f98\n\n{SENTENCE}\n")
  assert "are [UNK], for lack of \u9f98 (2)" in said
