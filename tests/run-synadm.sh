#!/usr/bin/env bash
# Runs the commands of an unmodified synadm from PyPI against Wardroom.
#
#     tests/run-synadm.sh [NAME-PART...]      with parts of names, only the steps that have one
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            KEEP=1           leaves the server's directory behind when a step failed
#
# synadm is installed once for each state of its pinned versions, outside the checkout.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$here/synadm/requirements.txt
home=${XDG_CACHE_HOME:-$HOME/.cache}/wardroom/synadm/$( (python3 --version; cat "$requirements") | sha256sum | cut -c1-16)

if [ ! -e "$home/.complete" ]; then
    echo "synadm: installing into $home" >&2
    rm -rf "$home"
    mkdir -p "$home"
    python3 -m venv "$home/venv" || {
        echo "synadm: python3 -m venv does not work here; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
    "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$requirements" >&2
    touch "$home/.complete"
fi

binary=${HOMESERVER_BIN:-}
if [ -z "$binary" ]; then
    (cd "$here/.." && cargo build --quiet --package wardroom --bin wardroom)
    binary=$(cd "$here/.." && cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/wardroom
fi

status=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
PYTHONDONTWRITEBYTECODE=1 "$home/venv/bin/python" "$here/synadm/scenario.py" "$binary" "$home/venv/bin/synadm" "$@" | tee "$out" || status=$?
echo "$(grep -c '^ok ' "$out" || true) passed, $(grep -c '^FAILED ' "$out" || true) failed"
exit "$status"
