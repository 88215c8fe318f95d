"""What lies beside weights, and what may be said against it. No test here reads a weight."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest
from hub_server import Hub

from bert_tf import model_dir
from bert_tf.errors import UserError
from bert_tf.model_dir import Description, Given, describe, weight_files
from bert_tf.tokenization import AddedToken, TokenizerSettings

NAMES = {str(number): f"label {number}" for number in range(12)}
ORDERED = tuple(NAMES.values())


def write_json(path: pathlib.Path, values: object) -> None:
  path.write_text(json.dumps(values), encoding="utf-8")


@pytest.fixture
def output_dir(golden, tmp_path):
  """An output directory as earlier versions left it."""
  for name in ("bert_config.json", "vocab.txt"):
    (tmp_path / name).write_bytes((golden / name).read_bytes())
  write_json(tmp_path / "label_map.json", NAMES)
  write_json(tmp_path / "run_config.json", {"hyperparameters": {"max_seq_length": 77}})
  return tmp_path


@pytest.mark.parametrize("checkpoint", ["", "model.ckpt-7", "best", "best/model.ckpt-5"])
def test_what_lies_beside_the_weights_is_found(output_dir, checkpoint):
  (output_dir / "best").mkdir()
  about = describe(str(output_dir / checkpoint))
  assert about.config.vocab_size == len(about.tokens) == 1200
  assert about.vocab_file == str(output_dir / "vocab.txt")
  assert about.labels == ORDERED
  assert (about.max_seq_length, about.head, about.pairs) == (77, None, None)


def test_the_best_weights_may_have_files_of_their_own(output_dir):
  (output_dir / "best").mkdir()
  (output_dir / "best" / "labels.txt").write_text("a\nb\n")
  assert describe(str(output_dir / "best")).labels == ("a", "b")
  assert describe(str(output_dir)).labels == ORDERED


def test_one_file_of_labels_goes_before_the_others(output_dir, golden):
  path = str(output_dir)
  config = json.loads((golden / "bert_config.json").read_text())
  ids = {"2": "three", "0": "one", "1": "two"}
  write_json(output_dir / "config.json", {"model_type": "bert", **config, "id2label": ids})
  assert describe(path).labels == ORDERED
  (output_dir / "labels.txt").write_text("x\ny\n")
  assert describe(path).labels == ("x", "y")
  for name in ("labels.txt", "label_map.json"):
    (output_dir / name).unlink()
  assert describe(path).labels == ("one", "two", "three")


@pytest.mark.parametrize("ids", [{"1": "a", "2": "b"}, {"0": "a", "2": "b"}, {"a": "b"}, ["a"]])
@pytest.mark.parametrize("file", ["label_map.json", "config.json"])
def test_names_that_would_stand_for_other_outputs_are_refused(output_dir, golden, file, ids):
  (output_dir / "label_map.json").unlink()
  config = {"model_type": "bert", **json.loads((golden / "bert_config.json").read_text())}
  write_json(output_dir / file, {**config, "id2label": ids} if file == "config.json" else ids)
  with pytest.raises(UserError, match=f"{file}.*: expected (the ids 0 to|names by their ids)"):
    describe(str(output_dir))


def test_names_that_say_nothing_are_none(output_dir, golden):
  (output_dir / "label_map.json").unlink()
  config = {"model_type": "bert", **json.loads((golden / "bert_config.json").read_text())}
  ids = {"0": "LABEL_0", "1": "LABEL_1"}
  write_json(output_dir / "config.json", {**config, "id2label": ids})
  assert describe(str(output_dir)).labels == ()


@pytest.mark.parametrize(
  ("labels", "found"),
  [
    (ORDERED[::-1], "the order label 11,label 10"),
    (ORDERED[:-1], "label 0,.* not"),
    ((*ORDERED[:-1], "other"), "label 0,.* not"),
  ],
)
def test_other_labels_are_refused(output_dir, labels, found):
  with pytest.raises(UserError, match=f"expected the labels of the weights .*, found {found}"):
    describe(str(output_dir), Given(labels=labels))
  assert describe(str(output_dir), Given(labels=list(ORDERED))).labels == ORDERED


@pytest.mark.parametrize("content", ["{", "[1]"])
@pytest.mark.parametrize("name", ["label_map.json", "run_config.json", "head.json"])
def test_damaged_files_are_refused(output_dir, name, content):
  (output_dir / name).write_text(content)
  with pytest.raises(UserError, match=f"{name}: expected"):
    describe(str(output_dir))


def test_the_case_of_the_text(output_dir, golden):
  """By the flag, the tokenizer's file or the vocabulary; two that disagree are refused."""
  path, lower = str(output_dir), Given(do_lower_case=True)
  assert describe(path).tokenizer.do_lower_case
  (output_dir / "tokenizer_config.json").write_text('{"do_lower_case": false}')
  (output_dir / "best").mkdir()
  for beside in (path, f"{path}/model.ckpt-7", f"{path}/best"):
    assert not describe(beside).tokenizer.do_lower_case
    assert not describe(beside, Given(do_lower_case=False)).tokenizer.do_lower_case
    with pytest.raises(UserError, match="expected `do_lower_case=False`, as tokenizer_config"):
      describe(beside, lower)


def test_the_case_is_said_even_without_a_vocabulary(output_dir, golden):
  (output_dir / "vocab.txt").unlink()
  (output_dir / "tokenizer_config.json").write_text('{"do_lower_case": false}')
  vocab_file = str(golden / "vocab.txt")
  assert not describe(str(output_dir), Given(vocab_file=vocab_file)).tokenizer.do_lower_case
  with pytest.raises(UserError, match="expected `do_lower_case=False`, as tokenizer_config"):
    describe(str(output_dir), Given(vocab_file=vocab_file, do_lower_case=True))


def test_the_case_of_a_cased_vocabulary(golden, tmp_path):
  config = json.loads((golden / "bert_config.json").read_text())
  write_json(tmp_path / "bert_config.json", {**config, "vocab_size": 1400})
  (tmp_path / "vocab.txt").write_bytes((golden / "vocab_cased.txt").read_bytes())
  path = str(tmp_path)
  assert not describe(path).tokenizer.do_lower_case
  for given in (Given(do_lower_case=True), Given(default_lower_case=True)):
    with pytest.raises(UserError, match="found `do_lower_case=True` with a vocabulary with cap"):
      describe(path, given)


def test_another_vocabulary_is_refused(output_dir):
  tokens = (output_dir / "vocab.txt").read_text().splitlines()
  path, given = str(output_dir), output_dir / "given.txt"

  def described(changed):
    given.write_text("".join(f"{token}\n" for token in changed))
    return describe(path, Given(vocab_file=str(given)))

  assert described(tokens).vocab_file == str(given)
  with pytest.raises(UserError, match=r"expected the 1200 tokens of .*, found 1199"):
    described(tokens[:-1])
  with pytest.raises(UserError, match=r"found 'aspirin' in place of '.*' \(id 600\)"):
    described([*tokens[:600], "aspirin", *tokens[601:]])


def test_unused_entries_may_get_a_meaning(output_dir):
  """As the original's README advises."""
  tokens = (output_dir / "vocab.txt").read_text().splitlines()
  place = tokens.index("[unused7]")
  tokens[place] = "aspirin"
  given = output_dir / "given.txt"
  given.write_text("".join(f"{token}\n" for token in tokens))
  about = describe(str(output_dir), Given(vocab_file=str(given)))
  assert about.tokens[place] == "aspirin"
  # The other way round, a word would lose its meaning.
  (output_dir / "vocab.txt").write_bytes(given.read_bytes())
  tokens[place] = "[unused7]"
  given.write_text("".join(f"{token}\n" for token in tokens))
  with pytest.raises(UserError, match="found '\\[unused7\\]' in place of 'aspirin'"):
    describe(str(output_dir), Given(vocab_file=str(given)))


def test_what_is_not_there(tmp_path, golden):
  with pytest.raises(UserError, match=r"`bert_config_file`: expected a file.* bert_config.json"):
    describe(str(tmp_path))
  given = Given(str(golden / "bert_config.json"))
  about = describe(str(tmp_path), given)
  assert about == Description(about.config)
  with pytest.raises(UserError, match=r"`vocab_file`: expected a file.* vocab.txt"):
    describe(str(tmp_path), given, needs_vocabulary=True)


def test_a_vocabulary_without_special_tokens_is_refused_where_one_is_needed(output_dir):
  tokens = (output_dir / "vocab.txt").read_text().replace("[SEP]\n", "[sep]\n")
  (output_dir / "vocab.txt").write_text(tokens)
  describe(str(output_dir))
  with pytest.raises(UserError, match=r"found no \[SEP\]"):
    describe(str(output_dir), needs_vocabulary=True)


@pytest.mark.parametrize(
  ("found", "head", "settings"),
  [
    ({"task_type": "multilabel"}, "multilabel", {}),
    ({"max_query_length": 24, "doc_stride": 32}, "question_answering",
     {"max_query_length": 24, "doc_stride": 32}),
    ({"doc_stride": 16, "labels": ["O", "B-X"]}, "tokens", {"doc_stride": 16}),
    ({"learning_rate": 1e-5}, None, {}),
  ],
)  # fmt: skip
def test_runs_of_earlier_versions_are_read(output_dir, found, head, settings):
  values = {"hyperparameters": {"max_seq_length": 33, **found}}
  write_json(output_dir / "run_config.json", values)
  about = describe(str(output_dir))
  assert (about.head, about.max_seq_length, about.settings) == (head, 33, settings)
  # What is written today goes first.
  write_json(output_dir / "head.json", {"head": "encoder", "settings": {}})
  assert describe(str(output_dir)).head == "encoder"


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"head": "choice"}, "expected a head of classification"),
    ({"pairs": "yes"}, "expected pairs as true or false"),
    ({"max_seq_length": 0}, "expected max_seq_length as a positive number"),
    ({"settings": [1]}, "expected settings as a JSON object"),
  ],
)
def test_what_a_head_cannot_be(output_dir, values, message):
  write_json(output_dir / "head.json", values)
  with pytest.raises(UserError, match=message):
    describe(str(output_dir))


def test_a_head_that_is_given(output_dir):
  write_json(output_dir / "head.json", {"head": "tokens", "settings": {}})
  path = str(output_dir)
  with pytest.raises(UserError, match=r"expected the task tokens, as .*head.json says"):
    describe(path, Given(head="classification"))
  assert describe(path, Given(head="encoder")).head == "encoder"


def test_what_is_written_is_read_again(output_dir, tmp_path):
  about = describe(str(output_dir))
  tokens = (*about.tokens[:-1], "käse")
  about = dataclasses.replace(
    about, tokens=tokens, vocab_file=None, head="multilabel", pairs=True, max_seq_length=64,
    settings={"doc_stride": 3},
    tokenizer=TokenizerSettings(True, False, False, (AddedToken("käse", True),)),
  )  # fmt: skip
  path = tmp_path / "written"
  model_dir.write(str(path), about)
  again = describe(str(path))
  assert dataclasses.replace(again, vocab_file=None) == about
  before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
  model_dir.write(str(path), again)
  assert before == {file: file.stat().st_mtime_ns for file in path.iterdir()}


def test_assets_of_a_saved_model_are_found(output_dir, tmp_path):
  version = tmp_path / "export" / "1"
  about = dataclasses.replace(describe(str(output_dir)), head="multilabel", pairs=False)
  model_dir.write(str(version / "assets"), about)
  (version / "variables").mkdir()
  (version / "saved_model.pb").touch()
  found = describe(str(version))
  assert dataclasses.replace(found, vocab_file=None) == dataclasses.replace(about, vocab_file=None)
  assert describe(str(version / "variables" / "variables")) == found


def test_a_model_of_the_hub_brings_its_tokenizer(golden, tmp_path, root):
  """Where it has no vocab.txt, as models of transformers 5, by tokenizer.json."""
  config = json.loads((golden / "bert_config.json").read_text())
  tokens = (golden / "vocab.txt").read_text().splitlines()
  special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
  added = [
    {"id": tokens.index(t), "content": t, "special": True, "normalized": False} for t in special
  ]
  tokenizer = {
    "added_tokens": added,
    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                   "strip_accents": None, "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
              "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(tokens)}},
  }  # fmt: skip
  weights = golden / "formats" / "huggingface" / "BertModel" / "model.safetensors"
  names = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}}
  hub = Hub({
    "config.json": json.dumps({"model_type": "bert", **config, **names}).encode(),
    "tokenizer.json": json.dumps(tokenizer).encode(),
    "model.safetensors": weights.read_bytes(),
  })  # fmt: skip
  code = (
    "from bert_tf.model_dir import describe\n"
    "about = describe('hf://acme/bert', needs_vocabulary=True)\n"
    "print(len(about.tokens), about.labels, about.head, about.tokenizer.do_lower_case)\n"
  )
  unwanted = ("HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy")
  variables = {k: v for k, v in os.environ.items() if k not in unwanted}
  variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "cache")}
  result = subprocess.run(
    [sys.executable, "-c", code], env=variables, cwd=root, capture_output=True, text=True,
    timeout=120, check=False,
  )  # fmt: skip
  hub.close()
  assert result.stdout == "1200 ('a', 'b') classification True\n", result.stderr


def test_the_weights_to_answer_with(tmp_path):
  def checkpoint(path):
    path.parent.mkdir(exist_ok=True)
    for suffix in (".index", ".data-00000-of-00001"):
      path.with_name(path.name + suffix).touch()

  out = str(tmp_path)
  with pytest.raises(UserError, match="expected a checkpoint in `output_dir`"):
    weight_files.newest(out, True)
  assert weight_files.newest(out, True, "pretrained/bert") == "pretrained/bert"
  checkpoint(tmp_path / "model.ckpt-9")
  checkpoint(tmp_path / "model.ckpt-10")
  assert weight_files.newest(out, True) == f"{out}/model.ckpt-10"
  checkpoint(tmp_path / "best" / "model.ckpt-5")
  assert weight_files.newest(out, True, "x") == f"{out}/best/model.ckpt-5"
  assert weight_files.newest(out, False, "x") == f"{out}/model.ckpt-10"
  # A shard is missing.
  (tmp_path / "model.ckpt-11.index").touch()
  (tmp_path / "model.ckpt-11.data-00000-of-00002").touch()
  assert weight_files.newest(out, False) == f"{out}/model.ckpt-10"
