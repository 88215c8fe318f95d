"""Creates masked-LM and next-sentence TFRecords from text, one sentence a line."""

from bert_tf.scripts import create_pretraining_data
from bert_tf.scripts.start import start

if __name__ == "__main__":
  start(create_pretraining_data)
