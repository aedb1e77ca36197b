#!/usr/bin/env bash
# Lets Wardroom and an unmodified Synapse from PyPI share rooms, in both directions.
#
#     tests/run-synapse.sh [NAME-PART...]      with parts of names, only the steps that have one
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            SYNAPSE_LOG    what Synapse logs (default INFO)
#            KEEP=1         leaves the servers' directories behind when a step failed
#
# Synapse is installed once for each state of its pinned versions, outside the checkout.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pins=$tests/synapse/requirements.txt
home=$(installation synapse/ "$pins")
install_once "$home" venv "$home" "$pins"
binary=$(server_binary)

count_steps synapse "$home/venv/bin/python" "$tests/synapse/scenario.py" "$binary" "$@"
conclude
