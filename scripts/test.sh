#!/usr/bin/env bash
# Check the code and run the whole test suite: scripts/test.sh [--gpu] [PYTEST ARGUMENT...]
# With --gpu also the tests that need an NVIDIA GPU. TensorRT and torch2trt, where they are to be tested, must be in .venv.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment train test
cd "$ENET_ROOT"
ruff check .
mypy
exec pytest "$@"  # not python -m pytest, which would import the checkout instead of the installed package
