"""`python -m bert_tf learn-vocab`."""

from __future__ import annotations

import argparse

from bert_tf.tokenization.learn import learn_vocabulary_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the command."""
  parser.add_argument("--input_file", required=True, help="UTF-8 text: globs or a comma list")
  parser.add_argument("--output_file", required=True, help="the vocabulary to write")
  parser.add_argument("--vocab_size", type=int, default=30522, help="entries (default: 30522)")
  parser.add_argument(
    "--do_lower_case",
    default=None,
    action=argparse.BooleanOptionalAction,
    help="whether to lower-case and strip accents, as the model's tokenizer will (default: yes,"
    " unless marks tell words apart, as in Japanese, Hindi, Thai and Korean)",
  )


def run(args: argparse.Namespace) -> None:
  """Learns the vocabulary and says how large it became."""
  tokens = learn_vocabulary_files(
    args.input_file, args.output_file, args.vocab_size, args.do_lower_case
  )
  print(f"{args.output_file}: {len(tokens)} entries")
