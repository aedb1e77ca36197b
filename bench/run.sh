#!/usr/bin/env bash
# Measures the server with the load generator, and prints the figures beside those recorded for other servers.
#
#     bench/run.sh [SCENARIO,...]       all scenarios when none is named
#
# Variables: REPEATS        rounds (default 3; medians are printed)
#            HOMESERVER_BIN   the server's binary; built in release with Cargo when not given
#            OUT            where the result lines go (default: the cache, a new file each time)
#            WITHOUT_STORE=1  leaves out the comparison of group commits with bare RocksDB
#
# Nothing else should be busy on the machine: `other_load_cores` in the table says how much was.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wardroom
repeats=${REPEATS:-3}
secret=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
out=${OUT:-$cache/bench-results/wardroom-$(date +%Y%m%d-%H%M%S).jsonl}
mkdir -p "$(dirname "$out")" "$cache/bench-data"

# Where Cargo puts what it builds.
target_dir() {
    (cd "$here/.." && cargo metadata --no-deps --format-version 1) |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])'
}

echo "building the load generator and the server in release" >&2
(cd "$here/loadgen" && CARGO_TARGET_DIR=$cache/bench cargo build --release --locked --quiet)
loadgen=$cache/bench/release/loadgen
binary=${HOMESERVER_BIN:-}
if [ -z "$binary" ]; then
    (cd "$here/.." && cargo build --release --quiet --workspace --bins)
    binary=$(target_dir)/release/wardroom
fi

# On a disk, not on a tmpfs where a sync costs nothing.
export TMPDIR=$cache/bench-data
# shellcheck source=tests/server.sh
. "$here/../tests/server.sh"
start_server "$binary" "registration.shared_secret = \"$secret\"" 'durability.sync = true'

# Measures the client-server API once: `audited`, `unwaited` where reads do not wait for the disk, or `silent` without an audit trail.
trail_share() {
    local url
    coproc SERVER { exec "$(target_dir)/release/examples/trail_share" "$1" "$TMPDIR"; }
    local pid=$SERVER_PID
    read -r -t 60 url <&"${SERVER[0]}"
    "$loadgen" --base-url "$url" --label "$1" --pid "$pid" --out "$shares" all --only send,initial-sync,fanout >/dev/null
    # It ends when its input does.
    eval "exec ${SERVER[1]}>&-"
    wait "$pid"
}

status=0
"$loadgen" --base-url "$base_url" --label wardroom --pid "$server_pid" --data-dir "$server_dir/data" \
    --shared-secret "$secret" --out "$out" all --repeats "$repeats" ${1:+--only "$1"} >/dev/null || status=$?
[ -s "$out" ] || exit 1

echo
"$loadgen" report "$out" "$here"/results/*.jsonl
echo
echo "Result lines: $out"
echo
if [ -z "${1:-}" ]; then
    # A missed target is shown, not an error: a machine with neighbours misses some.
    "$loadgen" --label wardroom targets "$out" "$here"/results/*.jsonl || true
fi
if [ -z "${WITHOUT_STORE:-}" ] && [ -z "${1:-}" ] && [ -e "$here/../crates/store/examples/group_commit.rs" ]; then
    echo
    echo "Group commits of the store and of bare RocksDB (target: 70 %)"
    (cd "$here/.." && cargo build --release --quiet --workspace --example group_commit)
    "$(target_dir)/release/examples/group_commit" 5 sync "$TMPDIR"
fi
if [ -z "${1:-}" ] && [ -e "$here/../crates/push/examples/push_cost.rs" ]; then
    echo
    echo "Push rules of 10,000 members (target: milliseconds for each message)"
    (cd "$here/.." && cargo build --release --quiet --workspace --example push_cost)
    "$(target_dir)/release/examples/push_cost"
fi
if [ -z "${1:-}" ]; then
    echo
    echo "Rooms that are shared with other servers"
    (cd "$here/.." && cargo build --release --quiet --workspace --example federation_speed --example state_resolution)
    "$(target_dir)/release/examples/federation_speed" "$binary"
    "$(target_dir)/release/examples/state_resolution"
fi
if [ -z "${1:-}" ]; then
    echo
    echo "Roles and access policies"
    (cd "$here/.." && cargo build --release --quiet --workspace --example gate_speed --example directory_speed)
    "$(target_dir)/release/examples/gate_speed"
    "$(target_dir)/release/examples/directory_speed" "$binary"
fi
if [ -z "${1:-}" ]; then
    echo
    echo "Purging a million messages (targets: 200 MiB; p99 of sending at most doubled)"
    (cd "$here/.." && cargo build --release --quiet --workspace --example purge_speed)
    "$(target_dir)/release/examples/purge_speed" 1000000 "$TMPDIR"
    echo
    echo "What the audit trail costs (targets: 10 % of sending, 15 % of /sync)"
    (cd "$here/.." && cargo build --release --quiet --workspace --example trail_share)
    shares=$out.shares
    # In turns, so that what else the machine does falls on both.
    for _ in $(seq "$repeats"); do
        for trail in silent audited unwaited; do
            trail_share "$trail"
        done
    done
    for trail in audited unwaited; do
        "$loadgen" share --with "$trail" "$shares" || true
    done
    echo
    echo "The audit trail"
    (cd "$here/.." && cargo build --release --quiet --workspace --example audit_speed)
    "$(target_dir)/release/examples/audit_speed" 10000000 "$TMPDIR"
    echo "Exports of the audit trail (target: 50,000 records/s)"
    (cd "$here/.." && cargo build --release --quiet --workspace --example export_speed)
    "$(target_dir)/release/examples/export_speed"
fi
exit "$status"
