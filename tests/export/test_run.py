"""What export_model.py finds beside the weights, what it asks for and what it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import weight_dirs

from bert_tf.errors import UserError
from bert_tf.export.options import ExportOptions
from bert_tf.export.run import ExportRun, ExportRunner

NAMES = {"0": "O", "1": "B-PER", "2": "I-PER"}


def hugging_face(golden, architecture, **more):
  config = json.loads((golden / "bert_config.json").read_text())
  return {"model_type": "bert", "architectures": [architecture], **config, **more}


@pytest.fixture
def export(golden, tmp_path):
  """Plans the export of weights with a Hugging Face config of some architecture, or None."""

  def plan(architecture=None, flags=(), head=None, **more):
    files = {}
    if architecture:
      files["config"] = hugging_face(golden, architecture, **more)
    if head:
      files["head"] = head
    path = weight_dirs.write(golden, tmp_path / "weights", "tiny_heads_ckpt", **files)
    run = ExportRun(path, ExportOptions(str(tmp_path / "export")), **dict(flags))
    return ExportRunner(run).plan

  return plan


@pytest.mark.parametrize(
  ("architecture", "more", "head", "labels"),
  [
    ("BertForTokenClassification", {"id2label": NAMES}, "tokens", tuple(NAMES.values())),
    ("BertForSequenceClassification", {"id2label": {"0": "neg", "1": "pos"}}, "classification",
     ("neg", "pos")),
    ("BertForSequenceClassification",
     {"id2label": NAMES, "problem_type": "multi_label_classification"}, "multilabel",
     tuple(NAMES.values())),
    ("BertForSequenceClassification", {"id2label": {"0": "LABEL_0"}}, "regression", ()),
    ("BertForSequenceClassification", {"id2label": {"0": "score"}, "problem_type": "regression"},
     "regression", ()),
    ("BertForQuestionAnswering", {}, "question_answering", ()),
    ("BertForMaskedLM", {}, "pretraining", ()),
    ("BertModel", {}, "encoder", ()),
  ],
)  # fmt: skip
def test_heads_say_what_they_are(export, architecture, more, head, labels):
  plan = export(architecture, **more)
  assert (plan.about.head, plan.about.labels) == (head, labels)


@pytest.mark.parametrize(
  ("architecture", "more", "task", "found"),
  [
    ("BertForTokenClassification", {"id2label": NAMES}, "classification", "tokens"),
    ("BertForSequenceClassification",
     {"id2label": NAMES, "problem_type": "multi_label_classification"}, "classification",
     "multilabel"),
    ("BertForSequenceClassification", {"id2label": {"0": "a", "1": "b"}}, "multilabel",
     "classification"),
    ("BertForSequenceClassification", {"id2label": {"0": "x"}}, "tokens", "regression"),
    ("BertForQuestionAnswering", {}, "pretraining", "question_answering"),
  ],
)  # fmt: skip
def test_a_task_that_contradicts_the_head_is_refused(export, architecture, more, task, found):
  with pytest.raises(UserError, match=f"expected the task {found}, as .* found {task}"):
    export(architecture, {"task": task, "labels": ("a", "b")}, **more)


def test_multiple_choice_is_no_head_of_ours(export):
  with pytest.raises(UserError, match="found multiple choice"):
    export("BertForMultipleChoice")


def test_every_model_is_an_encoder_too(export):
  plan = export("BertForTokenClassification", {"task": "encoder"}, id2label=NAMES)
  assert (plan.about.head, plan.about.labels, plan.about.settings) == ("encoder", (), {})


def test_a_head_that_nobody_names_is_asked_for(export):
  with pytest.raises(UserError, match=r"`task`: expected one of classification, .* found none"):
    export()
  with pytest.raises(UserError, match="expected different labels, at least 2, found"):
    export(flags={"task": "classification"})
  with pytest.raises(UserError, match="no labels for regression, found 2"):
    export(flags={"task": "regression", "labels": ("a", "b")})


QUESTIONS = {
  "head": "question_answering", "max_seq_length": 96, "pairs": True,
  "settings": {
    "doc_stride": 32, "max_query_length": 24, "n_best_size": 7, "max_answer_length": 9,
    "version_2_with_negative": True, "null_score_diff_threshold": -2.0, "dynamic_padding": False,
  },
}  # fmt: skip


def test_settings_travel_with_the_weights(export, caplog):
  plan = export(head=QUESTIONS)
  assert plan.about.settings == QUESTIONS["settings"]
  assert plan.text.max_seq_length == 96 and plan.static_length
  assert "not known" not in caplog.text


def test_what_is_given_goes_before_and_is_said(export, caplog):
  given = {"doc_stride": 16, "n_best_size": 7}
  flags = {"settings": given, "max_seq_length": 64, "static_length": False}
  plan = export(head=QUESTIONS, flags=flags)
  assert plan.about.settings == {**QUESTIONS["settings"], "doc_stride": 16}
  assert plan.text.max_seq_length == 64 and not plan.static_length
  assert re.search(r"doc_stride=16\W+where these weights were trained with 32", caplog.text)
  assert re.search(r"max_seq_length=64\W+where these weights were trained with 96", caplog.text)
  assert "n_best_size" not in caplog.text


def test_what_is_not_known_is_said(export, caplog):
  plan = export("BertForQuestionAnswering", flags={"settings": {"doc_stride": 32}})
  assert plan.about.settings["max_query_length"] == 64 and not plan.static_length
  for line in (
    "`max_seq_length` is not known of these weights; taking 128",
    "`max_query_length` is not known of these weights; taking 64",
    "`version_2_with_negative` is not known of these weights; taking False",
  ):
    assert line in caplog.text
  assert "`doc_stride` is not known" not in caplog.text and "`pairs`" not in caplog.text


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"max_query_length": 128}, "max_query_length"),
    ({"n_best_size": 0}, "`n_best_size`: expected at least 1, found 0"),
    ({"max_answer_length": 0}, "`max_answer_length`: expected at least 1, found 0"),
  ],
)
def test_settings_that_cannot_be_are_refused(export, settings, message):
  with pytest.raises(UserError, match=message):
    export("BertForQuestionAnswering", flags={"settings": settings})


def test_pairs_travel(export, caplog):
  names = {"id2label": {"0": "a", "1": "b"}}
  head = {"head": "classification", "pairs": True, "max_seq_length": 48}
  assert export("BertForSequenceClassification", head=head, **names).about.pairs
  plan = export("BertForSequenceClassification", head=head, flags={"pairs": False}, **names)
  assert plan.about.pairs is False
  assert re.search(r"pairs=False\W+where these weights", caplog.text)


def test_lite_has_no_form_for_masks(golden, tmp_path):
  path = weight_dirs.write(golden, tmp_path / "weights")
  options = ExportOptions(str(tmp_path / "export"), lite=("float32",))
  with pytest.raises(UserError, match="no `lite`"):
    ExportRunner(ExportRun(path, options, "pretraining"))


def test_no_task_knows_another(root):
  """A script loads the export of its own kind of head, and so its own task, alone."""
  code = (
    "import sys\n"
    "import bert_tf.scripts.run_classifier\n"
    "from bert_tf.export import kinds\n"
    "kinds.kind_of('classification')\n"
    "found = [m for m in sys.modules if m.startswith(('bert_tf.tasks.squad', 'tensorflow'))]\n"
    "assert not found, found\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=60)
