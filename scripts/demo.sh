#!/usr/bin/env bash
# Run the segmentation node on real images: scripts/demo.sh [--input PATH] [--help]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment
exec python "$ENET_ROOT/scripts/demo.py" "$@"
