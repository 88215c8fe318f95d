"""Pretrains BERT with masked LM and next sentence prediction, and evaluates it."""

from bert_tf.scripts import run_pretraining
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(run_pretraining)
