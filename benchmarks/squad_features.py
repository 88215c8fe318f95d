"""SQuAD windows per second: ours beside the original's way of making them, on one core.

python benchmarks/squad_features.py SQUAD.json VOCAB.txt [--train] [--repeat N]

Both ways use our tokenizer and our record writer, so the ratio is that of the algorithms: the
original tokenizes a context for every question, looks for the best window of every piece among all
windows, and builds every list of every window.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import resource
import tempfile
import time

from bert_tf.data import records
from bert_tf.tasks.squad.examples import read_squad_examples
from bert_tf.tasks.squad.features import convert_examples_to_features
from bert_tf.tokenization import FullTokenizer

MAX_SEQ_LENGTH, DOC_STRIDE, MAX_QUERY_LENGTH = 384, 128, 64


def naive_records(examples, tokenizer):
  """Records in the original's way, without answers."""
  unique_id = 1000000000
  for example in examples:
    query = tokenizer.tokenize(example.question_text)[:MAX_QUERY_LENGTH]
    pieces, words = [], []
    for index, word in enumerate(example.doc_tokens):
      for piece in tokenizer.tokenize(word):
        pieces.append(piece)
        words.append(index)
    room = MAX_SEQ_LENGTH - len(query) - 3
    spans, start = [], 0
    while start < len(pieces):
      length = min(room, len(pieces) - start)
      spans.append((start, length))
      if start + length == len(pieces):
        break
      start += min(length, DOC_STRIDE)
    for span_index, (start, length) in enumerate(spans):
      tokens = ["[CLS]", *query, "[SEP]"]
      segment_ids = [0] * len(tokens)
      token_to_orig_map, token_is_max_context = {}, {}
      for position in range(start, start + length):
        token_to_orig_map[len(tokens)] = words[position]
        best = max(
          (min(position - s, s + n - 1 - position) + 0.01 * n, -i)
          for i, (s, n) in enumerate(spans)
          if s <= position < s + n
        )
        token_is_max_context[len(tokens)] = -best[1] == span_index
        tokens.append(pieces[position])
        segment_ids.append(1)
      tokens.append("[SEP]")
      segment_ids.append(1)
      input_ids = tokenizer.convert_tokens_to_ids(tokens)
      padding = [0] * (MAX_SEQ_LENGTH - len(input_ids))
      yield {
        "unique_ids": [unique_id],
        "input_ids": input_ids + padding,
        "input_mask": [1] * len(input_ids) + padding,
        "segment_ids": segment_ids + padding,
      }
      unique_id += 1


def our_records(examples, tokenizer):
  """Records as run_squad.py makes them for prediction."""
  for window in convert_examples_to_features(
    examples, tokenizer, MAX_SEQ_LENGTH, DOC_STRIDE, MAX_QUERY_LENGTH, is_training=False
  ):
    yield window.to_record(MAX_SEQ_LENGTH)


def main() -> None:
  """Prints windows per second of both ways, with and without writing, and their ratio."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("squad")
  parser.add_argument("vocab")
  parser.add_argument("--repeat", type=int, default=3)
  args = parser.parse_args()
  examples = read_squad_examples(args.squad, is_training=False, version_2_with_negative=True)
  result = {"questions": len(examples)}
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory, "eval.tf_record")
    for write in (False, True):
      times = {"ours": [], "naive": []}
      for _ in range(args.repeat):  # Side by side, so that a busy machine slows both.
        for name, make in (("ours", our_records), ("naive", naive_records)):
          tokenizer = FullTokenizer(args.vocab, do_lower_case=True)
          start = time.process_time()
          if write:
            with records.RecordWriter(path) as writer:
              for record in make(examples, tokenizer):
                writer.write(records.encode_example(record))
            count = writer.num_written
          else:
            count = sum(1 for _ in make(examples, tokenizer))
          times[name].append(time.process_time() - start)
      rates = {name: round(count / min(seconds)) for name, seconds in times.items()}
      rates["ratio"] = round(rates["ours"] / rates["naive"], 2)
      result["written" if write else "features"] = {"windows": count, **rates}
  result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
  print(json.dumps(result, indent=2))


if __name__ == "__main__":
  main()
