#!/usr/bin/env bash
# Checks exports of audit trails with programs that are not Wardroom's: pymerkle, rfc8785 and cryptography from PyPI. Two
# servers witness each other, and one of them forges its past.
#
#     tests/run-audit.sh [NAME-PART...]      with parts of names, only the steps that have one
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            KEEP=1           leaves the server's directory behind when a step failed
#
# The programs are installed once for each state of their pinned versions, outside the checkout.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pins=$tests/audit/requirements.txt
home=$(installation audit/ "$pins")
install_once "$home" venv "$home" "$pins"
binary=$(server_binary)

count_steps audit "$home/venv/bin/python" "$tests/audit/scenario.py" "$binary" "$@"
conclude
