#!/bin/bash
# sbatch examples/cluster/slurm.sh: pretraining on four nodes of eight GPUs, one task a GPU.
#SBATCH --job-name=bert
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Ten minutes before the time is up the batch script is told, and tells the tasks.
#SBATCH --signal=B:TERM@600
set -euo pipefail

data=${BERT_DATA:?the directory with the records and bert_config.json}
out=${BERT_OUT:?a directory that all nodes see}

# The tasks save themselves on SIGTERM; the job then queues again and goes on from there.
requeue() {
  jobs -p | xargs -r kill -TERM
  wait || true
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
}
trap requeue TERM

srun --kill-on-bad-exit=1 bert-tf pretrain \
  --do_train \
  --input_file="$data/*.tfrecord" \
  --bert_config_file="$data/bert_config.json" \
  --output_dir="$out" \
  --train_batch_size=2048 \
  --num_train_steps=100000 \
  --dtype=bfloat16 \
  --distribution_strategy=multi_worker_mirrored \
  --cluster_resolver=slurm &
wait $!
