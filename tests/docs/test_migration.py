"""docs/migration.md names every public name of the original, and promises nothing that is not."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest

# The public names of the original's modules, at its last commit (eedf571).
ORIGINAL = {
  "modeling": """BertConfig BertModel gelu get_activation get_assignment_map_from_checkpoint dropout
    layer_norm layer_norm_and_dropout create_initializer embedding_lookup embedding_postprocessor
    create_attention_mask_from_input_mask attention_layer transformer_model get_shape_list
    reshape_to_matrix reshape_from_matrix assert_rank""",
  "tokenization": """validate_case_matches_checkpoint convert_to_unicode printable_text load_vocab
    convert_by_vocab convert_tokens_to_ids convert_ids_to_tokens whitespace_tokenize FullTokenizer
    BasicTokenizer WordpieceTokenizer""",
  "optimization": "create_optimizer AdamWeightDecayOptimizer",
  "run_classifier": """InputExample PaddingInputExample InputFeatures DataProcessor XnliProcessor
    MnliProcessor MrpcProcessor ColaProcessor convert_single_example
    file_based_convert_examples_to_features file_based_input_fn_builder create_model
    model_fn_builder input_fn_builder convert_examples_to_features main""",
  "run_squad": """SquadExample InputFeatures read_squad_examples convert_examples_to_features
    create_model model_fn_builder input_fn_builder RawResult write_predictions get_final_text
    FeatureWriter validate_flags_or_throw main""",
  "create_pretraining_data": """TrainingInstance write_instance_to_example_files create_int_feature
    create_float_feature create_training_instances create_instances_from_document MaskedLmInstance
    create_masked_lm_predictions truncate_seq_pair main""",
  "extract_features": """InputExample InputFeatures input_fn_builder model_fn_builder
    convert_examples_to_features read_examples main""",
  "run_pretraining": """model_fn_builder get_masked_lm_output get_next_sentence_output
    gather_indexes input_fn_builder main""",
}


@pytest.fixture(scope="module")
def page(root) -> str:
  return (root / "docs" / "migration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ORIGINAL)
def test_every_name_of_the_original_is_there(page, module):
  section = page.split(f"\n## {module}\n")[1].split("\n## ")[0]
  rows = re.findall(r"^\| `([\w.]+)` \| \S", section, re.M)
  assert sorted(rows) == sorted(ORIGINAL[module].split())


def resolve(name: str) -> object:
  """Imports what `bert_tf.a.b.c` names: as deep a module as there is, then attributes."""
  parts = name.split(".")
  if parts[1] == "scripts":
    # Two scripts cannot be imported by one process, since both define their flags.
    path = importlib.util.find_spec("bert_tf.scripts").submodule_search_locations[0]
    source = (pathlib.Path(path) / f"{parts[2]}.py").read_text(encoding="utf-8")
    assert f"\ndef {parts[3]}(" in source, name
    return source
  for depth in range(len(parts), 0, -1):
    try:
      found = importlib.import_module(".".join(parts[:depth]))
    except ModuleNotFoundError:
      continue
    for part in parts[depth:]:
      found = getattr(found, part)
    return found
  raise ModuleNotFoundError(name)


def test_every_promised_name_is_there(page):
  names = sorted(set(re.findall(r"`(bert_tf(?:\.\w+)+)", page)))
  assert len(names) > 60
  missing = []
  for name in names:
    try:
      resolve(name)
    except (AttributeError, ModuleNotFoundError):
      missing.append(name)
  assert not missing


def test_a_name_that_is_not_there_is_found():
  with pytest.raises(AttributeError):
    resolve("bert_tf.modeling.no_such_name")
  with pytest.raises(ModuleNotFoundError):
    resolve("no_such_package.modeling")


def test_assignment_map(golden):
  """As the original's users wrote it: what the checkpoint holds, by name, and no more."""
  import numpy as np
  import tensorflow as tf

  from bert_tf import BertConfig, heads, modeling

  model = heads.ClassifierModel(BertConfig.from_json_file(str(golden / "bert_config.json")), 2)
  checkpoint = str(golden / "tiny_ckpt" / "bert_model.ckpt")
  found, initialized = modeling.get_assignment_map_from_checkpoint(
    model.trainable_variables, checkpoint
  )
  assert set(found) == {v.path for v in model.trainable_variables if v.path.startswith("bert/")}
  assert "output_weights" not in found and len(found) == 39
  assert set(initialized) == {key for name in found for key in (name, f"{name}:0")}
  reader = tf.train.load_checkpoint(checkpoint)
  for name, variable in found.items():
    variable.assign(reader.get_tensor(name))
  np.testing.assert_array_equal(
    model.bert.pooler.weights[0].numpy(), reader.get_tensor("bert/pooler/dense/kernel")
  )


def test_weights_of_a_hub_module(golden, tmp_path):
  """Its variables lie in a directory of that name, behind the prefix module/."""
  import numpy as np
  import tensorflow as tf

  from bert_tf import BertConfig, BertModel, checkpoints

  source = str(golden / "tiny_ckpt" / "bert_model.ckpt")
  reader = tf.train.load_checkpoint(source)
  names = [name for name in reader.get_variable_to_shape_map() if name.startswith("bert/")]
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    for name in names:
      tf.compat.v1.get_variable(f"module/{name}", initializer=reader.get_tensor(name))
    session.run(tf.compat.v1.global_variables_initializer())
    prefix = str(tmp_path / "variables" / "variables")
    tf.compat.v1.train.Saver().save(session, prefix, write_meta_graph=False)
  model = BertModel(BertConfig.from_json_file(str(golden / "bert_config.json")))
  checkpoints.load(model, prefix)
  np.testing.assert_array_equal(
    model.embeddings.word_embeddings.numpy(), reader.get_tensor("bert/embeddings/word_embeddings")
  )
