# Sourced by run.sh, test.sh and scripts/peers.sh: makes an environment in which perfkit runs, and enters it.
#
#   PERFKIT_VENV     where the environment is (default .venv)
#   PERFKIT_EXTRAS   what is installed beside the run-time wing (default all)
#   PYTHON           which Python makes it (default python3, or a newer one on PATH if that is too old)
#
# A stamp in the environment says what it was made from. While that stands, nothing is installed and no
# network is needed.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "perfkit: $*" >&2; }

refuse() {
  say "$*"
  exit 2
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    is_new_enough "$PYTHON" || refuse "PYTHON=$PYTHON is not a Python 3.11 or newer."
    echo "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11; do
    if is_new_enough "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  refuse "needs Python 3.11 or newer on PATH. Install one, or name it: PYTHON=/path/to/python3 bash run.sh"
}

make_environment() {
  local python
  python=$(find_python)
  say "making $venv with $("$python" --version)"
  "$python" -m venv "$venv" ||
    refuse "$python cannot make an environment. On Debian and Ubuntu: apt-get install python3-venv"
}

install_perfkit() {
  say "installing perfkit[$extras] and what it leans on into $venv"
  local wanted=(-c requirements.lock -e ".[$extras]")
  # uv installs the same packages in seconds where pip takes minutes, but pip alone will do.
  if "$venv/bin/python" -m pip install -q --disable-pip-version-check uv 2>/dev/null; then
    "$venv/bin/uv" pip install -q --python "$venv/bin/python" "${wanted[@]}" && return
    say "uv could not install them; trying pip"
  fi
  "$venv/bin/python" -m pip install -q --disable-pip-version-check "${wanted[@]}" ||
    refuse "the packages could not be installed; what pip said stands above. Run the command again."
}

venv=${PERFKIT_VENV:-.venv}
extras=${PERFKIT_EXTRAS:-all}
unset PERFKIT_EXTRAS # perfkit refuses PERFKIT_ names it does not know, and this one is ours alone
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
# The checkout's path is part of the stamp: an editable install points there.
stamp="$(cat pyproject.toml requirements.lock | cksum) $extras $PWD"

if [ "$(cat "$venv/.perfkit" 2>/dev/null || true)" != "$stamp" ] || [ ! -x "$venv/bin/python" ]; then
  # A set-up that was broken off may have left an environment without pip; making it again mends it.
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 || make_environment
  is_new_enough "$venv/bin/python" || refuse "$venv was made with a Python older than 3.11. Remove it and run again."
  install_perfkit
  echo "$stamp" >"$venv/.perfkit"
fi

export VIRTUAL_ENV=$venv PATH="$venv/bin:$PATH"
