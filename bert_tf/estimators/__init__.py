"""Fine-tuning as scikit-learn's estimators: the engine of the scripts, driven from Python."""

from __future__ import annotations

from bert_tf.estimators.classifier import BertClassifier
from bert_tf.estimators.question_answerer import BertQuestionAnswerer
from bert_tf.estimators.regressor import BertRegressor
from bert_tf.estimators.tagger import BertTagger

__all__ = ["BertClassifier", "BertQuestionAnswerer", "BertRegressor", "BertTagger"]
