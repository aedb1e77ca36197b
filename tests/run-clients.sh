#!/usr/bin/env bash
# Runs real, unmodified Matrix clients against the real server: matrix-nio (Python) and matrix-js-sdk (JavaScript), each
# in everyday chat and with end-to-end encryption.
#
#     tests/run-clients.sh [nio] [nio-e2ee] [js] [js-e2ee] [turn]        all when none is named
#
# "turn" lets coturn check the TURN passwords that the server gives out.
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            BASE_URL       a server that runs already, instead of starting one
#            TURN_SECRET    the turn.shared_secret of that server
#            VERBOSE=1      shows what the clients log
#
# The clients are installed once for each state of their pinned versions, outside the checkout.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

clients=("$@")
if [ ${#clients[@]} -eq 0 ]; then clients=(nio nio-e2ee js js-e2ee turn); fi

# Sets nio_home to where matrix-nio is installed, which it is then.
need_nio() {
    nio_home=$(installation clients/nio- "$tests/clients/nio/requirements.txt")
    install_once "$nio_home" venv "$nio_home" "$tests/clients/nio/requirements.txt"
}

# The same for matrix-js-sdk and js_home.
need_js() {
    js_home=$(installation clients/js- "$tests"/clients/js/{requirements.txt,package.json,package-lock.json})
    install_once "$js_home" node_modules "$js_home" "$tests/clients/js"
    # Modules are found from the place of the script, so it runs from beside them.
    cp "$tests"/clients/js/*.mjs "$js_home/"
}

nio_script() { # SCRIPT BASE_URL
    need_nio
    "$nio_home/venv/bin/python" "$tests/clients/nio/$1" "$2" ${VERBOSE:+--verbose}
}

js_script() { # SCRIPT BASE_URL OPTION...
    need_js
    local script=$1
    shift
    "$(node_home "$js_home")/bin/node" "$js_home/$script" "$@" ${VERBOSE:+--verbose}
}

run_nio() { nio_script scenario.py "$1"; }

run_nio-e2ee() { nio_script scenario_e2ee.py "$1"; }

run_js() { js_script scenario.mjs "$1"; }

# With matrix-nio as the other end.
run_js-e2ee() { # BASE_URL
    need_nio
    local bot
    bot=$(printf '%q ' "$nio_home/venv/bin/python" "$tests/clients/nio/bot.py")
    js_script e2ee.mjs "$1" --nio "$bot"
}

# Has no client to install: coturn comes with the system's packages, scripts/setup.sh sees to it.
run_turn() { # BASE_URL
    python3 "$tests/clients/turn/check.py" "$1" "$turn_secret"
}

# Runs the named clients.
run_all() { # BASE_URL
    local client
    for client in "${clients[@]}"; do
        count_steps "$client" "run_$client" "$1"
    done
    conclude
}

for client in "${clients[@]}"; do
    case $client in
    nio | nio-e2ee | js | js-e2ee | turn) ;;
    *)
        say "unknown client $client: nio, nio-e2ee, js, js-e2ee, turn"
        exit 2
        ;;
    esac
done

turn_secret=${TURN_SECRET:-}
if [ -n "${BASE_URL:-}" ]; then
    run_all "$BASE_URL"
    exit
fi

binary=$(server_binary)
# shellcheck source=tests/server.sh
. "$tests/server.sh"
turn_secret=$(head -c 24 /dev/urandom | base64)
lines=()
case " ${clients[*]} " in
*" turn "*) lines+=('turn.uris = ["turn:turn.hospital-a.example?transport=udp"]' "turn.shared_secret = \"$turn_secret\"") ;;
esac
start_server "$binary" "${lines[@]}"
run_all "$base_url"
