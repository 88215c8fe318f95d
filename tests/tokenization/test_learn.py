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
