"""Makes settings.json.gz: what transformers' BertTokenizer makes of text by its settings.

Usage: python make_settings.py (transformers 4.57.6, tokenizers 0.22, Python 3.11: Unicode 14)
"""

import gzip
import hashlib
import json
import os
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 4096
# Assigned blocks whose characters settings treat differently: letters with accents, marks, Hangul,
# ideographs, compatibility forms, mathematical and historic letters.
BLOCKS = [0, 1, 2, 3, 4, 9, 10, 13, 15, 16, 17, 29, 30, 32, 42, 47, 224]
LINES = [
  "Käse schön Über", "Käse 的人", "的人ÄÖ的", "K\u0308a\u0308se", "I\u0307stanbul İstanbul",
  "ΑΣ ΟΔΥΣΣΕΥΣ Σ", "한국어 \u1112\u1161\u11ab", "ｶﾞ が か\u3099", "中文，字。x中y",
  "\uf900 \U0002f800 豈", "é\u0327\u0323e", "[MASK] Ünd [CLS]", "ﬁ ẞ ß ǅ",
  "naïve café—RÉSUMÉ", "a\u00ad\u0301b", "\u2126 \u212b \u212a",
]  # fmt: skip
ADDED = ["<e1>", "</e1>", "ünd", "abc", "ab"]
ADDED_SPECIAL = ["[NEW]"]
ADDED_LINES = [
  "the <e1>Man</e1> of<E1>the", "[NEW] [new] x[NEW]y", "Ünd hund ÜND und", "abcab xABCy aabb", "",
  "<e1>", "<e1><e1> </E1>", "[MASK]<e1>",
]  # fmt: skip


def settings():
  """Every combination of case, accents and ideographs."""
  for lower in (True, False):
    for strip in (None, True, False):
      for chinese in (True, False):
        yield lower, strip, chinese


def lines_of(block):
  """A line for every code point of a block."""
  for code_point in range(block * BLOCK, (block + 1) * BLOCK):
    if not 0xD800 <= code_point < 0xE000:
      char = chr(code_point)
      yield f"a{char}b C{char} {char}的"


def is_comparable(line):
  """False where the slow tokenizer departs from the original whatever the settings are.

  It composes text first, which transformers 5 does not do either, and deletes private and
  unassigned code points.
  """
  kinds = [unicodedata.category(char) for char in line]
  kept = "".join(char for char, kind in zip(line, kinds, strict=True) if kind not in ("Cc", "Cf"))
  return unicodedata.is_normalized("NFC", kept) and not {"Co", "Cn"} & set(kinds)


def digest(tokenizer, block):
  """sha256 over the words of all lines of a block that can be compared."""
  result = hashlib.sha256()
  for line in lines_of(block):
    if is_comparable(line):
      result.update(json.dumps([line, tokenizer.tokenize(line)]).encode())
  return result.hexdigest()


def main():
  """Writes the words of lines, digests of code points, and pieces of text with added tokens."""
  from transformers import BertTokenizer, BertTokenizerFast
  from transformers.models.bert.tokenization_bert import BasicTokenizer

  with open(os.path.join(HERE, "..", "tokenization_lines.json"), encoding="utf-8") as file:
    lines = json.load(file) + LINES
  vocab = os.path.join(HERE, "..", "vocab.txt")
  results = {"lines": lines, "settings": []}
  for lower, strip, chinese in settings():
    slow = BasicTokenizer(lower, strip_accents=strip, tokenize_chinese_chars=chinese)
    fast = BertTokenizerFast(
      vocab, do_lower_case=lower, strip_accents=strip, tokenize_chinese_chars=chinese
    ).backend_tokenizer
    normalised = map(fast.normalizer.normalize_str, lines)
    words = {
      "slow": [slow.tokenize(line) for line in lines],
      "fast": [[word for word, _ in fast.pre_tokenizer.pre_tokenize_str(n)] for n in normalised],
    }
    blocks = {block: digest(slow, block) for block in BLOCKS}
    results["settings"].append(
      {"do_lower_case": lower, "strip_accents": strip, "tokenize_chinese_chars": chinese}
      | {"words": words, "blocks": blocks}
    )
  tokenizer = BertTokenizer(vocab)
  tokenizer.add_tokens(ADDED)
  tokenizer.add_tokens(ADDED_SPECIAL, special_tokens=True)
  results["added"] = {
    "normalized": ADDED, "special": ADDED_SPECIAL, "lines": ADDED_LINES,
    "tokens": [tokenizer.tokenize(line) for line in ADDED_LINES],
  }  # fmt: skip
  content = json.dumps(results).encode("ascii")
  with open(os.path.join(HERE, "settings.json.gz"), "wb") as file:
    file.write(gzip.compress(content, mtime=0))


if __name__ == "__main__":
  main()
