#!/usr/bin/env bash
# Signs people in with a certified, unmodified OpenID provider (npm oidc-provider) on loopback, against the real server.
#
#     tests/run-oidc.sh
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#
# The provider is installed once for each state of its pinned versions, outside the checkout.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/server.sh
. "$tests/server.sh"

source=$tests/oidc
home=$(installation oidc/ "$source"/{requirements.txt,package.json,package-lock.json})
install_once "$home" node_modules "$home" "$source"
# Modules are found from the place of the script, so it runs from beside them.
cp "$source"/*.mjs "$home/"
binary=$(server_binary)

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
count_steps oidc "$(node_home "$home")/bin/node" "$home/scenario.mjs" "$base_url" "$public_url" "$clinic_port" "$partner_port"
conclude
