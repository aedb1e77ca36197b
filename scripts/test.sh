#!/usr/bin/env bash
# Everything that must hold before a change is taken: the order is from fast to slow.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

scripts/setup.sh test
scripts/lint.sh

step "Unit, property, tidy and black-box tests"
cargo test --locked --workspace

step "Real clients against the real binary"
# The binary is the one that the black-box tests had built.
HOMESERVER_BIN="$target/debug/wardroom" tests/run-clients.sh

step "The demonstration of two hospitals"
HOMESERVER_BIN="$target/debug/wardroom" scripts/demo.sh --check

step "A certified identity provider beside the real binary"
HOMESERVER_BIN="$target/debug/wardroom" tests/run-oidc.sh

step "An unmodified Synapse beside the real binary"
HOMESERVER_BIN="$target/debug/wardroom" tests/run-synapse.sh

step "An unmodified synadm against the real binary"
HOMESERVER_BIN="$target/debug/wardroom" tests/run-synadm.sh

step "A real OpenLDAP beside the real binary"
HOMESERVER_BIN="$target/debug/wardroom" tests/run-ldap.sh

step "The console in a real browser"
HOMESERVER_BIN="$target/debug/wardroom" SCREENSHOTS="$target/console" tests/run-console.sh

step "Validators of FHIR and syslog, and a real rsyslog, beside the real binary"
HOMESERVER_BIN="$target/debug/wardroom" tests/run-atna.sh
