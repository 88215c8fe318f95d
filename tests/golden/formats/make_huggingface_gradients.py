"""Makes golden gradients of transformers; README.md tells with which versions.

Usage: python make_huggingface_gradients.py [DIRECTORY]
"""

import os
import sys

import numpy as np
import torch
import transformers
from make_huggingface import inputs


def main(root):
  """Writes loss and gradients of a classifier in evaluation mode, that is without dropout."""
  torch.set_num_threads(1)
  name = "BertForSequenceClassification"
  model = getattr(transformers, name).from_pretrained(os.path.join(root, name)).eval()
  ids, mask, segments = (torch.tensor(array) for array in inputs())
  labels = torch.tensor([2, 0])
  loss = model(
    input_ids=ids, attention_mask=mask, token_type_ids=segments, labels=labels
  ).loss  # fmt: skip
  loss.backward()
  gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
  np.savez_compressed(
    os.path.join(root, "gradients.npz"), labels=labels.numpy(), loss=loss.detach().numpy(),
    **gradients,
  )  # fmt: skip


if __name__ == "__main__":
  main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "huggingface"))
