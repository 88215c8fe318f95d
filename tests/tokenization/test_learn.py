import random
import subprocess
import sys

import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import (
  SPECIAL_TOKENS,
  FullTokenizer,
  learn,
  learn_vocabulary,
  learn_vocabulary_files,
)


@pytest.fixture(scope="module")
def corpus(golden):
  return (golden / "corpus.txt").read_text().split("\n")


@pytest.mark.parametrize("vocab_size", [300, 1000])
@pytest.mark.parametrize("do_lower_case", [True, False])
def test_size_and_order(corpus, vocab_size, do_lower_case):
  tokens = learn_vocabulary(corpus, vocab_size, do_lower_case)
  assert len(tokens) == len(set(tokens)) == vocab_size
  assert tuple(tokens[:5]) == SPECIAL_TOKENS
  assert any(token != token.lower() for token in tokens[5:]) != do_lower_case


def test_every_word_of_the_corpus_can_be_spelled(corpus, tmp_path):
  path = tmp_path / "vocab.txt"
  text = tmp_path / "corpus.text"
  text.write_text("\n".join(corpus))
  tokens = learn_vocabulary_files(str(tmp_path / "*.text"), path, 900)
  tokenizer = FullTokenizer(path)
  assert list(tokenizer.vocab) == tokens
  pieces = [piece for line in corpus for piece in tokenizer.tokenize(line)]
  assert "[UNK]" not in pieces
  words = sum(len(tokenizer.basic_tokenizer.tokenize(line)) for line in corpus)
  assert len(pieces) < 2 * words, "most frequent words are whole"


def test_the_same_in_every_process(corpus, root):
  """Also with the lines in another order: only counts matter."""
  code = (
    "import sys; from bert_tf.tokenization import learn_vocabulary;"
    "print(ascii(learn_vocabulary(sys.stdin.read().split('\\n'), 700)))"
  )
  result = subprocess.run(
    [sys.executable, "-c", code],
    cwd=root,
    input="\n".join(reversed(corpus)),
    capture_output=True,
    encoding="utf-8",
    check=True,
  )
  assert result.stdout == ascii(learn_vocabulary(corpus, 700)) + "\n"


def test_a_small_text_gives_fewer():
  tokens = learn_vocabulary(["low lower, lowest!"], 1000)
  assert {"low", "lower", "lowest", ",", "!", "l", "##o"} <= set(tokens)
  assert "##l" not in tokens and "##," not in tokens, "no word has them inside"


def test_rare_characters_give_way_to_the_wanted_size():
  text = "".join(map(chr, range(0x4E00, 0x5E00))) + "的" * 10
  tokens = learn_vocabulary([text], 105)
  assert len(tokens) <= 105
  assert "的" in tokens


def test_ideographs_take_one_entry_each():
  """1,500 of them, each met twice, fit beside letters and words into 2,000 entries."""
  ideographs = [chr(code) for code in range(0x4E00, 0x4E00 + 1500)]
  english = ["the bridge of the river was built in the year of the flood"] * 3
  tokens = learn_vocabulary(["".join(ideographs), "，".join(ideographs), *english], 2000)
  assert set(ideographs) <= set(tokens)
  assert not any(f"##{char}" in tokens for char in ideographs)
  assert {"，", "bridge", "river"} <= set(tokens)


def test_characters_of_long_words_are_pieces():
  """Words of more than 50 characters teach no piece, but their characters can be spelled."""
  long_word = "q" * 30 + "x" * 30
  tokens = learn_vocabulary([f"{long_word} on"], 100)
  assert "[UNK]" not in FullTokenizer(tokens).tokenize(long_word)
  assert not any("qq" in token for token in tokens)


def test_phrases_without_spaces_are_learnt_from():
  """Thai parts sentences, not words: 72 characters between two spaces are no exception."""
  words = ["ภาษา", "แมว", "กิน", "ปลา"]
  rng = random.Random(1)
  phrases = ["".join(rng.choices(words, k=20)) for _ in range(300)]
  tokens = learn_vocabulary([" ".join(phrases)], 60, do_lower_case=False)
  pieces = FullTokenizer(tokens, do_lower_case=False).tokenize(phrases[0])
  assert len(pieces) <= len(phrases[0]) / 2 and "[UNK]" not in pieces


@pytest.mark.parametrize(
  ("name", "do_lower_case"), [("zh_corpus/CLUECorpusSmall_sampled.txt", True)]
)
def test_real_chinese_text_has_no_unknown_character(real_data, name, do_lower_case):
  lines = (real_data / name).read_text(encoding="utf-8").split("\n")
  tokens = learn_vocabulary(lines, 8000, do_lower_case)
  tokenizer = FullTokenizer(tokens, do_lower_case)
  counts = learn.count_words(lines, do_lower_case)
  unknown = sum(count for word, count in counts.items() if "[UNK]" in tokenizer.tokenize(word))
  assert len(tokens) == 8000
  assert unknown <= sum(counts.values()) / 100_000


@pytest.mark.parametrize(
  ("documents", "vocab_size", "message"),
  [
    ([], 100, "found no word"),
    ([" \n", "\x00"], 100, "found no word"),
    (["a" * 51], 100, "found only longer ones"),
    (["a b"], 8, "at least 9, found 8"),
  ],
)
def test_useless_input_is_refused(documents, vocab_size, message):
  with pytest.raises(UserError, match=message):
    learn_vocabulary(documents, vocab_size)


def test_bad_files_are_refused(tmp_path):
  output = tmp_path / "vocab.txt"
  with pytest.raises(UserError, match="found nothing at"):
    learn_vocabulary_files(str(tmp_path / "*.none"), output, 100)
  empty = tmp_path / "empty.text"
  empty.touch()
  with pytest.raises(UserError, match="empty file"):
    learn_vocabulary_files([str(empty)], output, 100)
  latin = tmp_path / "latin.text"
  latin.write_bytes("eins\nzwölf\n".encode("latin-1"))
  with pytest.raises(UserError, match=r"latin.text, line 2: expected UTF-8, found byte 0xf6"):
    learn_vocabulary_files([str(latin)], output, 100)
  assert not output.exists()


def test_words_are_counted_as_the_tokenizer_splits_them(corpus):
  counts = learn.count_words(["Été, été", "ÉTÉ 中文"], do_lower_case=True)
  assert counts == {"ete": 3, ",": 1, "中": 1, "文": 1}


JAPANESE = "がぎぐげご ここは どこですか でんしゃが きました"


@pytest.mark.parametrize(
  ("text", "lower"),
  [
    (JAPANESE, False),
    ("그 다리는 강 위에 있다", False),
    ("नदी पर पुल बना है", False),
    ("ที่นี่มีแม่น้ำ", False),
    ("Die Brücke über den Fluß ist schön", True),
    ("Ο ποταμός είναι μεγάλος, мост через реку", True),
    ("桥在河上。", True),
  ],
)
def test_marks_that_tell_words_apart_are_kept_by_default(text, lower, caplog):
  tokens = learn_vocabulary([text], 200, do_lower_case=None)
  assert tokens == learn_vocabulary([text], 200, do_lower_case=lower)
  assert ("case and marks are kept" in caplog.text) != lower
  caplog.clear()
  learn_vocabulary([text], 200, do_lower_case=True)
  assert ("strips marks that tell words apart" in caplog.text) != lower
