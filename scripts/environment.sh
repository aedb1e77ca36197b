# Sourced by the other scripts: where things are.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# Where rustup puts the toolchain, for shells that were started before it was installed.
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"

# In CI a clean checkout must not compile the storage engine again: what was compiled stays outside of it.
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
    export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/wardroom/target" CARGO_INCREMENTAL=0
    # Cargo takes a crate of the workspace for built when its files are older than the build, whichever checkout that
    # was of: here, they are always newer.
    find crates -name '*.rs' -exec touch {} +
fi
target=${CARGO_TARGET_DIR:-$root/target}

step() {
    printf '\n== %s\n' "$*"
}
