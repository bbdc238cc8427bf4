#!/usr/bin/env bash
# Search for input that a reader of foreign data neither reads nor refuses: scripts/fuzz.sh [--minutes N] [--seed SEED] [--help]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment train test
exec python "$ENET_ROOT/scripts/fuzz.py" "$@"
