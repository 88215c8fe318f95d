"""A head of your own: classifies by the mean of all tokens' vectors instead of that of [CLS].

    python examples/custom_head.py --task_name=mrpc --data_dir=DIR --do_train --do_eval \
      --init_checkpoint=BERT_DIR --output_dir=OUT

It takes all flags of run_classifier.py, and whatever the engine does (resuming, early stopping,
accumulation, several devices) works for it, because it keeps the contract of a task:
`bert_tf.training.task.Task` says how it is learnt, `bert_tf.tasks.task_data.TaskData` what its
examples and results are. Here both are those of classification, with another model in them.
"""

from __future__ import annotations

import sys

from absl import flags

from bert_tf.scripts import run_classifier
from bert_tf.scripts.start import start
from bert_tf.tasks.classification.data import ClassificationData

flags.adopt_module_key_flags(run_classifier)


def mean_pooled_task() -> type:
  """Defines the model and the task; in a function, so that `--help` needs no TensorFlow."""
  import tensorflow as tf

  from bert_tf.heads import TaskModel, head_dropout
  from bert_tf.tasks.classification.model import ClassificationTask

  class MeanPooledModel(TaskModel):
    """BERT without its pooler, and a linear layer on the mean of the tokens' vectors."""

    def __init__(self, config, num_labels, dtype=None, recompute_activations=False):
      super().__init__("mean_pooled", config, dtype, recompute_activations, add_pooler=False)
      self.head = self._add_head(self._output_layer(num_labels))

    def call(self, features, training=False, dropout_seed=None):
      """Features of `BertModel` -> `logits`, float32 [B, L]."""
      outputs = self.bert(features, training=training, dropout_seed=dropout_seed)
      mask = tf.cast(features["input_mask"], outputs["sequence_output"].dtype)[:, :, None]
      mean = tf.reduce_sum(outputs["sequence_output"] * mask, axis=1) / tf.reduce_sum(mask, axis=1)
      if training:
        mean = head_dropout(dropout_seed, self.config)(mean, 0.1)
      return {**outputs, "logits": self.head(mean)}

  class MeanPooledTask(ClassificationTask):
    """Labels, losses and scores are those of classification."""

    def create_model(self, dtype, recompute_activations=False):
      """See `Task`."""
      return MeanPooledModel(self._config, self._num_outputs, dtype, recompute_activations)

  return MeanPooledTask


class MeanPooledData(ClassificationData):
  """Reads examples and writes results as run_classifier.py does."""

  def __init__(self, *arguments):
    super().__init__(*arguments)
    # A run with the usual head that is started again with this one is another run.
    self.run_settings = {**self.run_settings, "pooling": "mean"}

  def task_class(self) -> type:
    """See `ClassificationData`."""
    return mean_pooled_task()


def main() -> None:
  """Does what the flags say, as run_classifier.py does."""
  run_classifier.main(MeanPooledData)


if __name__ == "__main__":
  start(sys.modules[__name__])
