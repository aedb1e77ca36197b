#!/usr/bin/env bash
# Builds and starts a server for trying out and for development, on http://localhost:8008.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

scripts/setup.sh
step "Building (the first time takes a while: it compiles the storage engine)"
cargo build --locked --release --workspace --bins
wardroom="$target/release/wardroom"

config=data/wardroom.toml
if [ ! -e "$config" ]; then
    step "Making $config"
    (umask 077 && mkdir -p data)
    secret=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')
    (umask 077 && cat >"$config") <<TOML
# A development server, reachable from this machine only. Every option: $wardroom config --example
server_name = "localhost:8008"
data_dir = "data"
# A web client may come with another origin, but only over plain HTTP on this machine.
public_url = "http://localhost:8008"

[[listener]]
address = "127.0.0.1:8008"

[registration]
# Clients can create accounts. Nobody else reaches this server.
open = true
# Scripts can register users and administrators with this.
shared_secret = "$secret"

# As hospitals want it: nobody reads what was said before they were brought in, and pushes say nothing of what was said.
[rooms]
private_history = "invited"

[push]
include_content = false
TOML
fi

cat <<TEXT

== Wardroom on http://localhost:8008

The first administrator: stop the server with Ctrl-C if it runs, then
    $wardroom user create --config $config --admin NAME
and start it again with "make run". While it runs, scripts that know registration.shared_secret of
$config can do the same over http://localhost:8008/_synapse/admin/v1/register.

Sign in with Element, in a browser (https://app.element.io) or on the desktop: "Sign in", edit the homeserver, enter
    http://localhost:8008
then NAME and the password. "Create account" works as well: registration is open on this development server.

Stop with Ctrl-C. Everything is kept in $root/data; the key to it is data/master.key.

TEXT
exec "$wardroom" serve --config "$config"
