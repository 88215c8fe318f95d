"""What all models of this package have in common as Keras models: their inputs, and saving them."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from bert_tf.config import BertConfig
from bert_tf.model_features import model_features


class BertKerasModel(keras.Model):
  """A Keras model of a `BertConfig` that reads a dictionary of features.

  `model.save("name.keras")` and `keras.saving.load_model` keep the architecture, the weights and
  the precision; whoever loads has imported `bert_tf.modeling` or `bert_tf.heads` before.

  Attributes:
    config: the architecture.
    recompute_activations: see `BertModel`.
    reads_documents: whether rows of features may be longer than a sequence.
  """

  reads_documents: ClassVar[bool] = False
  config: BertConfig
  recompute_activations: bool
  built: bool

  def __call__(self, features: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls the model; features may be lists or arrays, see `model_features`."""
    return super().__call__(
      model_features(features, self.config, self.reads_documents), *args, **kwargs
    )

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor, as JSON has them; without weights."""
    return {
      "config": self.config.to_dict(),
      "dtype": keras.dtype_policies.serialize(self.dtype_policy),
      "recompute_activations": self.recompute_activations,
    }

  @classmethod
  def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> BertKerasModel:
    """A model with fresh weights from what `get_config` of its like returned."""
    architecture = BertConfig.from_dict(config["config"], "config of the Keras model")
    return cls(**{**config, "config": architecture})


def serializable(kind: type[BertKerasModel]) -> type[BertKerasModel]:
  """Makes Keras find a class by its name when it loads a model."""
  return keras.saving.register_keras_serializable(package="bert_tf")(kind)
