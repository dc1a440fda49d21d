#!/bin/sh
# From nothing to a published model, in /data and /models: simulate, train, publish.
#
#   pipeline               train on DATA and publish: a new version serves
#   pipeline --if-empty    only where no model was published yet; else write the records of the
#                          one that serves again, if the store has lost them
#
# DATA       dataset folder; simulated there if it does not exist
# SIMULATE   arguments of `simulate`
# TRAIN      arguments of `train`
set -eu

MODEL=${MODEL:-cp2rec}
DATA=${DATA:-/data/demo}
published=/data/.published-$MODEL  # the dataset that the newest model was published from

if [ "${1:-}" = --if-empty ] && [ -e "/models/$MODEL/aliases.json" ]; then
    if [ -e "$published" ]; then
        exec python -m training publish "$MODEL@champion" --models /models \
            --data "$(cat "$published")" --no-promote
    fi
    echo "/models holds $MODEL, published from elsewhere: nothing to do"
    exit 0
fi

# shellcheck disable=SC2086  # arguments are words
{
    [ -e "$DATA/dataset.toml" ] || python -m training simulate --out "$DATA" ${SIMULATE:-}
    python -m training train --model "$MODEL" --data "$DATA" --models /models \
        --build /data/training ${TRAIN:-}
}
python -m training publish "$MODEL" --models /models --data "$DATA"
echo "$DATA" > "$published"
