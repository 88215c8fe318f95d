"""Vocabularies learnt by `bert-tf learn-vocab` beside those of the tokenizers library.

Of each text, both learn as many entries from the same lines; printed is what the vocabularies make
of these lines: entries, different ideographs that are entries, pieces that are [UNK], and pieces a
character. Needs `pip install tokenizers`:

  python benchmarks/vocabularies.py --vocab_size=8000 zh=corpus_zh.txt cased:ja=corpus_ja.txt
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import tokenizers

from bert_tf.tokenization import SPECIAL_TOKENS, FullTokenizer, learn, learn_vocabulary
from bert_tf.tokenization.basic import is_chinese_char


def library_vocabulary(lines: Sequence[str], size: int, lower: bool) -> list[str]:
  """What `BertWordPieceTokenizer` learns, without its limit of 1,000 characters."""
  model = tokenizers.BertWordPieceTokenizer(lowercase=lower)
  model.train_from_iterator(
    lines,
    vocab_size=size,
    min_frequency=1,
    limit_alphabet=size,
    special_tokens=list(SPECIAL_TOKENS),
    show_progress=False,
  )
  vocab = model.get_vocab()
  return sorted(vocab, key=vocab.__getitem__)


def measure(tokens: Sequence[str], lines: Sequence[str], lower: bool) -> tuple[int, int, int, int]:
  """Ideographs among `tokens`; of the lines the pieces, unknown pieces and characters."""
  tokenizer = FullTokenizer(list(tokens), lower)
  pieces = unknown = 0
  for line in lines:
    found = tokenizer.tokenize(line)
    pieces += len(found)
    unknown += found.count("[UNK]")
  ideographs = sum(len(token) == 1 and is_chinese_char(ord(token)) for token in tokens)
  return ideographs, pieces, unknown, sum(len("".join(line.split())) for line in lines)


def main() -> None:
  """Prints a row for each text and library."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--vocab_size", type=int, default=8000)
  parser.add_argument("texts", nargs="+", help="[cased:]NAME=FILE")
  args = parser.parse_args()
  print("| text | by | entries | ideographs | [UNK] of 100,000 | pieces a character | seconds |")
  print("|---|---|---|---|---|---|---|")
  for text in args.texts:
    name, _, path = text.partition("=")
    lower = not name.startswith("cased:")
    with open(path, encoding="utf-8") as file:
      lines = file.read().split("\n")
    seen = {char for word in learn.count_words(lines, lower) for char in word}
    all_of_them = sum(is_chinese_char(ord(char)) for char in seen)
    for by, vocabulary in (("bert_tf", learn_vocabulary), ("tokenizers", library_vocabulary)):
      start = time.perf_counter()
      tokens = vocabulary(lines, args.vocab_size, lower)
      seconds = time.perf_counter() - start
      ideographs, pieces, unknown, characters = measure(tokens, lines, lower)
      print(
        f"| {name} | {by} | {len(tokens):,} | {ideographs:,} of {all_of_them:,}"
        f" | {1e5 * unknown / pieces:.1f} | {pieces / characters:.3f} | {seconds:.1f} |"
      )


if __name__ == "__main__":
  main()
