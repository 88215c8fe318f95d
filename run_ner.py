"""Fine-tunes BERT to find named entities, or other labels of words. See docs/ner.md."""

from bert_tf.scripts import run_ner
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(run_ner)
