#!/usr/bin/env bash
# The benchmark. Not a test: its figures depend on the machine, and what else it does.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

scripts/setup.sh
exec bench/run.sh "$@"
