"""What is asked of a kind of export."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from bert_tf.export.options import GraphPlan

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Samples


class Parts(NamedTuple):
  """Which parts weights have that not every model needs."""

  pooler: bool
  next_sentence: bool

  @classmethod
  def among(cls, weights: Iterable[str]) -> Parts:
    """Those that the names of weights, the original's, belong to."""
    names = set(weights)
    pooler = "bert/pooler/dense/kernel" in names
    # The head stands on the pooled vector.
    return cls(pooler, pooler and "cls/seq_relationship/output_weights" in names)


class Kind(abc.ABC):
  """A kind of export. Needs no TensorFlow until a model or a graph is asked for.

  Attributes:
    does: what such a model does, for the model card.
    example: a request to try, input -> text, for the model card.
    takes_pairs: whether it can be trained on two texts.
  """

  does: ClassVar[str]
  example: ClassVar[Mapping[str, str]] = {"text": "Some text.", "text_pair": "More text."}
  takes_pairs: ClassVar[bool] = False

  def settings(self, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that the export answers by, and later commands are told.

    Args:
      given: by the user.
      known: as they lie beside the weights.
    """
    return {**known, **given}

  def check(self, plan: GraphPlan) -> None:  # noqa: B027
    """Raises UserError where the plan does not fit this kind."""

  def facts(self, plan: GraphPlan) -> dict[str, Any]:
    """What serving.json says besides what it says of all kinds."""
    return {}

  @abc.abstractmethod
  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """Returns the model to read the weights into, of no more parts than it needs."""

  @abc.abstractmethod
  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """Returns the graph that is saved."""

  @abc.abstractmethod
  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """Returns inputs of every signature and the right answers, by the Keras model."""
