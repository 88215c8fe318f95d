"""A processor as it was written for google-research/bert, and the one line that registers it.

    python run_classifier.py --task_file=examples/original_processor.py --task_name=questions \
      --data_dir=DIR --do_train --do_eval --init_checkpoint=BERT_DIR --output_dir=OUT

DIR holds train.tsv, dev.tsv and test.tsv with a row of names and the columns id, question, other
question, and 0 or 1 for whether they ask the same.
"""

import os

from bert_tf import tokenization
from bert_tf.tasks.classification import DataProcessor, InputExample, register


class QuestionsProcessor(DataProcessor):
  """Nothing here differs from what stood in a copy of the original's run_classifier.py."""

  def get_train_examples(self, data_dir):
    """See base class."""
    return self._create_examples(self._read_tsv(os.path.join(data_dir, "train.tsv")), "train")

  def get_dev_examples(self, data_dir):
    """See base class."""
    return self._create_examples(self._read_tsv(os.path.join(data_dir, "dev.tsv")), "dev")

  def get_test_examples(self, data_dir):
    """See base class."""
    return self._create_examples(self._read_tsv(os.path.join(data_dir, "test.tsv")), "test")

  def get_labels(self):
    """See base class."""
    return ["0", "1"]

  def _create_examples(self, lines, set_type):
    """Creates examples for the training and dev sets."""
    examples = []
    for i, line in enumerate(lines):
      if i == 0:
        continue
      guid = "%s-%s" % (set_type, line[0])  # noqa: UP031
      text_a = tokenization.convert_to_unicode(line[1])
      text_b = tokenization.convert_to_unicode(line[2])
      label = "0" if set_type == "test" else tokenization.convert_to_unicode(line[3])
      examples.append(InputExample(guid=guid, text_a=text_a, text_b=text_b, label=label))
    return examples


register("questions", QuestionsProcessor)
