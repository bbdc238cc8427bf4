#!/usr/bin/env bash
# Check the code and run the whole test suite: scripts/test.sh [PYTEST ARGUMENT...]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
prepare_environment train test
cd "$ENET_ROOT"
ruff check .
mypy
exec pytest "$@"  # not python -m pytest, which would import the checkout instead of the installed package
