#!/usr/bin/env bash
# Write requirements/NAME.txt, every package with its version and hashes, from requirements/NAME.in: scripts/lock.sh
# Run it after a change of an .in file. It needs uv: pip install uv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../requirements"
export UV_CUSTOM_COMPILE_COMMAND=scripts/lock.sh
all=$(mktemp)
trap 'rm -f "$all"' EXIT
compile() {
    uv pip compile --quiet --no-config --no-annotate --default-index https://pypi.org/simple --universal --python-version 3.10 "$@"
}
# one resolution for all sets: two of them never have different versions of one package
compile build.in run.in ros-wheels.in ros-extra.in train.in test.in torch-cuda.in --output-file "$all"
for name in build run ros-wheels torch-cuda; do
    compile "$name.in" --constraints "$all" --generate-hashes --output-file "$name.txt"
done
# NumPy is that of the distribution
compile ros-extra.in --constraints "$all" --generate-hashes --no-emit-package numpy --output-file ros-extra.txt
for name in train test; do
    compile "$name.in" --constraints "$all" --generate-hashes --overrides without-cuda.in --no-emit-package torch \
        --output-file "$name.txt"
done
