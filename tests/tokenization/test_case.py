import pytest

from bert_tf.tokenization import case_of_vocabulary, load_vocab


@pytest.mark.parametrize(
  ("tokens", "case"),
  [
    (["[CLS]", "[PAD]", "<S>"], None),
    (["[UNK]", "的", "##.", "1"], None),
    (["[UNK]", "want", "##ed", "的"], True),
    (["[UNK]", "want", "Want"], False),
    ([*"abcdefghijklmnopqrstuvwxyz", *(f"w{i}" for i in range(100)), "COVID"], True),
  ],
)
def test_case_of_tokens(tokens, case):
  assert case_of_vocabulary(tokens) is case


@pytest.mark.parametrize(("name", "case"), [("vocab.txt", True), ("vocab_cased.txt", False)])
def test_small_vocabularies(golden, name, case):
  assert case_of_vocabulary(load_vocab(golden / name)) is case


@pytest.mark.parametrize(
  ("name", "case"),
  [("uncased", True), ("cased", False), ("multilingual-cased", False), ("chinese", True)],
)
def test_released_vocabularies(real_data, name, case):
  vocab = load_vocab(real_data / "vocabs" / f"bert-base-{name}-vocab.txt")
  assert case_of_vocabulary(vocab) is case
