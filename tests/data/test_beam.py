"""Runs where Apache Beam is installed (extra `[beam]`)."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("apache_beam", reason="needs the extra [beam]")

from bert_tf.data import beam, in_memory_creation, records
from bert_tf.data.instances import InstanceOptions
from bert_tf.errors import UserError
from bert_tf.tokenization import FullTokenizer


@pytest.fixture(scope="module")
def text(golden, tmp_path_factory) -> str:
  rng = random.Random(0)
  lines = (golden / "corpus.txt").read_text(encoding="utf-8").split("\n")
  sentences = [line for line in lines if line.strip()]
  directory = tmp_path_factory.mktemp("text")
  for part in range(3):
    with open(directory / f"{part}.txt", "w", encoding="utf-8") as file:
      for _ in range(100):
        file.write("\n".join(rng.sample(sentences, rng.randint(2, 20))) + "\n\n")
  return str(directory / "*.txt")


def run(golden, text: str, directory, *flags: str) -> list[bytes]:
  directory.mkdir(exist_ok=True)
  beam.main(
    [
      f"--input_file={text}",
      f"--output_file={directory}/out",
      f"--vocab_file={golden}/vocab.txt",
      "--max_seq_length=64",
      "--max_predictions_per_seq=10",
      "--dupe_factor=2",
      "--num_groups=4",
      "--short_seq_prob=0.0",
      *flags,
      "--runner=DirectRunner",
    ]
  )
  return sorted(
    data for path in directory.glob("out-*.tfrecord") for data in records.read_records(path)
  )


def test_the_records_depend_on_the_seed_alone(golden, text, tmp_path):
  first = run(golden, text, tmp_path / "a", "--num_output_files=3")
  again = run(golden, text, tmp_path / "b")
  other = run(golden, text, tmp_path / "c", "--random_seed=7")
  assert len(list((tmp_path / "a").glob("out-*"))) == 3
  assert first == again
  assert first != other


def shares(examples: list[dict]) -> list[float]:
  """Records with a random second segment, mean length, mean number of predictions."""
  return [
    sum(example["next_sentence_labels"][0] for example in examples) / len(examples),
    sum(sum(example["input_mask"]) for example in examples) / len(examples) / 64,
    sum(sum(example["masked_lm_weights"]) for example in examples) / len(examples) / 10,
  ]


def test_statistics_are_the_originals(golden, text, tmp_path):
  ours = [records.decode_example(data) for data in run(golden, text, tmp_path, "--dupe_factor=10")]
  options = InstanceOptions(
    max_seq_length=64, max_predictions_per_seq=10, dupe_factor=10, short_seq_prob=0.0
  )
  tokenizer = FullTokenizer(golden / "vocab.txt")
  path = str(tmp_path / "plain")
  files = [text.replace("*", str(part)) for part in range(3)]
  in_memory_creation.create_pretraining_data(files, [path], tokenizer, options)
  theirs = [records.decode_example(data) for data in records.read_records(path)]
  assert len(ours) == pytest.approx(len(theirs), rel=0.02)
  assert shares(ours) == pytest.approx(shares(theirs), abs=0.015)


def test_bad_text(golden, tmp_path):
  (tmp_path / "bad.txt").write_bytes(b"good\n\nb\xe9d\n")
  with pytest.raises(Exception, match=r"bad.txt, line 3: expected UTF-8 text") as caught:
    run(golden, str(tmp_path / "bad.txt"), tmp_path / "out")
  assert isinstance(caught.value, UserError) or "UserError" in str(caught.value)


def test_flags_are_checked():
  with pytest.raises(SystemExit):
    beam.main(["--input_file=x", "--output_file=y", "--vocab_file=z", "--do_lower_case=maybe"])


def test_no_input(golden, tmp_path):
  with pytest.raises(UserError, match=r"expected files that match '.*none\*', found nothing"):
    run(golden, str(tmp_path / "none*"), tmp_path / "out")


def test_whole_words_of_text_without_spaces(golden, tmp_path, caplog):
  (tmp_path / "text.txt").write_text("中文 中文 文中\n中文\n\n" * 9, encoding="utf-8")
  flags = ("--do_whole_word_mask=True", "--segmented=True")
  found = run(golden, str(tmp_path / "text.txt"), tmp_path / "a", *flags)
  tokenizer = FullTokenizer(str(golden / "vocab.txt"), True)
  for data in found:
    example = records.decode_example(data)
    count = sum(map(bool, example["masked_lm_weights"]))
    # Two characters a word: both of one are masked, or none.
    assert count % 2 == 0 or count == 1
    assert max(example["input_ids"]) < len(tokenizer.vocab)
  assert "nothing says where words begin" not in caplog.text
  run(golden, str(tmp_path / "text.txt"), tmp_path / "b", flags[0])
  assert "nothing says where words begin" in caplog.text
