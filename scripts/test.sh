#!/usr/bin/env bash
# Check the code and run the whole test suite: scripts/test.sh [--gpu] [PYTEST ARGUMENT...]
# --gpu also runs the tests that need an NVIDIA GPU. To test TensorRT and torch2trt, install them into .venv first.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment train test
cd "$ENET_ROOT"
ruff check .
mypy
# Two worker processes: a crash fails one test, and its worker is replaced. Tests on a GPU share it, so they run in one process.
workers=2
for argument in "$@"; do
    if [ "$argument" = --gpu ]; then workers=0; fi
done
exec pytest -n "$workers" --dist loadfile --durations 10 "$@"  # not python -m pytest: that would import the checkout
