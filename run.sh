#!/usr/bin/env bash
# Sets everything up and answers a question: sweep, comparison, report, tfvars. Options go to `perfkit run`.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/env.sh"

exec perfkit run scenarios/quickstart.yaml "$@"
