"""Exports of every kind, made once and checked in one fresh process."""

from __future__ import annotations

import functools
import pathlib

import pytest

from bert_tf.config import BertConfig

# Signatures that all kinds of exports share.
_COMMON = ("pairs", "tensors", "examples", "tokenize")
LABELS = {"classifier": ["no", "yes"], "tokens": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}


@pytest.fixture(scope="session")
def config(golden) -> BertConfig:
  return BertConfig.from_json_file(str(golden / "bert_config.json"))


@pytest.fixture(scope="session")
def text_options(golden):
  from bert_tf.serving.options import TextOptions

  return TextOptions(str(golden / "vocab.txt"), True, 64)


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
  """Exports one model of every kind, all checked in one fresh process.

  Returns:
    A function of a directory, text options and the names of further exports; it returns the
    directories of versions by kind.
  """
  from bert_tf.serving import bundle, export, modules
  from bert_tf.tasks.squad.predictions import PredictionOptions

  heads, pretrained = str(golden / "tiny_heads_ckpt"), str(golden / "tiny_ckpt")
  prediction = PredictionOptions(version_2_with_negative=True, null_score_diff_threshold=100.0)

  def export_all(root: pathlib.Path, text, with_bfloat16: bool) -> dict[str, pathlib.Path]:
    def options(kind, dtype="float32"):
      return export.ExportOptions(str(root / kind), version=1, dtype=dtype)

    waiting = []
    check = bundle.check
    with pytest.MonkeyPatch.context() as patch:
      # One tokenizer for all, as its tables take seconds to build.
      patch.setattr(modules, "InGraphTokenizer", functools.cache(modules.InGraphTokenizer))
      patch.setattr(bundle, "check", lambda bundles: waiting.append(bundles[0][1]))
      labels = LABELS["classifier"]
      paths = {
        "classifier": export.export_classifier(heads, config, text, labels, options("classifier")),
        "tokens": export.export_token_classifier(
          token_model, config, text, LABELS["tokens"], options("tokens")
        ),
        "questions": export.export_question_answering(
          heads, config, text, export.QuestionOptions(16, 16, prediction), options("questions")
        ),
        "pretraining": export.export_pretraining(pretrained, config, text, options("pretraining")),
        "encoder": export.export_encoder(
          pretrained, config, text, options("encoder"), layers=(-1, 0)
        ),
      }
      if with_bfloat16:
        paths["bfloat16"] = export.export_classifier(
          heads, config, text, labels, options("b", "bfloat16"), pairs=True
        )
    # All signatures of the first; of the others what the first does not have, to save time.
    trimmed = [waiting[0]] + [
      {name: sample for name, sample in samples.items() if name not in _COMMON}
      for samples in waiting[1:]
    ]
    check(list(zip(paths.values(), trimmed, strict=True)))
    return {kind: pathlib.Path(path) for kind, path in paths.items()}

  return export_all


@pytest.fixture(scope="session")
def exports(export_kinds, text_options, tmp_path_factory) -> dict[str, pathlib.Path]:
  """Directories of versions by kind; all have passed the check in a fresh process."""
  return export_kinds(tmp_path_factory.mktemp("exports"), text_options, with_bfloat16=True)
