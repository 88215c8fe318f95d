"""A label for every word of a sentence, such as those of names."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bert_tf.errors import UserError
from bert_tf.estimators.base import BertEstimator, two
from bert_tf.tasks.ner import metrics
from bert_tf.tasks.ner.data import NerData, NerOptions
from bert_tf.tasks.ner.sentences import Sentence
from bert_tf.trained_model import inputs
from bert_tf.trained_model.words import sentences_of

if TYPE_CHECKING:
  from typing_extensions import Self


@dataclasses.dataclass(repr=False, eq=False, kw_only=True)
class BertTagger(BertEstimator):
  """Labels words, as run_ner.py does; for the parameters see its base.

  >>> import bert_tf
  >>> sentences = [["Ada", "met", "Charles"], ["nobody", "came"]]
  >>> tags = [["B-PER", "O", "B-PER"], ["O", "O"]]
  >>> tagger = bert_tf.BertTagger("tiny_bert", epochs=1, train_batch_size=2, max_seq_length=16)
  >>> [len(found) for found in tagger.fit(sentences, tags).predict(sentences)]
  [3, 2]

  Tags are those of CoNLL's files: O, and B-PER, I-PER and so on. `trained_.entities(texts)` finds
  names in running text.

  Args:
    doc_stride: how many pieces a window on a long sentence starts after the one before; default:
      half a window.

  Attributes:
    trained_: the model, see `bert_tf.load`.
    history_: losses and scores of the training, as in metrics.jsonl.
  """

  doc_stride: int | None = None

  def fit(self, X: Any, y: Any = None, validation_data: Any = None) -> Self:
    """Fine-tunes the checkpoint.

    Args:
      X: sentences as lists of words.
      y: a list of tags for each.
      validation_data: (X, y), which `eval_steps` evaluates on.

    Raises:
      UserError: not a tag for every word, tags that cannot be, or see `FineTuning`.
    """
    found = {"train": _sentences(X, y)}
    if validation_data is not None:
      found["dev"] = _sentences(*two(validation_data))
    options = NerOptions(sentences=found, doc_stride=self.doc_stride)
    make = functools.partial(NerData, options)
    self._train(lambda run, weights, directory: make(run, weights), NerData.default_max_seq_length)
    return self

  def predict(self, X: Any) -> list[list[str]]:
    """The tags of every sentence."""
    return self._fitted().tag(sentences_of(X), self.predict_batch_size)

  def score(self, X: Any, y: Any) -> float:
    """F1 of whole entities, as CoNLL counts: right if type and borders are."""
    gold = [sentence.tags or [] for sentence in _sentences(X, y)]
    return metrics.compute(self.predict(X), gold)["f1"]


def _sentences(X: Any, y: Any) -> list[Sentence]:
  if y is None:
    raise UserError("requires y to be passed, but the target y is None")
  words: Sequence[list[str]] = sentences_of(X)
  tags = [[str(tag) for tag in inputs.plain_list(row)] for row in inputs.plain_list(y)]
  if len(words) != len(tags):
    raise UserError(f"expected tags for every sentence, found {len(tags)} for {len(words)}")
  for number, (row, labels) in enumerate(zip(words, tags, strict=True)):
    if len(row) != len(labels):
      raise UserError(
        f"sentence {number}: expected a tag for each of {len(row)} words, found {len(labels)}"
      )
  return [
    Sentence(row, labels, f"sentence {number}", 0)
    for number, (row, labels) in enumerate(zip(words, tags, strict=True))
  ]
