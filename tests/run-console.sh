#!/usr/bin/env bash
# Walks through the console in a real browser: Debian's headless Chromium, driven by playwright-core.
#
#     tests/run-console.sh
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            SCREENSHOTS      where pictures of the pages go; target/console when not given
#
# Browser and driver are installed once for each state of their pinned versions, outside the checkout; no service runs.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/server.sh
. "$tests/server.sh"

source=$tests/console
install() { # DIRECTORY
    node_modules "$1" "$source" && mkdir "$1/debian" && unpack_debian "$1/debian" chromium-headless-shell fonts-dejavu-core
}
home=$(installation console/ "$source"/{requirements.txt,package.json,package-lock.json} "${BASH_SOURCE[0]}" /etc/os-release)
install_once "$home" install "$home"
# Modules are found from the place of the script, so it runs from beside them.
cp "$source"/*.mjs "$home/"
binary=$(server_binary)
screenshots=${SCREENSHOTS:-${CARGO_TARGET_DIR:-$tests/../target}/console}
mkdir -p "$screenshots"

server_serves='["client", "media", "admin", "fhir"]'
start_server "$binary" 'registration.shared_secret = "a secret of the tests"'
export LD_LIBRARY_PATH_OF_BROWSER
LD_LIBRARY_PATH_OF_BROWSER=$(libraries_in "$home/debian")
count_steps console "$(node_home "$home")/bin/node" "$home/scenario.mjs" "$base_url" \
    "$home/debian/usr/lib/chromium/chromium-headless-shell" "$screenshots"
conclude
