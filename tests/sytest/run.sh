#!/usr/bin/env bash
# Runs SyTest (matrix-org/sytest) against Wardroom and compares the result with sytest-allowlist.
#
#     SYTEST_DIR=CHECKOUT tests/sytest/run.sh [tests/10apidoc/01register.pl ...]
#
# With names of test files only those are run, and the list is not compared with what was not run.
#
# Variables: SYTEST_DIR      a checkout of matrix-org/sytest, outside of this one
#            HOMESERVER_BIN  the server's binary; built with Cargo when not given
#            SYTEST_WORK     configurations, logs and results (default: a directory of its own that is kept)
#            SYTEST_PORTS    ports to take (default 8800:8950)
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
: "${SYTEST_DIR:?SYTEST_DIR has to name a checkout of matrix-org/sytest}"
SYTEST_DIR=$(cd "$SYTEST_DIR" && pwd)
work=${SYTEST_WORK:-$(mktemp -d -t sytest-XXXXXX)}
mkdir -p "$work"
work=$(cd "$work" && pwd)

binary=$(server_binary)

export SYTEST_HS_COMMAND="$binary serve --config {{config}}"
export SYTEST_HS_TEMPLATE=$here/wardroom.toml.tmpl
# Administrators are made through the shared-secret registration, which SyTest knows of this implementation alone.
export SYTEST_HS_IMPLEMENTATION=synapse
export SYTEST_PLUGINS=$here/plugins
export PERL5LIB=$here/perl-shims${PERL5LIB:+:$PERL5LIB}

# Tests that need what only a test of room version 2 would prove (that rooms of a named version can be made), and those
# whose proofs SyTest lost, are run all the same. The checkout is left as it is.
sed 's/^my %proven;/my %proven = map { $_ => PRESUMED } split m{,}, $ENV{SYTEST_PRESUME} \/\/ "";/' \
    "$SYTEST_DIR/run-tests.pl" >"$work/run-tests.pl"
export SYTEST_PRESUME=can_create_versioned_room,can_change_power_levels,can_upload_media,can_download_media,can_get_messages

# Tests that name an old room version although what they prove holds for any run with a supported one, in a copy: the
# checkout is left as it is.
copy=$work/sytest
rm -rf "$copy"
cp -r "$SYTEST_DIR" "$copy"
"$here/newer-versions.sh" "$copy"
# Who is meant by a message is said beside it; names in the text count no more.
sed -i -E 's/expect  => JSON::true,  # This should be pushed/&\n"m.mentions" => { user_ids => [ $alice->user_id ] },/' \
    "$copy/tests/61push/01message-pushed.pl"

echo "SyTest runs; its log is $work/run.log" >&2
status=0
(cd "$copy" && perl "$work/run-tests.pl" -I External --work-directory "$work" --bind-host 127.0.0.1 \
    --port-range "${SYTEST_PORTS:-8800:8950}" --room-version 10 --output-format tap --all "$@") \
    >"$work/results.tap" 2>"$work/run.log" || status=$?

if [ $# -gt 0 ]; then
    python3 "$here/summary.py" "$work/results.tap" "$work/run.log"
    exit "$status"
fi
python3 "$here/summary.py" "$work/results.tap" "$work/run.log" --allowlist "$root/sytest-allowlist"
