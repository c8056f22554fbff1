#!/bin/sh
# Holds deploy/kubernetes/ against Kubernetes' published schemas, as PyPI's kubernetes-validate has them.
set -eu

cd "$(dirname "$0")/.."
place=${CARGO_TARGET_DIR:-target}/kubernetes-validate
if [ ! -x "$place/bin/kubernetes-validate" ]; then
    python3 -m venv "$place"
    "$place/bin/pip" install --quiet --disable-pip-version-check kubernetes-validate
fi
for file in deploy/kubernetes/*.yaml; do
    "$place/bin/kubernetes-validate" --strict "$file"
done
