"""Rewrites the weights of a BERT in another format and proves that they compute the same."""

from bert_tf.scripts import convert_checkpoint
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(convert_checkpoint)
