#!/usr/bin/env bash
# Train the CamVid weights: scripts/train_camvid.sh CAMVID OUT [ENET TRAIN ARGUMENT...]
# CAMVID is the folder of one of the two published forms (docs/datasets.md). Run it again to resume a run that was stopped.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
if [ $# -lt 2 ] || [ ! -d "$1" ]; then
    echo "usage: scripts/train_camvid.sh CAMVID OUT [ENET TRAIN ARGUMENT...]; CAMVID is a folder, see docs/datasets.md" >&2
    exit 2
fi
source=$(realpath "$1") out=$(realpath -m "$2")
shift 2
prepare_environment train
if [ ! -e "$out/data/dataset.yaml" ]; then
    enet convert camvid "$source" "$out/data"
fi
resume=()
if [ -e "$out/run/run.json" ]; then
    resume=(--resume)
fi
enet train --data "$out/data" --out "$out/run" "${resume[@]}" "$@"
if [ -d "$out/data/test" ]; then
    enet evaluate --model "$out/run/model.safetensors" --data "$out/data" --split test \
        --backend torch --precision fp32 --report "$out/run/test"
fi
