#!/usr/bin/env bash
# Test, build, verify, benchmark and profile on an NVIDIA GPU, and write one Markdown report:
#   scripts/first_gpu_run.sh [--here] [--out DIR] [--minutes M] [--dry-run]
# It ends within 10 minutes. Run it again with the same DIR to do what is missing. It uses .venv, where TensorRT must be
# installed, or with --here as the first argument the Python of this shell: JetPack's, or that of a container.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
if [ "${1:-}" = --here ]; then
    shift
else
    prepare_environment train test
fi
cd "$ENET_ROOT"
exec env PYTHONPATH="$ENET_ROOT${PYTHONPATH:+:$PYTHONPATH}" python3 scripts/first_gpu_run.py "$@"
