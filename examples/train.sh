#!/bin/sh
# Report metrics from plain shell: one line of JSON per point, appended to the file $AUGURY_METRICS.
#
# Minimises x^2 + 20 y^2 by gradient descent with momentum, from (3, 1). Too small a rate is slow, too large a
# one diverges, and the best momentum depends on the rate. By hand, and as a search:
#
#     sh train.sh --rate 0.03 --momentum 0.8
#     augury hyper bayesian --num-runs 12 --parallel-runs 3 --metric loss --metric-agg last --goal minimize \
#         --param rate=.001:.2:log --param momentum=0:.99 -- sh train.sh --rate :rate: --momentum :momentum:
set -eu
export LC_ALL=C # a point, never a comma, in numbers

rate=0.03 momentum=0.8 steps=50
while [ $# -gt 0 ]; do
    case "$1 ${2-}" in
        "--rate "?*) rate=$2 ;;
        "--momentum "?*) momentum=$2 ;;
        "--steps "?*) steps=$2 ;;
        *)
            echo "usage: train.sh [--rate R] [--momentum M] [--steps N], got '$1'" >&2
            exit 2
            ;;
    esac
    shift 2
done

# report NAME VALUE INDEX. Started by hand there is no $AUGURY_METRICS, and nothing to report to.
# `augury metric NAME VALUE INDEX` does the same, this needs nothing installed. NaN and Infinity go as texts.
report() {
    [ -n "${AUGURY_METRICS-}" ] || return 0
    case $2 in
        *nan*) value='"NaN"' ;;
        -inf*) value='"-Infinity"' ;;
        *inf*) value='"Infinity"' ;;
        *) value=$2 ;;
    esac
    printf '{"name": "%s", "value": %s, "index": %d}\n' "$1" "$value" "$3" >>"$AUGURY_METRICS"
}

awk -v rate="$rate" -v momentum="$momentum" -v steps="$steps" 'BEGIN {
    x = 3; y = 1
    for (step = 0; step < steps; step++) {
        vx = momentum * vx - rate * 2 * x; x += vx
        vy = momentum * vy - rate * 40 * y; y += vy
        printf "%d %.9g\n", step, x * x + 20 * y * y
        fflush()
    }
}' | while read -r step loss; do
    echo "step $step loss $loss"
    report loss "$loss" "$step"
done
