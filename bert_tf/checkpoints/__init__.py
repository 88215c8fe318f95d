"""Reads and writes the weights of BERT under the names of google-research/bert.

>>> import bert_tf
>>> model = bert_tf.BertModel(bert_tf.BertConfig.from_json_file("tiny_bert/bert_config.json"))
>>> report = bert_tf.checkpoints.load(model, "tiny_bert")
>>> report.format, len(report.matched), report.missing
('TF1', 39, ())
>>> print(bert_tf.checkpoints.convert("tiny_bert", "converted", "huggingface"))
converted: largest difference of each output
  ...
"""

from __future__ import annotations

from bert_tf.checkpoints.conversion import convert
from bert_tf.checkpoints.loading import load, load_from
from bert_tf.checkpoints.reader import check_finite
from bert_tf.checkpoints.report import LoadReport
from bert_tf.checkpoints.saving import save
from bert_tf.model_dir import describe

__all__ = ["LoadReport", "check_finite", "convert", "describe", "load", "load_from", "save"]
