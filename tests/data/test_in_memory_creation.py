from __future__ import annotations

import gzip
import hashlib
import json
import logging

import pytest

from bert_tf.data import in_memory_creation, input_files, records
from bert_tf.data.instances import InstanceOptions
from bert_tf.errors import UserError
from bert_tf.tokenization import FullTokenizer

# Flags of the golden runs (tests/golden/README.md) apart from the shared ones.
RUNS = {
  "uncased_seed12345": {"random_seed": 12345},
  "uncased_seed7": {"random_seed": 7},
  "uncased_wwm_seed12345": {"random_seed": 12345, "do_whole_word_mask": True},
  "cased_seed12345": {"random_seed": 12345},
  "cased_wwm_seed7": {"random_seed": 7, "do_whole_word_mask": True},
}
TWO_FILES = {
  "glob": "corpus_part*.txt",
  "list": "corpus_part1.txt,corpus_part2.txt",
  "reversed": "corpus_part2.txt,corpus_part1.txt",
}


def options(**flags) -> InstanceOptions:
  return InstanceOptions(max_seq_length=64, max_predictions_per_seq=10, dupe_factor=3, **flags)


@pytest.fixture(scope="module")
def tokenizers(golden):
  return {
    "uncased": FullTokenizer(golden / "vocab.txt", do_lower_case=True),
    "cased": FullTokenizer(golden / "vocab_cased.txt", do_lower_case=False),
  }


def decoded(path) -> list[dict]:
  return [records.decode_example(data) for data in records.read_records(path)]


def expected(golden, name: str) -> list[dict]:
  with gzip.open(golden / "pretrain" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
    return [json.loads(line) for line in file]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_records_are_those_of_the_original(golden, tokenizers, tmp_path, name, suffix):
  path = str(tmp_path / f"out.tfrecord{suffix}")
  tokenizer = tokenizers[name.split("_")[0]]
  count = in_memory_creation.create_pretraining_data(
    [str(golden / "corpus.txt")], [path], tokenizer, options(**RUNS[name])
  )
  found = decoded(path)
  assert len(found) == count
  assert found == expected(golden, name)


@pytest.mark.parametrize("name", TWO_FILES)
def test_several_inputs_and_outputs(golden, tokenizers, tmp_path, name):
  patterns = ",".join(str(golden / pattern) for pattern in TWO_FILES[name].split(","))
  outputs = [str(tmp_path / f"out_{i}") for i in range(2)]
  in_memory_creation.create_pretraining_data(
    input_files.input_files(patterns), outputs, tokenizers["uncased"], options()
  )
  stored = "glob" if name == "list" else name
  for i, path in enumerate(outputs):
    assert decoded(path) == expected(golden, f"two_files_{stored}_{i}")


def test_tensorflow_reads_the_records(golden, tokenizers, tmp_path):
  from bert_tf.data import pipelines

  path = str(tmp_path / "out.tfrecord")
  in_memory_creation.create_pretraining_data(
    [str(golden / "corpus.txt")], [path], tokenizers["uncased"], options()
  )
  wanted = expected(golden, "uncased_seed12345")
  dataset = pipelines.pretraining_dataset(
    [path], records.pretraining(64, 10), pipelines.ReadOptions(batch_size=5, training=False)
  )
  for start, batch in zip(range(0, len(wanted), 5), dataset, strict=False):
    for name, values in batch.items():
      assert values.numpy().tolist() == [example[name] for example in wanted[start : start + 5]]


def test_compressed_text_is_read(golden, tokenizers, tmp_path):
  text = tmp_path / "corpus.txt.gz"
  text.write_bytes(gzip.compress((golden / "corpus.txt").read_bytes()))
  path = str(tmp_path / "out")
  in_memory_creation.create_pretraining_data([str(text)], [path], tokenizers["uncased"], options())
  assert decoded(path) == expected(golden, "uncased_seed12345")


@pytest.mark.parametrize("whole_word", [False, True])
def test_every_record_holds_what_the_paper_says(real_data, tmp_path, whole_word):
  """Real text through the released vocabulary: structure and shares of all records."""
  tokenizer = FullTokenizer(real_data / "vocabs" / "bert-base-uncased-vocab.txt")
  path = str(tmp_path / "out")
  count = in_memory_creation.create_pretraining_data(
    [str(real_data / "wikitext2" / "valid_sentences.txt")],
    [path],
    tokenizer,
    InstanceOptions(dupe_factor=1, do_whole_word_mask=whole_word),
  )
  cls, sep, mask = (tokenizer.vocab[token] for token in ("[CLS]", "[SEP]", "[MASK]"))
  random_next = kept = masked = predictions = 0
  for example in decoded(path):
    length = sum(example["input_mask"])
    num_first = length - sum(example["segment_ids"])
    assert example["input_mask"] == [1] * length + [0] * (128 - length)
    assert example["segment_ids"][:length] == [0] * num_first + [1] * (length - num_first)
    num = int(sum(example["masked_lm_weights"]))
    positions, labels = example["masked_lm_positions"][:num], example["masked_lm_ids"][:num]
    assert positions == sorted(set(positions)) and 0 < num <= 20
    if not whole_word:
      assert num == min(20, max(1, round(length * 0.15)))
    assert not {0, num_first - 1, length - 1} & set(positions)
    ids = list(example["input_ids"])
    for position, label in zip(positions, labels, strict=True):
      masked += ids[position] == mask
      kept += ids[position] == label
      ids[position] = label
    assert ids[0] == cls and ids[num_first - 1] == ids[length - 1] == sep
    assert not any(ids[length:])
    predictions += num
    random_next += example["next_sentence_labels"][0]
  assert count > 2000 and predictions > 30000
  # Four standard deviations around 80% and 10%.
  assert masked / predictions == pytest.approx(0.8, abs=0.01)
  assert kept / predictions == pytest.approx(0.1, abs=0.008)
  assert 0.5 <= random_next / count < 0.65


def test_original_count_on_wikitext(real_data, tmp_path):
  """The original's 12,885 records for five passes over the same text (measured separately)."""
  tokenizer = FullTokenizer(real_data / "vocabs" / "bert-base-uncased-vocab.txt")
  text = str(real_data / "wikitext2" / "valid_sentences.txt")
  path = str(tmp_path / "out")
  assert (
    in_memory_creation.create_pretraining_data(
      [text], [path], tokenizer, InstanceOptions(dupe_factor=5)
    )
    == 12885
  )


def test_the_same_flags_give_the_same_bytes(golden, tokenizers, tmp_path):
  digests = set()
  for name in ("a", "b"):
    path = tmp_path / name
    in_memory_creation.create_pretraining_data(
      [str(golden / "corpus.txt")], [str(path)], tokenizers["uncased"], options()
    )
    digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
  assert len(digests) == 1


def test_nothing_is_written_when_the_text_is_bad(golden, tokenizers, tmp_path):
  good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
  good.write_text("One sentence.\n\nAnother.\n")
  bad.write_bytes("First line.\nNa\xefve line.\n".encode("latin-1"))
  out = tmp_path / "out"
  out.mkdir()
  with pytest.raises(UserError, match=r"bad\.txt, line 2: expected UTF-8 text, found byte 0xef"):
    in_memory_creation.create_pretraining_data(
      [str(good), str(bad)], [str(out / "a"), str(out / "b")], tokenizers["uncased"], options()
    )
  assert list(out.iterdir()) == []


def test_text_without_sentences(tokenizers, tmp_path):
  text = tmp_path / "blank.txt"
  text.write_text("\n  \n\u200b\n")
  with pytest.raises(UserError, match=r"found no text in .*blank\.txt"):
    in_memory_creation.create_pretraining_data(
      [str(text)], [str(tmp_path / "out")], tokenizers["uncased"], options()
    )


def test_a_single_document_is_warned_about(tokenizers, tmp_path, caplog):
  text = tmp_path / "one.txt"
  text.write_text("\n".join(f"Sentence number {i} of the same document." for i in range(50)))
  with caplog.at_level(logging.WARNING):
    in_memory_creation.create_pretraining_data(
      [str(text)], [str(tmp_path / "out")], tokenizers["uncased"], options()
    )
  assert "single document" in caplog.text and "blank line" in caplog.text


def test_too_few_predictions_are_warned_about(caplog):
  with caplog.at_level(logging.WARNING):
    in_memory_creation.warn_about_predictions(InstanceOptions(max_seq_length=512))
  assert "`max_predictions_per_seq`=77" in caplog.text
  caplog.clear()
  in_memory_creation.warn_about_predictions(InstanceOptions())
  assert not caplog.text
