#!/usr/bin/env bash
# Sets everything up and checks it all: style, types, tests. Options go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/env.sh"

ruff check
ruff format --check
mypy
exec python -m pytest --doctest-modules "$@"
