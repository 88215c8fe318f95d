"""Makes the golden tf_model.h5 of transformers 4; README.md tells with which versions.

Usage: TF_USE_LEGACY_KERAS=1 python make_huggingface_h5.py [DIRECTORY]
"""

import gzip
import os
import sys

import numpy as np
import transformers
from make_huggingface import CONFIG, inputs

CLASSES = "TFBertForPreTraining", "TFBertForQuestionAnswering", "TFBertForTokenClassification"


def main(root):
  """Writes one directory of weights for each class and outputs_h5.npz with their outputs."""
  ids, mask, segments = inputs()
  arrays = {}
  for seed, name in enumerate(CLASSES):
    rng = np.random.RandomState(seed)
    labels = 3 if "Token" in name else 2
    config = transformers.BertConfig(**{**CONFIG, "num_hidden_layers": 1}, num_labels=labels)
    model = getattr(transformers, name)(config)
    features = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    model(features)
    for weight in model.weights:
      noise = rng.normal(0, 0.3, weight.shape)
      weight.assign(noise + 1 if "gamma" in weight.name else noise)
    path = os.path.join(root, name, "tf_model.h5")
    model.save_pretrained(os.path.dirname(path))
    # An HDF5 file of 40 small tensors is ten times larger than what it holds.
    with open(path, "rb") as file, open(path + ".gz", "wb") as packed:
      packed.write(gzip.compress(file.read(), mtime=0))
    os.remove(path)
    outputs = model(features, output_hidden_states=True)
    for key, value in outputs.items():
      value = np.stack(value) if isinstance(value, tuple) else value.numpy()
      arrays[f"{name}/{key}"] = value
  np.savez_compressed(os.path.join(root, "outputs_h5.npz"), **arrays)


if __name__ == "__main__":
  main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "huggingface"))
