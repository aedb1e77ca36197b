#!/usr/bin/env bash
# Two hospitals on this machine, to try out roles, gated rooms and partners with Element.
#
#     scripts/demo.sh             starts both and says how to sign in, until Ctrl-C; what was done is there the next time
#     scripts/demo.sh --reset     deletes what was done
#     scripts/demo.sh --check     walks through the demonstration by itself, on free ports and in a directory of its own
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            KEEP=1           with --check, leaves the hospitals' directory behind when a step failed
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

demo=${XDG_CACHE_HOME:-$HOME/.cache}/wardroom/demo
# shellcheck source=tests/lib.sh
. tests/lib.sh
export PYTHONPATH=$tests/shared:$root/scripts/demo

# What was built before is built on: the release, or else what the tests have.
built() {
    local profile=release directory=release
    if [ ! -e "$target/release/wardroom" ] && [ -e "$target/debug/wardroom" ]; then profile=dev directory=debug; fi
    cargo build --locked --profile "$profile" --workspace --bins >&2
    echo "$target/$directory/wardroom"
}

case ${1:-} in
--reset)
    python3 scripts/demo/main.py reset "$demo"
    exit
    ;;
"" | --check) ;;
*)
    echo "unknown option $1: --reset, --check" >&2
    exit 2
    ;;
esac

scripts/setup.sh demo
binary=${HOMESERVER_BIN:-}
if [ -z "$binary" ]; then
    step "Building (the first time takes a while: it compiles the storage engine)"
    binary=$(built)
fi
# The passwords, keys and tokens are nobody else's.
umask 077
if [ "${1:-}" = --check ]; then
    count_steps demo python3 scripts/demo/main.py check "$binary"
    conclude
else
    exec python3 scripts/demo/main.py run "$demo" "$binary"
fi
