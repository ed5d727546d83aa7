#!/bin/sh
# `make demo`: a private instance in ./.demo, a bayesian search over a real training, its best run.
set -eu
cd "$(dirname "$0")"
AUGURY_HOME="$(cd .. && pwd)/.demo"
export AUGURY_HOME
# One thread to a training: the runs side by side are what uses the cores.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

augury hyper bayesian --watch --num-runs 20 --parallel-runs 2 \
    --metric keras/val_acc --metric-agg max \
    --param rate=.001:1.0:log --param layers=2:20:int --param cell=gru,lstm,rnn -- \
    python train.py --learning_rate :rate: --num_layers :layers: --cell_type :cell: ||
    [ $? -eq 3 ]  # some runs failed: the best of the others is shown all the same

search=$(augury hyper list --quiet | tail -n 1)
echo
echo "\$ augury hyper best $search"
augury hyper best "$search"
echo
echo "The search is kept in .demo; look at it again with:"
echo "    AUGURY_HOME=$AUGURY_HOME augury hyper describe $search"
augury down >/dev/null
