#!/bin/bash
# On a TPU VM of one host (v4-8, v5e-8): installs TensorFlow for TPUs and pretrains. The bucket is
# mounted by gcsfuse; start the script again after the VM was taken away: the run goes on.
set -euo pipefail

data=${BERT_DATA:?the directory with the records and bert_config.json}
out=${BERT_OUT:?a directory that outlives the VM}

python3 -m venv "$HOME/bert"
# shellcheck source=/dev/null
source "$HOME/bert/bin/activate"
pip install -q "${BERT_PACKAGE:-bert_tf}"
# The same version, built for TPUs, in place of the one that runs on CPUs and GPUs.
version=$(python -c 'import importlib.metadata as m; print(m.version("tensorflow"))')
pip uninstall -q -y tensorflow
pip install -q "tensorflow-tpu==$version" -f https://storage.googleapis.com/libtpu-tf-releases/index.html

exec bert-tf pretrain \
  --do_train \
  --input_file="$data/*.tfrecord" \
  --bert_config_file="$data/bert_config.json" \
  --output_dir="$out" \
  --train_batch_size=1024 \
  --num_train_steps=100000 \
  --dtype=bfloat16 \
  --use_tpu \
  --tpu_name=local
