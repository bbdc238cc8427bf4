#!/usr/bin/env bash
# Measure the segmentation node as its own process: scripts/bench_node.sh [--size WxH] [--rate HZ] [--help]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment
exec python "$ENET_ROOT/scripts/bench_node.py" "$@"
