#!/usr/bin/env bash
# Sets everything up and checks it all: style, types, tests. Options go to pytest.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/env.sh"

ruff check
ruff format --check
mypy
# A file stays with one worker, so that what its tests share is made once; tests/conftest.py has their order.
exec python -m pytest --doctest-modules -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
