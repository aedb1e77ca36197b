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
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pins=$tests/synadm/requirements.txt
home=$(installation synadm/ "$pins")
install_once "$home" venv "$home" "$pins"
binary=$(server_binary)

count_steps synadm "$home/venv/bin/python" "$tests/synadm/scenario.py" "$binary" "$home/venv/bin/synadm" "$@"
conclude
