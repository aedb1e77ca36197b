#!/usr/bin/env bash
# Shows the audit trail to those for whom it is made: validators of FHIR (PyPI fhir.resources, npm fhir, FHIRPath for the
# patterns of IHE BALP) and of syslog, and Debian's rsyslog as a repository over TLS.
#
#     tests/run-atna.sh [NAME-PART...]      with parts of names, only the steps that have one
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            KEEP=1           leaves the server's directory behind when a step failed
#
# Everything is installed once, outside the checkout; Debian's packages are only unpacked, and no service runs.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# How many steps there are: fewer mean that something was left out.
steps=13
source=$tests/atna

install_all() { # DIRECTORY
    node_modules "$1" "$source" || return
    unpack_debian "$1" rsyslog rsyslog-openssl
}

# The program that prints samples: beside the binary, where Cargo puts both, or built now.
samples() { # BINARY
    local program
    program=$(dirname "$1")/examples/audit_samples
    if [ ! -x "$program" ] || [ -z "${HOMESERVER_BIN:-}" ]; then
        (cd "$tests/.." && cargo build --quiet --workspace --example audit_samples) >&2
        program=$(cd "$tests/.." && cargo metadata --no-deps --format-version 1 |
            python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"] + "/debug/examples/audit_samples")')
    fi
    echo "$program"
}

home=$(installation atna/ "${BASH_SOURCE[0]}" "$source"/{requirements.txt,package.json,package-lock.json} /etc/os-release)
install_once "$home" install_all "$home"
# Modules are found from the place of the script, so it runs from beside them.
cp "$source"/*.mjs "$home/"
binary=$(server_binary)

count_steps atna "$home/venv/bin/python" "$source/scenario.py" "$binary" "$(samples "$binary")" "$home" "$@"
if [ $# -eq 0 ] && [ $((passed + failed)) -lt "$steps" ]; then
    echo "FAILED: only $((passed + failed)) of $steps steps ran"
    failed=$((failed + 1))
fi
conclude
