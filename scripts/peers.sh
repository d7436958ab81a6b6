#!/usr/bin/env bash
# Makes .venv-peers, where benchmarks measure perfkit beside its peers; perfkit itself never imports one.
PERFKIT_VENV=.venv-peers PERFKIT_EXTRAS=lab,server,vertex,peers
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

say "peers are in $venv; measure beside them with: perfkit bench AREA --peers"
