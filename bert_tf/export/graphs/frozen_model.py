"""The weights of a model as plain variables, as a SavedModel holds them."""

from __future__ import annotations

import keras
import tensorflow as tf

from bert_tf.names import named_variables


class FrozenModel(tf.Module):
  """Runs a Keras model on copies of its weights.

  Both loaders of TensorFlow find plain variables; the variables of a Keras 3 model are lost to
  the session loader, which TensorFlow Serving uses. The copies have the original's names, and
  matrices are kept in the type that they are multiplied in, so that serving in bfloat16 neither
  converts them at every request nor holds them twice.
  """

  def __init__(self, model: keras.Model):
    """Copies the weights of `model`, which may be any of `bert_tf.heads` or a `BertModel`."""
    super().__init__(name="model")
    self._model = _Hidden(model)
    self.frozen = {}
    for name, variable in named_variables(model).items():
      matrix = name.endswith(("kernel", "output_weights"))
      dtype = model.compute_dtype if matrix else variable.dtype
      value = tf.cast(tf.convert_to_tensor(variable.value), dtype)
      self.frozen[name] = tf.Variable(value, trainable=False, name=name)

  def __call__(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """What the model returns for `features`, at inference."""
    scope = keras.StatelessScope()
    for name, variable in named_variables(self._model.value).items():
      scope.add_update((variable, self.frozen[name].read_value()))
    with scope:
      return self._model.value(features, training=False)


class _Hidden:
  """Keeps TensorFlow from tracking, and so from saving, what a module refers to."""

  def __init__(self, value):
    self.value = value
