"""Writes the vectors of every token of a text file as JSON lines."""

from bert_tf.scripts import extract_features
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(extract_features)
