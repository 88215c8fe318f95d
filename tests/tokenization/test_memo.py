import pickle

from bert_tf.tokenization.memo import Memo


def double(value):
  calls.append(value)
  return value * 2


calls: list = []


def test_computes_once_while_remembered():
  calls.clear()
  memo = Memo(double, limit=2)
  assert [memo[1], memo[1], memo[2], memo[1]] == [2, 2, 4, 2]
  assert calls == [1, 2]
  assert memo[3] == 6, "the third one empties the memo first"
  assert len(memo) == 1


def test_long_strings_are_not_remembered():
  memo = Memo(double, longest_key=3)
  assert memo["abcd"] == "abcdabcd"
  assert memo["abc"] == "abcabc"
  assert list(memo) == ["abc"]


def test_a_pickled_copy_starts_empty_and_works():
  memo = Memo(double, limit=7)
  assert memo[1] == 2
  copy = pickle.loads(pickle.dumps(memo))
  assert len(copy) == 0
  assert copy[4] == 8
