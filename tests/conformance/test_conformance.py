"""Every model x everything that a model must survive.

A model of modeling.py or heads.py, or a form of one, that is missing from `MODELS` fails
`test_every_model_is_on_the_list`; a new line of `MODELS` goes through every check by itself.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import inspect
import multiprocessing
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, BertModel, checkpoints, heads, modeling
from bert_tf.checkpoints import tf1
from bert_tf.document_classifier import DocumentClassifierModel
from bert_tf.export.graphs.frozen_model import FrozenModel
from bert_tf.keras_model import BertKerasModel
from bert_tf.model_dir import Description
from bert_tf.names import named_variables

CONFIG = BertConfig(
  vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12,
  max_position_embeddings=12, type_vocab_size=2,
)  # fmt: skip
WITHOUT_DROPOUT = dataclasses.replace(
  CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
)
LABELS = 3

# Name -> how to make it with a config and the options that every model has.
MODELS: dict[str, Callable[..., BertKerasModel]] = {
  "encoder": BertModel,
  "encoder, no pooler": lambda c, **o: BertModel(c, add_pooler=False, **o),
  "pretraining": heads.PretrainingModel,
  "masked LM": lambda c, **o: heads.PretrainingModel(c, next_sentence=False, **o),
  "classifier": lambda c, **o: heads.ClassifierModel(c, LABELS, **o),
  "documents": lambda c, **o: DocumentClassifierModel(c, LABELS, 5, 2, "attention", **o),
  "tokens": lambda c, **o: heads.TokenClassifierModel(c, LABELS, **o),
  "tokens, no pooler": lambda c, **o: heads.TokenClassifierModel(c, LABELS, add_pooler=False, **o),
  "span": heads.SpanModel,
  "span, no pooler": lambda c, **o: heads.SpanModel(c, add_pooler=False, **o),
}
# (model, check) -> why the model need not pass it.
_SAME = "equals the form with a pooler bit for bit (tests/test_keras_models.py)"
NOT_APPLICABLE = {
  (f"{model}, no pooler", check): _SAME
  for model in ("encoder", "tokens", "span")
  for check in (
    "saved_model_in_a_session", "traced", "compiled", "bfloat16", "recomputed", "two_replicas",
  )
} | {
  ("documents", "hugging_face"): "no attention over windows there; the conversion says so",
  ("documents", "compiled"): "the number of windows depends on the lengths; refused with XLA",
  ("documents", "packed"): "a row is one document",
}  # fmt: skip

SEED = (1, 2)
FEATURES = {
  "input_ids": np.array([[4, 1, 2, 3, 5, 7], [4, 9, 8, 5, 0, 0]], np.int32),
  "input_mask": np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], np.int32),
  "segment_ids": np.array([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]], np.int32),
  "masked_lm_positions": np.array([[1, 4], [2, 3]], np.int32),
}
# The same two sequences in one row.
PACKED = {
  "input_ids": np.array([[4, 1, 2, 3, 5, 7, 4, 9, 8, 5]], np.int32),
  "input_mask": np.ones([1, 10], np.int32),
  "segment_ids": np.array([[0, 0, 0, 1, 1, 1, 0, 0, 1, 1]], np.int32),
  "masked_lm_positions": np.array([[1, 4, 8, 9]], np.int32),
  "sequence_ids": np.array([[1] * 6 + [2] * 4], np.int32),
  "position_ids": np.array([[*range(6), *range(4)]], np.int32),
  "cls_positions": np.array([[0, 6]], np.int32),
}
TOKENS = FEATURES["input_mask"].astype(bool)


def variable_values(model: keras.Model) -> dict[str, np.ndarray]:
  return {name: variable.numpy() for name, variable in named_variables(model).items()}


def assign(model: keras.Model, values: dict[str, np.ndarray]) -> keras.Model:
  for name, variable in named_variables(model).items():
    variable.assign(values[name])
  return model


def flat(outputs: dict) -> dict[str, np.ndarray]:
  """Outputs by name, those of layers with a number."""
  found = {}
  for name, value in outputs.items():
    values = {f"{name}_{i}": v for i, v in enumerate(value)} if isinstance(value, list) else None
    found.update(values or {name: value})
  return {name: tf.cast(value, tf.float32).numpy() for name, value in found.items()}


def vectors_of(outputs: dict) -> str:
  """The output of the encoder that a model gives: of tokens or, of a document, the pooled one."""
  return "sequence_output" if "sequence_output" in outputs else "pooled_output"


def loss_of(outputs: dict) -> tf.Tensor:
  """A number that depends on what the model is made for."""
  made_for = [name for name in outputs if name.endswith("logits")]
  made_for = made_for or [n for n in ("sequence_output", "pooled_output") if n in outputs]
  return tf.add_n([tf.reduce_sum(tf.cast(outputs[n], tf.float32) ** 2) for n in made_for])


def gradients(model: keras.Model, features: dict, training: bool) -> list[tf.Tensor]:
  """Of `loss_of`, of each variable that it depends on."""
  with tf.GradientTape() as tape:
    loss = loss_of(model(features, training=training, dropout_seed=tf.constant(SEED, tf.int64)))
  found = tape.gradient(loss, [v.value for v in model.trainable_variables])
  return [tf.convert_to_tensor(g) for g in found if g is not None]


def assert_close(found, expected, atol: float = 0.0) -> None:
  assert len(found) == len(expected)
  if isinstance(expected, dict):
    assert found.keys() == expected.keys()
    found, expected = ([d[name] for name in expected] for d in (found, expected))
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, rtol=0, atol=atol * max(1.0, np.abs(other).max()))


class Case:
  """A model with weights that matter, and what it gives."""

  def __init__(self, name: str):
    self.name, self.make = name, MODELS[name]
    rng = np.random.RandomState(0)
    self.model = self.make(CONFIG)
    self.values = {
      variable: rng.normal("gamma" in variable, 0.3, value.shape).astype(np.float32)
      for variable, value in sorted(variable_values(self.model).items())
    }
    assign(self.model, self.values)
    self.outputs = flat(self.model(FEATURES))

  def again(self, config: BertConfig = CONFIG, **options) -> BertKerasModel:
    """Another model with the same weights."""
    return assign(self.make(config, **options), self.values)


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
  return {name: Case(name) for name in MODELS}


def native_checkpoint(case: Case, path) -> None:
  """The original's format, under the original's names."""
  tf1.write(str(path / "model.ckpt"), named_variables(case.model))
  fresh = case.make(CONFIG)
  report = checkpoints.load(fresh, str(path / "model.ckpt"))
  assert not report.missing and not report.unexpected
  assert_close(variable_values(fresh), case.values)


def hugging_face(case: Case, path) -> None:
  """There and back; `convert` compares outputs, too."""
  tf1.write(str(path / "model.ckpt"), named_variables(case.model))
  about = Description(CONFIG, head="tokens" if case.name.startswith("tokens") else None)
  converted = checkpoints.convert(str(path / "model.ckpt"), str(path / "hf"), "huggingface", about)
  assert not converted.left_out
  fresh = case.make(CONFIG)
  report = checkpoints.load(fresh, str(path / "hf"))
  assert not report.missing and not report.unexpected
  assert_close(variable_values(fresh), case.values)


def saved_model_in_a_session(case: Case, path) -> None:
  """What TensorFlow 1 and TensorFlow Serving load."""
  module = FrozenModel(case.model)
  spec = [{n: tf.TensorSpec([None, None], tf.int32, name=n) for n in FEATURES}]

  @tf.function(autograph=False, input_signature=spec)
  def serve(features):
    outputs = module(features)
    return {name: value for name, value in outputs.items() if not isinstance(value, list)}

  module.serve = serve
  tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
  v1 = tf.compat.v1
  with tf.Graph().as_default(), v1.Session() as session:
    graph = v1.saved_model.load(session, ["serve"], str(path)).signature_def["serving_default"]
    feed = {graph.inputs[n].name: FEATURES[n] for n in graph.inputs}
    found = session.run({n: info.name for n, info in graph.outputs.items()}, feed)
  assert_close(found, {n: case.outputs[n] for n in found}, 1e-6)
  assert vectors_of(found) in found


def keras_file(case: Case, path) -> None:
  """`save` and `load_model`; the same config, weights, outputs and dropout."""
  case.model.save(str(path / "model.keras"))
  loaded = keras.saving.load_model(str(path / "model.keras"))
  assert type(loaded) is type(case.model)
  assert loaded.get_config() == case.model.get_config()
  assert list(named_variables(loaded)) == list(named_variables(case.model))
  assert_close(flat(loaded(FEATURES)), case.outputs)
  seed = tf.constant(SEED, tf.int64)
  trained = [flat(m(FEATURES, training=True, dropout_seed=seed)) for m in (loaded, case.model)]
  assert_close(*trained)


def summary(case: Case, path) -> None:
  """Counts and shapes of all parts."""
  lines: list[str] = []
  case.model.summary(print_fn=lines.append, expand_nested=True, line_length=120)
  text = "\n".join(lines)
  assert f"{case.model.count_params():,}" in text
  assert "?" not in text and f"(None, {CONFIG.hidden_size})" in text
  assert ("pooler" in text) == any(name.startswith("bert/pooler") for name in case.values)


def traced(case: Case, path) -> None:
  """`tf.function`: outputs, under dropout, are those of eager execution."""
  seed = tf.constant(SEED, tf.int64)
  run = tf.function(case.model, autograph=False)
  found, expected = (flat(f(FEATURES, training=True, dropout_seed=seed)) for f in (run, case.model))
  assert_close(found, expected, 1e-5)


def compiled(case: Case, path) -> None:
  """XLA: outputs are those of TensorFlow's own operations."""
  run = tf.function(case.model, autograph=False, jit_compile=True)
  assert_close(flat(run({n: tf.constant(x) for n, x in FEATURES.items()})), case.outputs, 1e-5)


def bfloat16(case: Case, path) -> None:
  """Half of the bits, nearly the same outputs; weights and logits stay float32."""
  model = case.again(dtype="mixed_bfloat16")
  assert {v.dtype for v in model.variables} == {"float32"}
  outputs = model(FEATURES)
  vectors = vectors_of(outputs)
  assert outputs[vectors].dtype == tf.bfloat16
  assert {v.dtype for n, v in outputs.items() if n.endswith("logits")} <= {tf.float32}
  # 8 bits of precision.
  assert_close(flat(outputs), case.outputs, 0.1)
  assert not np.array_equal(flat(outputs)[vectors], case.outputs[vectors])


def packed(case: Case, path) -> None:
  """Two sequences in one row are as two rows, at inference and in training."""
  found = flat(case.model(PACKED))
  for name in ("sequence_output", "logits", "start_logits", "end_logits"):
    if name in found and found[name].shape[:2] == (1, 10):
      np.testing.assert_allclose(found[name][0], case.outputs[name][TOKENS], atol=1e-5)
  per_sequence = ("pooled_output", "masked_lm_logits", "next_sentence_logits")
  per_sequence += ("logits",) if case.name == "classifier" else ()
  for name in set(per_sequence) & set(found):
    np.testing.assert_allclose(found[name], case.outputs[name], atol=1e-5)
  trained = flat(case.again(WITHOUT_DROPOUT)(PACKED, training=True))
  for name in {"pooled_output", "masked_lm_logits", "next_sentence_logits"} & set(found):
    np.testing.assert_allclose(trained[name], case.outputs[name], atol=1e-5)


def recomputed(case: Case, path) -> None:
  """Activations that are computed once more meet the same dropout: the same gradients."""
  model = case.again(recompute_activations=True)
  found = tf.function(lambda: gradients(model, FEATURES, True), autograph=False)()
  assert_close(found, gradients(case.model, FEATURES, True), 1e-5)


CHECKS = {
  check.__name__: check
  for check in (
    native_checkpoint, hugging_face, saved_model_in_a_session, keras_file, summary, traced,
    compiled, bfloat16, packed, recomputed,
  )
}  # fmt: skip


def models_for(check: str) -> list[str]:
  return [name for name in MODELS if (name, check) not in NOT_APPLICABLE]


@pytest.mark.parametrize(
  ("name", "check"), [(name, check) for check in CHECKS for name in models_for(check)]
)
def test_conformance(name, check, cases, tmp_path):
  CHECKS[check](cases[name], tmp_path)


def on_two_replicas() -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
  """Outputs and summed gradients of each model on two devices, and those on one.

  Runs in a process of its own: TensorFlow takes its number of devices when it starts.
  """
  cpu = tf.config.list_physical_devices("CPU")[0]
  tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
  strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
  features = strategy.experimental_distribute_values_from_function(
    lambda context: {
      name: tf.constant(x[context.replica_id_in_sync_group :][:1]) for name, x in FEATURES.items()
    }
  )
  found = {}
  for name in models_for("two_replicas"):
    case = Case(name)
    with strategy.scope():
      model = case.again()

    @tf.function(autograph=False)
    def run(features, model=model):
      def replica(features):
        total = tf.distribute.get_replica_context().all_reduce(
          "sum", gradients(model, features, False)
        )
        outputs = model(features)
        return outputs[vectors_of(outputs)], total

      return strategy.run(replica, args=(features,))

    sequences, totals = run(features)
    sequences = tf.concat(strategy.experimental_local_results(sequences), axis=0)
    totals = [strategy.experimental_local_results(g)[0].numpy() for g in totals]
    expected = [g.numpy() for g in gradients(case.model, FEATURES, False)]
    found[name] = [sequences.numpy(), *totals], [case.outputs[vectors_of(case.outputs)], *expected]
  return found


@pytest.fixture(scope="module")
def replicas():
  spawn = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
    return pool.submit(on_two_replicas).result(timeout=300)


@pytest.mark.parametrize("name", models_for("two_replicas"))
def test_two_replicas_are_one_batch(name, replicas):
  assert_close(*replicas[name], 1e-5)


def unlisted(modules, made: list[BertKerasModel]) -> set[str]:
  """Models that `made` has none of, and their choices that it never makes."""
  kinds = {k for m in modules for _, k in inspect.getmembers(m, inspect.isclass)}
  kinds = {k for k in kinds if issubclass(k, keras.Model) and k.__module__.startswith("bert_tf.")}
  found = {type(model) for model in made}
  # What others are derived from and nobody makes is no model of its own.
  models = {k for k in kinds if not any(k is not o and issubclass(o, k) for o in kinds)}
  missing = {kind.__name__ for kind in models - found}
  for kind in models & found:
    configs = [model.get_config() for model in made if type(model) is kind]
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
      if isinstance(parameter.default, bool) and name != "recompute_activations":
        missing |= {
          f"{kind.__name__}({name}={value})"
          for value in {True, False} - {config[name] for config in configs}
        }
  return missing


def test_every_model_is_on_the_list(cases):
  made = [case.model for case in cases.values()]
  assert not unlisted((modeling, heads), made)
  # It does fail where one is missing.
  without_span = [model for model in made if not isinstance(model, heads.SpanModel)]
  assert unlisted((modeling, heads), without_span) == {"SpanModel"}
  without_masked_lm = [c.model for name, c in cases.items() if name != "masked LM"]
  assert unlisted((heads,), without_masked_lm) == {"PretrainingModel(next_sentence=False)"}


def test_exceptions_are_of_this_table_and_give_a_reason():
  for (name, check), reason in NOT_APPLICABLE.items():
    assert name in MODELS and check in {*CHECKS, "two_replicas"} and len(reason) > 10
