"""Classification and regression of sentences and pairs (run_classifier.py).

What a file with a task of your own needs: see `registry`.
"""

from bert_tf.tasks.classification.examples import InputExample
from bert_tf.tasks.classification.registry import DataProcessor, register

__all__ = ["DataProcessor", "InputExample", "register"]
