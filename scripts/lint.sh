#!/usr/bin/env bash
# Formatting and lints; changes nothing.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

step "Formatting"
cargo fmt --all --check
step "Lints"
cargo clippy --locked --workspace --all-targets -- -D warnings
