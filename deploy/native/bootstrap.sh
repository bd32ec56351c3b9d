#!/usr/bin/env bash
# Makes .venv from requirements.lock, every file checked by its hash. Called by the Makefile when the lock is newer.
set -euo pipefail
cd "$(dirname "$0")/../.."

lack() { echo "lamplight: missing: $1" >&2; exit 3; }

python=
for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate; break; fi
done
[ -n "$python" ] || lack "Python 3.11 or newer; install the package python3, or set PYTHON"

( while sleep 4; do echo "  … $SECONDS s"; done ) &  # making .venv alone takes 20 s on a busy machine
trap "kill $! 2>/dev/null" EXIT

if [ ! -x .venv/bin/python ]; then
  echo "making .venv with $("$python" --version)"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || lack "Python's venv module; install the package python3-venv"
    echo "installing python3-venv"
    { apt-get -q update && apt-get -q install -y --no-install-recommends python3-venv; } | grep --line-buffered -E '^(Setting up|Err)' || true
  fi
  "$python" -m venv .venv
fi

wanted=$(grep -c '==' requirements.lock)
echo "installing $wanted locked Python packages"
# --no-compile: Python compiles what is really imported, when it is; that halves the wait.
.venv/bin/python -m pip install --no-compile --disable-pip-version-check --progress-bar off --require-hashes --no-deps -r requirements.lock 2>&1 |
  awk -v wanted="$wanted" '
    /^(Collecting|Requirement already)/ { if (++n % 10 == 0) { print "  " n " of " wanted; fflush() } next }
    /^Installing collected/ { print "  unpacking"; fflush(); next }
    /^(ERROR|WARNING|  *Got|  *Expected)/ { print; fflush() }'
.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
touch .venv/.ready
