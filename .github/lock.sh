#!/bin/sh
# Write what the workflows install, with versions and hashes. Give --upgrade to move to newer versions.
set -eu
cd "$(dirname "$0")/.."
lock() {
    uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --quiet \
        --custom-compile-command .github/lock.sh "$@"
}
lock "$@" pyproject.toml --all-extras --group dev --output-file .github/requirements.txt
lock "$@" --group build --output-file .github/requirements-build.txt
