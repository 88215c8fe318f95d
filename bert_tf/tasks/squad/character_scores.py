"""The official scores of CMRC 2018 (Cui et al., 2019), which DRCD and CLUE use too.

The definition is that of the data set's own scorer, cmrc2018_evaluate.py: texts are compared by
characters, and by words where they are not Chinese; F1 counts the longest run that both share.
All scores are percentages.

The scorer splits what is not Chinese with NLTK's `word_tokenize`. Its rules stand here; what it
does before them, cutting the text into sentences by a trained model, does not: it can only part a
full stop from a word in the middle of such a piece.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# Left out before comparing. The scorer's list has "……" too, which is no single character.
_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")

# The words of the Penn Treebank by the rules of NLTK's NLTKWordTokenizer, in its order.
_RULES = (
  (r"([«“‘„]|[`]+)", r" \1 "),
  (r'^"', "``"),
  (r"(``)", r" \1 "),
  (r"([ (\[{<])(\"|'{2})", r"\1 `` "),
  (r"(?i)(?<!\w)(')(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", r"\1 "),
  (r"([^.])(\.)([\])}>\"'»”’ ]*)\s*$", r"\1 \2 \3 "),
  (r"([:,])([^\d])", r" \1 \2"),
  (r"([:,])$", r" \1 "),
  (r"\.{2,}", r" \g<0> "),
  (r"[;@#$%&]", r" \g<0> "),
  (r"[\u2012-\u2015]", r" \g<0> "),
  (r"([^.])(\.)([\])}>\"']*)\s*$", r"\1 \2\3 "),
  (r"[?!]", r" \g<0> "),
  (r"([^'])' ", r"\1 ' "),
  (r"[*]", r" \g<0> "),
  (r"[\]\[(){}<>]", r" \g<0> "),
  (r"--", r" -- "),
)
# On the result with a space at both ends.
_LAST_RULES = (
  (r"([»”’])", r" \1 "),
  (r"''", " '' "),
  (r'"', " '' "),
  (r"\s+", " "),
  (r"([^' ])('[sS]|'[mM]|'[dD]|') ", r"\1 \2 "),
  (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r"\1 \2 "),
  (r"(?i)\b(can)(not)\b", r" \1 \2 "),
  (r"(?i)\b(d)('ye)\b", r" \1 \2 "),
  (r"(?i)\b(gim)(me)\b", r" \1 \2 "),
  (r"(?i)\b(gon)(na)\b", r" \1 \2 "),
  (r"(?i)\b(got)(ta)\b", r" \1 \2 "),
  (r"(?i)\b(lem)(me)\b", r" \1 \2 "),
  (r"(?i)\b(more)('n)\b", r" \1 \2 "),
  (r"(?i)\b(wan)(na)(?=\s)", r" \1 \2 "),
  (r"(?i) ('t)(is)\b", r" \1 \2 "),
  (r"(?i) ('t)(was)\b", r" \1 \2 "),
)
_COMPILED, _LAST_COMPILED = (
  tuple((re.compile(pattern), replacement) for pattern, replacement in rules)
  for rules in (_RULES, _LAST_RULES)
)


def evaluate(
  answers: Mapping[str, Sequence[str]], predictions: Mapping[str, str]
) -> dict[str, float]:
  """Scores of CMRC 2018.

  Args:
    answers: the right answers of each question, at least one.
    predictions: by question; one that is missing scores 0.

  Returns:
    exact_match, f1, and `average`, the mean of both, by which its leaderboard ranks.
  """
  found = [(predictions[key], truths) for key, truths in answers.items() if key in predictions]
  exact = sum(max(exact_match(text, truth) for truth in truths) for text, truths in found)
  f1_sum = sum(max(f1(text, truth) for truth in truths) for text, truths in found)
  exact, f1_sum = 100.0 * exact / len(answers), 100.0 * f1_sum / len(answers)
  return {"exact_match": exact, "f1": f1_sum, "average": (exact + f1_sum) * 0.5}


def exact_match(prediction: str, truth: str) -> float:
  """1 if both are the same in lower case without punctuation, else 0."""
  return float(_without_punctuation(prediction) == _without_punctuation(truth))


def f1(prediction: str, truth: str) -> float:
  """Harmonic mean of precision and recall of the longest run of tokens that both share."""
  found, expected = tokens(prediction), tokens(truth)
  common = _longest_common_run(expected, found)
  if not common:
    return 0.0
  precision, recall = common / len(found), common / len(expected)
  return (2 * precision * recall) / (precision + recall)


def tokens(text: str) -> list[str]:
  """Chinese characters, and the words of all else, without punctuation."""
  result: list[str] = []
  other = ""
  for char in text.lower().strip():
    if char in _PUNCTUATION:
      continue
    if "\u4e00" <= char <= "\u9fa5":
      result += [*treebank_words(other), char]
      other = ""
    else:
      other += char
  return result + treebank_words(other)


def treebank_words(text: str) -> list[str]:
  """The words of a text in English, punctuation apart.

  >>> treebank_words('They cannot pay "$3.88".')
  ['They', 'can', 'not', 'pay', '``', '$', '3.88', "''", '.']
  """
  for pattern, replacement in _COMPILED:
    text = pattern.sub(replacement, text)
  text = f" {text} "
  for pattern, replacement in _LAST_COMPILED:
    text = pattern.sub(replacement, text)
  return text.split()


def _without_punctuation(text: str) -> str:
  return "".join(char for char in text.lower().strip() if char not in _PUNCTUATION)


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
  """The length of the longest run of tokens in both."""
  longest = 0
  above = [0] * (len(second) + 1)
  for one in first:
    row = [0]
    for j, other in enumerate(second):
      row.append(above[j] + 1 if one == other else 0)
    longest = max(longest, *row)
    above = row
  return longest
