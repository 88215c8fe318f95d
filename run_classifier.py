"""Fine-tunes BERT on sentences or pairs: labels, several labels, or numbers."""

from bert_tf.scripts import run_classifier
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(run_classifier)
