"""Whole words in text without spaces: records are the original's, masks cover words."""

from __future__ import annotations

import random

import numpy as np
import pytest

from bert_tf.data import in_memory_creation, records, sharded_creation, word_borders
from bert_tf.data.checks import pretraining_spec
from bert_tf.data.documents import sample_of
from bert_tf.data.instances import InstanceOptions
from bert_tf.errors import UserError
from bert_tf.tokenization import SPECIAL_TOKENS, FullTokenizer, write_vocabulary
from bert_tf.tokenization.segmenters import WordBorders

WORDS = [
  "北京", "大学", "图书馆", "我们", "学生", "研究生", "读", "在", "了", "一九三七年", "BERT",
]  # fmt: skip
LENGTH = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """A vocabulary, a list of words, and the same text without and with spaces between words."""
  path = tmp_path_factory.mktemp("words")
  characters = sorted({char for word in WORDS for char in word if ord(char) > 127})
  write_vocabulary([*SPECIAL_TOKENS, *characters, "。", "be", "##rt"], str(path / "vocab.txt"))
  (path / "words.txt").write_text("\n".join(WORDS), encoding="utf-8")
  rng = random.Random(7)
  sentences = [[*rng.sample(WORDS, k=8), "。"] for _ in range(240)]
  for name, between in (("plain", ""), ("segmented", " ")):
    lines = [
      between.join(words) + ("\n" if i % 8 == 7 else "") for i, words in enumerate(sentences)
    ]
    (path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
  return path


def borders_of(folder, kind):
  return {
    "none": WordBorders(),
    "segmented": WordBorders(segmented=True),
    "words": WordBorders(words_file=str(folder / "words.txt")),
  }[kind]


def options_of(**more):
  return InstanceOptions(
    max_seq_length=LENGTH, max_predictions_per_seq=8, dupe_factor=2, masked_lm_prob=0.2, **more
  )


def create(folder, kind, output, **more):
  text = folder / ("segmented.txt" if kind == "segmented" else "plain.txt")
  tokenizer = FullTokenizer(str(folder / "vocab.txt"), True)
  in_memory_creation.create_pretraining_data(
    [str(text)], [str(output)], tokenizer, options_of(**more), borders_of(folder, kind)
  )
  return [records.decode_example(data) for data in records.read_records(str(output))]


def units(ids, positions, tokens):
  """Runs of neighbouring masked positions, as text."""
  runs, run = [], []
  for position in positions:
    if run and position != run[-1] + 1:
      runs.append(run)
      run = []
    run.append(position)
  return ["".join(tokens[ids[p]].removeprefix("##") for p in r) for r in [*runs, run] if r]


def original_ids(example):
  ids = list(example["input_ids"])
  names = ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
  for position, label, weight in zip(*(example[name] for name in names), strict=True):
    if weight:
      ids[position] = label
  return ids


def is_made_of_words(text):
  """Whether a run of masked characters can be read as a sequence of words."""
  lower = [word.lower() for word in WORDS] + ["。"]
  reachable = {0}
  for end in range(1, len(text) + 1):
    if any(text[:end].endswith(w) and end - len(w) in reachable for w in lower):
      reachable.add(end)
  return len(text) in reachable


def share_of_whole_words(examples, tokens):
  """Of the runs of masked pieces that do not begin or end a segment, which are whole words."""
  whole = total = 0
  for example in examples:
    ids = original_ids(example)
    count = sum(map(bool, example["masked_lm_weights"]))
    length = sum(example["input_mask"])
    inside = [p for p in example["masked_lm_positions"][:count]]
    # Segments are cut in the middle of words.
    borders = {p for p in range(length) if ids[p] in (2, 3)}
    for text, positions in zip(units(ids, inside, tokens), runs_of(inside), strict=True):
      near = {positions[0] - 1, positions[-1] + 1} & borders
      total += not near
      whole += not near and is_made_of_words(text)
  return whole / total


def runs_of(positions):
  runs = []
  for position in positions:
    if runs and position == runs[-1][-1] + 1:
      runs[-1].append(position)
    else:
      runs.append([position])
  return runs


def tokens_of(folder):
  return (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("kind", ["segmented", "words"])
def test_whole_words_are_masked(folder, tmp_path, kind):
  examples = create(folder, kind, tmp_path / "a", do_whole_word_mask=True)
  assert share_of_whole_words(examples, tokens_of(folder)) == 1.0
  spec = records.pretraining(LENGTH, 8)
  assert all(set(example) == set(spec) for example in examples)
  assert max(max(example["input_ids"]) for example in examples) < len(tokens_of(folder))
  # Single characters are masked without.
  single = create(folder, "none", tmp_path / "b", do_whole_word_mask=True)
  assert share_of_whole_words(single, tokens_of(folder)) < 0.7


def test_records_but_for_masks_are_those_of_the_plain_text(folder, tmp_path):
  """Segmented text, joined, gives the pieces and records that the text without spaces gives."""
  plain = create(folder, "none", tmp_path / "a")
  assert create(folder, "segmented", tmp_path / "b") == plain
  dynamic = create(folder, "words", tmp_path / "c", dynamic_masking=True)
  for example in dynamic:
    length = sum(example["input_mask"])
    tokens = [tokens_of(folder)[i] for i in example["input_ids"][:length]]
    flags = example["word_continues"]
    assert not any(flags[length:]) and not flags[0]
    for i in range(1, length):
      # The first character of a segment begins something, even if it was cut out of a word.
      if tokens[i - 1] in ("[CLS]", "[SEP]") and not tokens[i].startswith("##"):
        assert not flags[i]
      if tokens[i] == "##rt" and tokens[i - 1] == "be":
        assert flags[i]


def test_shards_do_not_depend_on_workers_and_know_words(folder, tmp_path):
  job = sharded_creation.Job(
    str(folder / "vocab.txt"), True, options_of(do_whole_word_mask=True), 1 << 20,
    borders_of(folder, "words"),
  )  # fmt: skip
  scale = sharded_creation.ScaleOptions(1, 1 << 16)
  output = str(tmp_path / "x.tfrecord")
  sharded_creation.create_shards([str(folder / "plain.txt")], output, job, scale)
  [path] = tmp_path.glob("x-*")
  examples = [records.decode_example(data) for data in records.read_records(str(path))]
  assert share_of_whole_words(examples, tokens_of(folder)) == 1.0
  with pytest.raises(UserError, match="word_borders"):
    sharded_creation.create_shards(
      [str(folder / "plain.txt")], output, job._replace(borders=WordBorders(segmented=True)), scale
    )


def test_masks_that_are_drawn_in_training_cover_words(folder, tmp_path):
  from bert_tf.data.dynamic_masking import DynamicMasking
  from bert_tf.data.masking import Vocabulary

  examples = create(folder, "words", tmp_path / "c", dynamic_masking=True)
  spec = pretraining_spec([str(tmp_path / "c")], LENGTH, 8, dynamic_masking=True)
  assert "word_continues" in spec
  vocabulary = Vocabulary.of({token: i for i, token in enumerate(tokens_of(folder)[:-1])})
  batch = {
    name: np.array([example[name] for example in examples], np.int32)
    for name in ("input_ids", "input_mask", "segment_ids", "word_continues")
  }
  masking = DynamicMasking(vocabulary, 0.2, 8, whole_word=True)
  masked = masking(np.array([1, 2], np.int64), batch)
  assert "word_continues" not in masked
  drawn = [
    {name: value.numpy()[i].tolist() if hasattr(value, "numpy") else value[i].tolist()
     for name, value in masked.items()}
    for i in range(len(examples))
  ]  # fmt: skip
  assert share_of_whole_words(drawn, tokens_of(folder)) == 1.0
  create(folder, "none", tmp_path / "d", dynamic_masking=True)
  with pytest.raises(UserError, match=r"whole sequences in .*d and whole sequences with words in"):
    pretraining_spec([str(tmp_path / n) for n in "cd"], LENGTH, 8, dynamic_masking=True)


def test_borders_within_a_phrase_of_thai():
  """A phrase is one word to the tokenizer; pieces that begin a word of it begin a mask."""
  tokens = [*SPECIAL_TOKENS, "ภาษา", "##ไทย", "##ดี", "##มาก", "在", "北", "京"]
  tokenizer = FullTokenizer(tokens, do_lower_case=False)
  encode = word_borders._flagged_encoder(tokenizer)
  from bert_tf.data.masking import Vocabulary

  ids = encode("ภาษาไทยดีมาก在北京", {0, 7, 12, 13})
  plain, continues = word_borders.plain_and_continues(ids, Vocabulary.of(tokenizer.vocab))
  assert tokenizer.convert_ids_to_tokens(plain) == tokenizer.tokenize("ภาษาไทยดีมาก在北京")
  assert continues == [0, 1, 0, 1, 0, 0, 1]


@pytest.mark.parametrize(
  ("text", "borders", "whole_words", "warns"),
  [
    ("我们在北京。", WordBorders(), True, True),
    ("我们在北京。", WordBorders(segmented=True), True, False),
    ("我们在北京。", WordBorders(), False, False),
    ("The bridge of Seoul.", WordBorders(), True, False),
  ],
)
def test_unknown_borders_are_told(tmp_path, caplog, text, borders, whole_words, warns):
  path = tmp_path / "text.txt"
  path.write_text(text, encoding="utf-8")
  word_borders.warn_of_unknown_borders(sample_of([str(path)]), borders, whole_words)
  assert ("nothing says where words begin" in caplog.text) == warns


def test_training_tells_that_records_know_no_borders(folder, tmp_path, caplog):
  from bert_tf.tasks.pretraining import run

  tokens = tokens_of(folder)[:-1]
  for kind, warns in (("none", True), ("words", False)):
    create(folder, kind, tmp_path / kind, dynamic_masking=True)
    files = [str(tmp_path / kind)]
    spec = pretraining_spec(files, LENGTH, 8, dynamic_masking=True)
    caplog.clear()
    run.warn_of_unknown_borders(files, spec, tokens)
    assert ("the records hold text without spaces" in caplog.text) == warns
  english = [token if ord(token[0]) < 128 else "river" for token in tokens]
  run.warn_of_unknown_borders([str(tmp_path / "none")], {}, english)
  assert "without spaces" not in caplog.text
