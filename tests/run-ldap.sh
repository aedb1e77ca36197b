#!/usr/bin/env bash
# Takes roles from a real OpenLDAP on loopback: Debian's slapd.
#
#     tests/run-ldap.sh [NAME-PART...]      with parts of names, only the steps that have one
#
# Variables: HOMESERVER_BIN   the server's binary; built with Cargo when not given
#            KEEP=1           leaves the directories of both servers behind when a step failed
#
# Debian's packages are unpacked once, outside the checkout: nothing is installed and no service runs.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# How many steps there are: fewer mean that something was left out.
steps=15

# slapd, its tools, and what of their libraries this machine lacks.
packages() {
    printf '%s\n' slapd ldap-utils
    local library
    apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances slapd ldap-utils |
        sed -n 's/^ *|\{0,1\}Depends: \(lib[a-z0-9.+-]*\)$/\1/p' | sort -u | while read -r library; do
        # Only a back end that is not used here is written in Perl.
        case $library in libperl* | libmime*) continue ;; esac
        dpkg-query -W -f '${Status}\n' "$library" 2>/dev/null | grep -q '^install ok' || echo "$library"
    done
}

unpack() { # DIRECTORY
    command -v apt-get >/dev/null || {
        say "only Debian's slapd is known here"
        return 1
    }
    local package wanted
    # What other runs left behind may be too old to be there still.
    (cd "$1" && wanted=$(packages) && apt-get -qq -o APT::Sandbox::User=root download $wanted >&2) || {
        local as_root=()
        [ "$(id -u)" -eq 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get update -qq
        (cd "$1" && wanted=$(packages) && apt-get -qq -o APT::Sandbox::User=root download $wanted >&2) || return
    }
    for package in "$1"/*.deb; do dpkg -x "$package" "$1" || return; done
    rm -f "$1"/*.deb
}

home=$(installation ldap/ "${BASH_SOURCE[0]}" /etc/os-release)
install_once "$home" unpack "$home"
binary=$(server_binary)

count_steps ldap python3 "$tests/ldap/scenario.py" "$binary" "$home" "$@"
if [ $# -eq 0 ] && [ $((passed + failed)) -lt "$steps" ]; then
    echo "FAILED: only $((passed + failed)) of $steps steps ran"
    failed=$((failed + 1))
fi
conclude
