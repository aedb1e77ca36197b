# Starts one server on loopback for a script, and ends it with the script. To be sourced.
#
#     start_server BINARY [TOML-LINE...]
#
# with what the listener serves in server_serves, where that is not the default;
# sets server_pid, server_dir and base_url, and shows the server's log when the script fails.

# A port that nobody listens on now, below the range that outgoing connections use.
free_port() {
    python3 - <<'PYTHON'
import random, socket
while True:
    port = random.randrange(16000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PYTHON
}

stop_server() {
    local status=$?
    trap - EXIT
    if [ -n "${server_pid:-}" ] && kill -0 "$server_pid" 2>/dev/null; then
        kill -TERM "$server_pid"
        for _ in $(seq 100); do
            kill -0 "$server_pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$server_pid" 2>/dev/null || true
        wait "$server_pid" 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$server_dir/server.log" ]; then
        echo "--- end of the server's log" >&2
        tail -n 60 "$server_dir/server.log" >&2
    fi
    rm -rf "$server_dir"
    exit "$status"
}

start_server() {
    local binary=$1
    shift
    server_dir=$(mktemp -d)
    trap stop_server EXIT
    local port tries=0
    while :; do
        port=$(free_port)
        {
            echo 'server_name = "hospital-a.example"'
            echo "data_dir = \"$server_dir/data\""
            echo "master_key.file = \"$server_dir/master.key\""
            echo 'registration.open = true'
            echo 'rate_limits.enabled = false'
            printf '%s\n' "$@"
            echo '[[listener]]'
            echo "address = \"127.0.0.1:$port\""
            [ -z "${server_serves:-}" ] || echo "serves = $server_serves"
        } >"$server_dir/wardroom.toml"
        "$binary" serve --config "$server_dir/wardroom.toml" >>"$server_dir/server.log" 2>&1 &
        server_pid=$!
        base_url=http://127.0.0.1:$port
        if wait_ready; then return; fi
        tries=$((tries + 1))
        if [ "$tries" -ge 3 ]; then
            echo "the server $binary did not start" >&2
            exit 1
        fi
    done
}

# Waits for the first answer, at most 30 seconds; fails when the process ends before it.
wait_ready() {
    python3 - "$base_url" "$server_pid" <<'PYTHON'
import os, sys, time, urllib.error, urllib.request
base, pid, deadline = sys.argv[1], int(sys.argv[2]), time.monotonic() + 30
while time.monotonic() < deadline:
    try:
        with urllib.request.urlopen(base + "/_matrix/client/versions", timeout=5) as answer:
            if answer.status == 200:
                sys.exit(0)
    except (OSError, urllib.error.URLError):
        pass
    try:
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                sys.exit(1)
    except OSError:
        sys.exit(1)
    time.sleep(0.05)
sys.exit(1)
PYTHON
}
