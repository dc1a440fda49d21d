#!/bin/sh
# Simulates a dataset, trains a model and publishes it, in /data and /models.
#
#   pipeline               train on DATA and publish a new version
#   pipeline --if-empty    do so only if no model was published yet; otherwise publish the records
#                          of the serving model again, in case the store has lost them
#
# DATA       dataset folder; simulated if it does not exist
# SIMULATE   arguments of `simulate`
# TRAIN      arguments of `train`
# PUBLISH    arguments of `publish`, such as --force
set -eu

MODEL=${MODEL:-cp2rec}
DATA=${DATA:-/data/demo}
published=/data/.published-$MODEL  # holds the dataset folder of the newest model

if [ "${1:-}" = --if-empty ] && [ -e "/models/$MODEL/aliases.json" ]; then
    if [ -e "$published" ]; then
        exec python -m training publish "$MODEL@champion" --models /models \
            --data "$(cat "$published")" --no-promote
    fi
    echo "/models holds $MODEL, which this pipeline did not publish: nothing to do"
    exit 0
fi

# shellcheck disable=SC2086  # arguments are words
{
    [ -e "$DATA/dataset.toml" ] || python -m training simulate --out "$DATA" ${SIMULATE:-}
    python -m training train --model "$MODEL" --data "$DATA" --models /models \
        --build /data/training ${TRAIN:-}
    python -m training publish "$MODEL" --models /models --data "$DATA" ${PUBLISH:-}
}
echo "$DATA" > "$published"
