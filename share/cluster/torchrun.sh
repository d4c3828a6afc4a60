#!/bin/bash
# The same on one machine without a queue: torchrun starts the processes and tells them apart.
#   share/cluster/torchrun.sh 8 MODEL 100000 OUT
set -eu
processes=$1 model=$2 num=$3 out=$4
torchrun --nproc-per-node "$processes" --no-python -- dpcdvae generate --model "$model" --num "$num" --out "$out"
