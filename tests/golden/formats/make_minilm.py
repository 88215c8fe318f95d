"""Makes golden sentence embeddings of all-MiniLM-L6-v2; README.md tells with which versions.

Usage: python make_minilm.py DIRECTORY_OF_THE_MODEL
"""

import os
import sys

import numpy as np
import torch
import transformers

# Own sentences: plain ones, pairs that mean the same, other scripts, odd characters, one long.
SENTENCES = [
    "A man is playing a guitar on the stage.",
    "Somebody performs music with a guitar.",
    "The cat sleeps on the warm windowsill.",
    "Stock prices fell sharply after the announcement.",
    "Shares dropped a lot once the news was out.",
    "How do I reset my password?",
    "I forgot my password, what now?",
    "The recipe needs two eggs, 250 g of flour and a pinch of salt.",
    "Il pleut beaucoup à Brest en novembre.",
    "Die Straßenbahn fährt über die Brücke.",
    "北京是中国的首都。",
    "The quick brown fox jumps over the lazy dog!",
    "E = mc² relates energy to mass.",
    "Don't you think it's rather well-written?",
    "Yes.",
    "antidisestablishmentarianism",
    "She sold sea shells 😀 by the sea shore #summer @home",
    "The committee, which had met every other Tuesday since the spring of last year, decided at "
    "last, after long and often heated debate among its nine members, to postpone the vote.",
    "A vector of 384 numbers stands for each sentence.",
    "Nothing here is copied from a data set.",
]  # fmt: skip


def main(model_directory, path):
  """Writes ids, mask and the mean-pooled, normalised embeddings."""
  torch.set_num_threads(1)
  model = transformers.BertModel.from_pretrained(model_directory).eval()
  tokenizer = transformers.BertTokenizer.from_pretrained(model_directory)
  batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
  with torch.no_grad():
    hidden = model(**batch).last_hidden_state
  mask = batch["attention_mask"][..., None].float()
  mean = (hidden * mask).sum(1) / mask.sum(1)
  np.savez_compressed(
    path,
    sentences=np.array(SENTENCES),
    input_ids=batch["input_ids"].numpy().astype(np.int32),
    embeddings=torch.nn.functional.normalize(mean, dim=1).numpy(),
  )


if __name__ == "__main__":
  main(sys.argv[1], os.path.join(os.path.dirname(__file__), "minilm_embeddings.npz"))
