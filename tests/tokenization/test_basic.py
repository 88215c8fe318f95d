import subprocess
import sys

import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import BasicTokenizer, convert_to_unicode, printable_text


@pytest.mark.parametrize(
  ("text", "lower", "cased"),
  [
    (" \tHeLLo!how  \n Are yoU?  ", "hello ! how are you ?", "HeLLo ! how Are yoU ?"),
    ("ah\u535a\u63a8zz", "ah \u535a \u63a8 zz", "ah \u535a \u63a8 zz"),
    ("H\u00e9llo", "hello", "H\u00e9llo"),
    ("a\u00a0b\u2028c\u3000d", "a b c d", "a b c d"),  # Zs, Zl
    ("a\x00b\ufffdc\u200dd\x0be\x7ff", "abcdef", "abcdef"),  # Cc and Cf go, tab does not
    ("x^y$z`", "x ^ y $ z `", "x ^ y $ z `"),
    ("\u3042\u30ab\ud55c", "\u3042\u30ab\u1112\u1161\u11ab", "\u3042\u30ab\ud55c"),
    ("ΟΔΟΣ ΣΑΣ, Σ", "οδος σας , σ", "ΟΔΟΣ ΣΑΣ , Σ"),  # final sigma
    ("\u0130I", "ii", "\u0130I"),  # dotted capital I becomes i and a dot, which is stripped
    ("\u037e\u1fef", "; `", "\u037e \u1fef"),  # the first is punctuation before and after
    ("[MASK]", "[ mask ]", "[ MASK ]"),
    ("\u0301", "", "\u0301"),
    ("", "", ""),
  ],
)
def test_words(text, lower, cased):
  assert BasicTokenizer(do_lower_case=True).tokenize(text) == lower.split()
  assert BasicTokenizer(do_lower_case=False).tokenize(text) == cased.split()


def test_bytes_are_utf8_and_the_undecodable_is_left_out():
  assert convert_to_unicode(b"caf\xc3\xa9\xff\xe2\x82!") == "caf\u00e9!"
  assert BasicTokenizer().tokenize(b"caf\xc3\xa9\xff\xe2\x82!") == ["cafe", "!"]
  assert printable_text("caf\u00e9") == printable_text(b"caf\xc3\xa9") == "caf\u00e9"


@pytest.mark.parametrize("text", [None, 3, ["a"]])
def test_what_is_no_text_is_refused(text):
  with pytest.raises(UserError, match=f"found {type(text).__name__}"):
    BasicTokenizer().tokenize(text)


def test_tensorflow_is_not_imported(root):
  code = (
    "import sys, bert_tf.tokenization as t; t.FullTokenizer; t.learn_vocabulary;"
    " t.load_vocab; print('tensorflow' in sys.modules)"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
  )
  assert result.stdout == "False\n"
