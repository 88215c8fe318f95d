"""Fine-tunes BERT on SQuAD 1.1 or 2.0, predicts answers and scores them. See docs/squad.md."""

from bert_tf.scripts import run_squad
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(run_squad)
