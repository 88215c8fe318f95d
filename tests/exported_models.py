"""Exports of every kind, made once and checked in one fresh process."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib

import pytest
import shared_once

from bert_tf.config import BertConfig

# Signatures that all kinds of exports share.
_COMMON = ("pairs", "tensors", "examples", "tokenize")
LABELS = {"classifier": ["no", "yes"], "tokens": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}


@pytest.fixture(scope="session")
def config(golden) -> BertConfig:
  return BertConfig.from_json_file(str(golden / "bert_config.json"))


@pytest.fixture(scope="session")
def tokens(golden) -> tuple[str, ...]:
  from bert_tf.tokenization import load_vocab

  return tuple(load_vocab(golden / "vocab.txt"))


@pytest.fixture(scope="session")
def text_options(tokens):
  from bert_tf.export.options import TextOptions

  return TextOptions(tokens, max_seq_length=64)


@pytest.fixture(scope="session")
def token_model(config):
  import keras

  from bert_tf.heads import TokenClassifierModel

  keras.utils.set_random_seed(5)
  model = TokenClassifierModel(config, len(LABELS["tokens"]))
  # Freshly initialised weights are small, and would give every token the same label.
  for variable in model.variables:
    if variable.path.endswith(("kernel", "embeddings", "output_weights")):
      variable.assign(variable * 12)
  return model


@pytest.fixture(scope="session")
def export_kinds(golden, config, token_model):
  """Exports one model of every kind, checked in one fresh process.

  Returns:
    A function of a directory, text options, and whether all are to be checked rather than two, and
    one in bfloat16 be added; it returns the directories of versions by kind.
  """
  from bert_tf.export import bundle
  from bert_tf.export.exporters import export
  from bert_tf.export.graphs import text as modules
  from bert_tf.export.options import ExportOptions, GraphPlan
  from bert_tf.model_dir import Description

  heads, pretrained = str(golden / "tiny_heads_ckpt"), str(golden / "tiny_ckpt")
  settings = {
    "doc_stride": 16, "max_query_length": 16, "version_2_with_negative": True,
    "null_score_diff_threshold": 100.0,
  }  # fmt: skip

  def export_all(root: pathlib.Path, text, full: bool) -> dict[str, pathlib.Path]:
    def options(kind):
      return ExportOptions(str(root / kind), version=1)

    def plan(head, labels=(), dtype="float32", layers=(-1,), **more):
      about = Description(
        config, text.tokens, None, text.tokenizer, tuple(labels), head,
        max_seq_length=text.max_seq_length, **more,
      )  # fmt: skip
      return GraphPlan(about, text.static_length, text.text_ops, dtype, layers=layers)

    waiting = []

    @contextlib.contextmanager
    def collecting():
      yield lambda bundles: waiting.append(bundles[0][1])

    with pytest.MonkeyPatch.context() as patch:
      # One tokenizer for all, as its tables take seconds to build.
      patch.setattr(modules, "InGraphTokenizer", functools.cache(modules.InGraphTokenizer))
      patch.setattr(bundle, "check_process", collecting)
      labels = LABELS["classifier"]
      plans = {
        "classifier": (heads, plan("classification", labels)),
        "tokens": (token_model, plan("tokens", LABELS["tokens"])),
        "questions": (heads, plan("question_answering", settings=settings)),
        "pretraining": (pretrained, plan("pretraining")),
        "encoder": (pretrained, plan("encoder", layers=(-1, 0))),
      }
      if full:
        plans["bfloat16"] = (heads, plan("classification", labels, "bfloat16", pairs=True))
      paths = {kind: export(*source, options(kind)) for kind, source in plans.items()}
    # All signatures of the first; of the others what the first does not have, to save time.
    trimmed = [waiting[0]] + [
      {name: sample for name, sample in samples.items() if name not in _COMMON}
      for samples in waiting[1:]
    ]
    bundles = list(zip(paths.values(), trimmed, strict=True))
    bundle.check(bundles if full else bundles[:2])
    return {kind: pathlib.Path(path) for kind, path in paths.items()}

  return export_all


@pytest.fixture(scope="session")
def export_once(export_kinds, tmp_path_factory):
  """`export_kinds` with a name in place of a directory; processes of one run share the result."""

  def export(name: str, *args) -> dict[str, pathlib.Path]:
    def make(root: pathlib.Path) -> None:
      paths = export_kinds(root, *args)
      paths = {kind: str(path) for kind, path in paths.items()}
      (root / "paths.json").write_text(json.dumps(paths))

    root = shared_once.directory_of(tmp_path_factory, name, make)
    paths = json.loads((root / "paths.json").read_text())
    return {kind: pathlib.Path(path) for kind, path in paths.items()}

  return export


@pytest.fixture(scope="session")
def exports(export_once, text_options) -> dict[str, pathlib.Path]:
  """Directories of versions by kind; all have passed the check in a fresh process."""
  return export_once("exports", text_options, True)


@pytest.fixture(scope="session")
def load(exports):
  """Loads an export by its kind, each once."""
  import tensorflow as tf
  import tensorflow_text  # noqa: F401  Registers the ops of the tokenizer.

  return functools.cache(lambda kind: tf.saved_model.load(str(exports[kind])))
