"""Pretraining in two phases (BERT paper, appendix A.2)."""

from __future__ import annotations

from bert_tf.recipes.recipe import Recipe, Step, step

_WARMUP = 10_000
_STEPS, _SHORT = 1_000_000, 900_000


def _records(length: int, predictions: int) -> Step:
  return step(
    "create_pretraining_data",
    input_file="$data/*.txt",
    output_file=f"$output/records/len{length}.tfrecord",
    vocab_file="$bert/vocab.txt",
    max_seq_length=length,
    max_predictions_per_seq=predictions,
    masked_lm_prob=0.15,
    dupe_factor=10,
    random_seed=12345,
  )


def _training(length: int, predictions: int, **more: object) -> Step:
  return step(
    "run_pretraining",
    input_file=f"$output/records/len{length}.tfrecord",
    bert_config_file="$bert/bert_config.json",
    do_train=True,
    max_seq_length=length,
    max_predictions_per_seq=predictions,
    train_batch_size=256,
    learning_rate=1e-4,
    num_warmup_steps=_WARMUP,
    num_train_steps=_STEPS,
    **more,
  )


RECIPES = (
  Recipe(
    name="pretraining",
    title="BERT from text: 900,000 steps of 128 pieces, then 100,000 of 512, in one schedule",
    steps=(
      _records(128, 20),
      _training(128, 20, output_dir="$output/run", stop_at=_SHORT / _STEPS),
      _records(512, 77),
      _training(512, 77, output_dir="$output/run", allow_config_change=True),
    ),
    data="text, a sentence a line, a blank line between documents; the paper: Wikipedia and books",
    paper="https://arxiv.org/abs/1810.04805, section 3.1 and appendix A.2",
    expected="none published that we know: the paper reports what fine-tuning makes of it",
    source="the paper, section 4",
    cost="paper: BERT-base 4 days on 4 Cloud TPUs (16 chips), BERT-large 4 days on 16 (64 chips)",
  ),
)
