#!/usr/bin/env bash
# Takes roles from a real OpenLDAP on loopback: Debian's slapd.
#
#     tests/run-ldap.sh [NAME-PART...]      with parts of names, only the steps that have one
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            KEEP=1           leaves the directories of both servers behind when a step failed
#
# Debian's packages are unpacked once, outside the checkout: nothing is installed and no service runs.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# How many steps there are: fewer mean that something was left out.
steps=15

home=$(installation ldap/ "${BASH_SOURCE[0]}" /etc/os-release)
install_once "$home" unpack_debian "$home" slapd ldap-utils
binary=$(server_binary)

count_steps ldap python3 "$tests/ldap/scenario.py" "$binary" "$home" "$@"
if [ $# -eq 0 ] && [ $((passed + failed)) -lt "$steps" ]; then
    echo "FAILED: only $((passed + failed)) of $steps steps ran"
    failed=$((failed + 1))
fi
conclude
