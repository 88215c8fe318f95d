"""Exports a checkpoint as a SavedModel that takes raw text. See docs/serving.md."""

from bert_tf.scripts import export_model
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(export_model)
