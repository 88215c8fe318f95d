"""Makes the golden models of transformers; README.md tells with which versions.

Usage: python make_huggingface.py [DIRECTORY]
"""

import os
import sys

import numpy as np

CONFIG = {
    "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "max_position_embeddings": 14, "type_vocab_size": 2,
}  # fmt: skip
# Class -> how its weights are stored.
CLASSES = {
    "BertModel": "safetensors", "BertForPreTraining": "safetensors", "BertForMaskedLM": "sharded",
    "BertForSequenceClassification": "safetensors", "BertForTokenClassification": "bin",
    "BertForQuestionAnswering": "legacy_bin", "BertForNextSentencePrediction": "bin",
}  # fmt: skip


def inputs():
  """Two sequences, the second one padded."""
  rng = np.random.RandomState(5)
  ids = rng.randint(1, CONFIG["vocab_size"], (2, 10))
  mask = np.ones((2, 10), np.int64)
  mask[1, 7:] = 0
  segments = np.repeat([[0, 1]], 5, axis=1).repeat(2, axis=0)
  return ids, mask, np.sort(segments, axis=1)


def randomise(model, seed):
  """Gives every parameter, biases and normalisations too, a value that matters."""
  import torch

  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      noise = torch.randn(parameter.shape, generator=generator) * 0.3
      parameter.copy_(noise + 1 if name.endswith("LayerNorm.weight") else noise)


def main(root):
  """Writes one directory of weights for each class and outputs.npz with their outputs."""
  import torch
  import transformers

  torch.set_num_threads(1)
  ids, mask, segments = inputs()
  arrays = {"input_ids": ids, "input_mask": mask, "segment_ids": segments}
  for seed, (name, storage) in enumerate(CLASSES.items()):
    labels = 3 if "Sequence" in name or "Token" in name else 2
    config = transformers.BertConfig(**CONFIG, num_labels=labels)
    if "Token" in name:
      config.id2label = {0: "O", 1: "B-X", 2: "I-X"}
      config.label2id = {label: i for i, label in config.id2label.items()}
    if name == "BertForMaskedLM":
      config.hidden_act, config.layer_norm_eps = "gelu_new", 1e-5
    model = getattr(transformers, name)(config).eval()
    randomise(model, seed)
    directory = os.path.join(root, name)
    sharding = {"max_shard_size": "4KB"} if storage == "sharded" else {}
    model.save_pretrained(directory, **sharding)
    if storage.endswith("bin"):
      os.remove(os.path.join(directory, "model.safetensors"))
      torch.save(
        model.state_dict(), os.path.join(directory, "pytorch_model.bin"),
        _use_new_zipfile_serialization=storage == "bin",
      )  # fmt: skip
    with torch.no_grad():
      outputs = model(
        input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask),
        token_type_ids=torch.tensor(segments), output_hidden_states=True,
      )  # fmt: skip
    for key, value in outputs.items():
      value = torch.stack(value) if isinstance(value, tuple) else value
      arrays[f"{name}/{key}"] = value.numpy()
  np.savez_compressed(os.path.join(root, "outputs.npz"), **arrays)


if __name__ == "__main__":
  main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "huggingface"))
