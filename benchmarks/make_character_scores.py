"""Makes the golden of CMRC 2018's scores: random texts and what the definition makes of them.

The definition is written out from cmrc2018_evaluate.py, with NLTK's own tokenizer (its model of
sentences left out, `preserve_line`). Needs `pip install nltk`:

  python benchmarks/make_character_scores.py tests/golden/squad/character_scores.json.gz
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
from fractions import Fraction

import nltk

_PUNCTUATION = [
  "-", ":", "_", "*", "^", "/", "\\", "~", "`", "+", "=", "，", "。", "：", "？", "！", "“", "”",
  "；", "’", "《", "》", "……", "·", "、", "「", "」", "（", "）", "－", "～", "『", "』",
]  # fmt: skip
_PARTS = [
  *"中国北京上海年月日一二三零的了在",
  *"，。：？！“”；’《》·、「」（）－～…—‘『』",
  *"-:_*^/\\~`+=,.;'\"?!@#$%&()[]{}<> ",
  " ", "the", "NASA", "3.88", "1,000", "cannot", "gonna ", " don't ", "it's", "Mr.", " 'tis ",
  "we'll ", "``", "''", "--", "...", "e.g.", "Ω", "ß", "한국", "かな", "\u3000", "\t", "２０", "🙂",
]  # fmt: skip
_COUNT = 3000


def segmentation(text: str) -> list[str]:
  """`mixed_segmentation(text, rm_punc=True)` of the scorer."""
  segments, other = [], ""
  for char in text.lower().strip():
    if char in _PUNCTUATION:
      continue
    if re.search("[\u4e00-\u9fa5]", char):
      if other != "":
        segments.extend(nltk.word_tokenize(other, preserve_line=True))
        other = ""
      segments.append(char)
    else:
      other += char
  if other != "":
    segments.extend(nltk.word_tokenize(other, preserve_line=True))
  return segments


def common(first: list[str], second: list[str]) -> int:
  """The length that `find_lcs` of the scorer returns."""
  lengths = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
  longest = 0
  for i, one in enumerate(first):
    for j, other in enumerate(second):
      if one == other:
        lengths[i + 1][j + 1] = lengths[i][j] + 1
        longest = max(longest, lengths[i + 1][j + 1])
  return longest


def scores(truth: str, prediction: str) -> tuple[float, int]:
  """F1 and exact match of one pair."""
  expected, found = segmentation(truth), segmentation(prediction)
  length = common(expected, found)
  f1 = Fraction(2 * length, len(expected) + len(found)) if length else Fraction(0)
  plain = [
    "".join(c for c in t.lower().strip() if c not in _PUNCTUATION) for t in (truth, prediction)
  ]
  return float(f1), int(plain[0] == plain[1])


def main() -> None:
  """Writes [truth, prediction, f1, exact match, tokens of the truth] for every pair."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("output")
  path = parser.parse_args().output
  rng = random.Random(1)
  rows = []
  for _ in range(_COUNT):
    truth = "".join(rng.choices(_PARTS, k=rng.randint(0, 14)))
    first, last = sorted((rng.randint(0, len(truth)), rng.randint(0, len(truth))))
    prediction = truth[first:last] + "".join(rng.choices(_PARTS, k=rng.choice([0, 0, 1, 3])))
    if rng.random() < 0.2:
      prediction = rng.choice([truth.upper(), f"“{truth}”", truth + "。", f" {truth}"])
    rows.append([truth, prediction, *scores(truth, prediction), segmentation(truth)])
  with open(path, "wb") as file:
    file.write(gzip.compress(json.dumps(rows, ensure_ascii=False).encode(), mtime=0))


if __name__ == "__main__":
  main()
