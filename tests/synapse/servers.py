"""A Wardroom and a Synapse on loopback, each with a certificate of an authority that both trust."""

import json
import os
import pathlib
import secrets
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from harness import PASSWORD, REQUEST_S, Failure, Process, expect, free_port, quote, wait_for


class Server(Process):
    """A server of either kind: `base` for clients, `name` for other servers."""

    def __init__(self, directory, authority, host):
        self.port, self.tls_port = free_port(), free_port()
        super().__init__(pathlib.Path(directory) / self.kind, f"http://127.0.0.1:{self.port}")
        self.directory.mkdir()
        self.name = f"{host}:{self.tls_port}"
        self.certificate, self.key = authority.issue(self.kind)
        self.authority = authority.path
        self.configure()

    def configure(self):
        raise NotImplementedError

    def user(self, prefix):
        return User(self, f"{prefix}-{secrets.token_hex(4)}")


class Wardroom(Server):
    kind = "wardroom"

    def __init__(self, directory, authority, host, binary):
        self.binary = binary
        self.shared_secret = secrets.token_hex(16)
        super().__init__(directory, authority, host)

    def configure(self):
        text = json.dumps
        lines = [
            f"server_name = {text(self.name)}",
            f"data_dir = {text(str(self.directory / 'data'))}",
            f"master_key.file = {text(str(self.directory / 'master.key'))}",
            "registration.open = true",
            f"registration.shared_secret = {text(self.shared_secret)}",
            "rate_limits.enabled = false",
            "password.argon2 = { memory_kib = 64, iterations = 1, parallelism = 1 }",
            "retention = { purge_every_seconds = 1, stubs_seconds = 0 }",
            f"federation.extra_ca = [{text(str(self.authority))}]",
            "federation.deny_ip_ranges = []",
            "[[listener]]",
            f'address = "127.0.0.1:{self.port}"',
            "[[listener]]",
            f'address = "127.0.0.1:{self.tls_port}"',
            f"tls = {{ cert = {text(str(self.certificate))}, key = {text(str(self.key))} }}",
        ]
        (self.directory / "wardroom.toml").write_text("\n".join(lines) + "\n")

    def command(self):
        return [self.binary, "serve", "--config", str(self.directory / "wardroom.toml")]


class Synapse(Server):
    kind = "synapse"

    def configure(self):
        at = lambda name: str(self.directory / name)
        plenty = {"per_second": 1_000_000, "burst_count": 1_000_000}
        resources = [{"names": ["client", "federation"]}]
        config = {
            "server_name": self.name,
            "report_stats": False,
            "pid_file": at("pid"),
            "signing_key_path": at("signing.key"),
            "media_store_path": at("media"),
            "log_config": at("log.yaml"),
            "database": {"name": "sqlite3", "args": {"database": at("homeserver.db")}},
            "tls_certificate_path": str(self.certificate),
            "tls_private_key_path": str(self.key),
            "federation_custom_ca_list": [str(self.authority)],
            "listeners": [
                {"port": self.port, "type": "http", "bind_addresses": ["127.0.0.1"], "resources": resources},
                {
                    "port": self.tls_port, "type": "http", "tls": True, "bind_addresses": ["127.0.0.1"],
                    "resources": resources,
                },
            ],
            "ip_range_blacklist": [],
            "federation_ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "registration_shared_secret": secrets.token_hex(16),
            "macaroon_secret_key": secrets.token_hex(16),
            "form_secret": secrets.token_hex(16),
            "bcrypt_rounds": 4,
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "url_preview_enabled": False,
            "federation": {
                # A server that was away is asked again at once instead of after minutes.
                "destination_min_retry_interval": 200,
                "destination_max_retry_interval": 1_000,
                "destination_retry_multiplier": 1,
                "max_short_retries": 2,
            },
            "rc_message": plenty,
            "rc_registration": plenty,
            "rc_login": {name: plenty for name in ("address", "account", "failed_attempts")},
            "rc_joins": {"local": plenty, "remote": plenty},
            "rc_joins_per_room": plenty,
            "rc_invites": {name: plenty for name in ("per_room", "per_user", "per_issuer")},
            "rc_admin_redaction": plenty,
            "rc_room_creation": plenty,
            "rc_media_create": plenty,
            "remote_media_download_burst_count": "1000M",
            "remote_media_download_per_second": "1000M",
            "rc_presence": {"per_user": plenty},
            "rc_federation": {
                "window_size": 1, "sleep_limit": 1_000_000, "sleep_delay": 1, "reject_limit": 1_000_000,
                "concurrent": 100,
            },
        }
        # JSON is YAML.
        (self.directory / "homeserver.yaml").write_text(json.dumps(config, indent=1))
        log = {
            "version": 1,
            "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
            "root": {"level": os.environ.get("SYNAPSE_LOG", "INFO"), "handlers": ["console"]},
            "disable_existing_loggers": False,
        }
        (self.directory / "log.yaml").write_text(json.dumps(log))
        generate = self.command() + ["--generate-keys"]
        done = subprocess.run(generate, cwd=self.directory, capture_output=True, text=True)
        expect(done.returncode == 0, f"Synapse makes its key: {done.stdout}{done.stderr}")

    def command(self):
        return [sys.executable, "-m", "synapse.app.homeserver", "-c", str(self.directory / "homeserver.yaml")]

    def asked(self, *parts):
        """How many requests of other servers were answered whose path has one of these parts, by the log (level INFO)."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        requests = [line for line in lines if "Processed request" in line and "/_matrix/federation/" in line]
        return sum(any(f"/{part}" in line for part in parts) for line in requests)


class User:
    """A user, registered at once."""

    def __init__(self, server, name):
        self.server = server
        self.token = None
        body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        status, answer = self.request("POST", "/_matrix/client/v3/register", body)
        if status == 401:
            body["auth"]["session"] = answer["session"]
            status, answer = self.request("POST", "/_matrix/client/v3/register", body)
        expect(status == 200, f"registration at {server.kind}: {status} {answer}")
        self.id, self.token, self.device = answer["user_id"], answer["access_token"], answer["device_id"]
        self.since = None

    def __repr__(self):
        return f"{self.id} of {self.server.kind}"

    def request(self, method, path, body=None, raw=None, content_type="application/json"):
        """Status and body; bytes of a body that is no JSON."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.server.base + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        except OSError as error:
            raise Failure(f"{method} {path} of {self!r}: {error}") from error
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content

    def call(self, method, path, body=None):
        """The body of a 200 answer."""
        status, answer = self.request(method, "/_matrix/client/" + path, body)
        expect(status == 200, f"{method} {path} of {self!r}: {status} {answer}")
        return answer

    def sync(self, timeout_ms=0):
        query = {"timeout": timeout_ms, "filter": json.dumps({"room": {"timeline": {"limit": 100}}})}
        if self.since:
            query["since"] = self.since
        answer = self.call("GET", "v3/sync?" + urllib.parse.urlencode(query))
        self.since = answer["next_batch"]
        return answer

    def hear(self, what, look):
        """Syncs until `look` finds something in an answer, and gives what it found."""
        return wait_for(f"{self!r} hears of {what}", lambda: look(self.sync(500)))

    def create_room(self, version, **options):
        return self.call("POST", "v3/createRoom", {"room_version": version, **options})["room_id"]

    def join(self, room, via):
        query = urllib.parse.urlencode([("server_name", via.name), ("via", via.name)])
        return self.call("POST", f"v3/join/{quote(room)}?{query}", {})["room_id"]

    def member(self, action, room, other):
        return self.call("POST", f"v3/rooms/{quote(room)}/{action}", {"user_id": other.id})

    def leave(self, room):
        return self.call("POST", f"v3/rooms/{quote(room)}/leave", {})

    def send(self, room, content, event_type="m.room.message"):
        path = f"v3/rooms/{quote(room)}/send/{event_type}/{secrets.token_hex(8)}"
        return self.call("PUT", path, content)["event_id"]

    def say(self, room, body):
        return self.send(room, {"msgtype": "m.text", "body": body})

    def set_state(self, room, event_type, content, state_key=""):
        path = f"v3/rooms/{quote(room)}/state/{event_type}/{quote(state_key)}"
        return self.call("PUT", path, content)["event_id"]

    def state(self, room, event_type, state_key=""):
        """The content, or None where there is none."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/state/{event_type}/{quote(state_key)}"
        status, answer = self.request("GET", path)
        return answer if status == 200 else None

    def event(self, room, event_id):
        """The event, or None where it is not known."""
        path = f"/_matrix/client/v3/rooms/{quote(room)}/event/{quote(event_id)}"
        status, answer = self.request("GET", path)
        return answer if status == 200 else None

    def sees(self, room, event_id):
        return wait_for(f"{self!r} sees {event_id}", lambda: self.event(room, event_id))

    def membership(self, room, other):
        content = self.state(room, "m.room.member", other.id)
        return content and content["membership"]

    def history(self, room):
        """All events that this user may read, oldest first."""
        events, start = [], None
        while True:
            query = {"dir": "b", "limit": 100, **({"from": start} if start else {})}
            page = self.call("GET", f"v3/rooms/{quote(room)}/messages?" + urllib.parse.urlencode(query))
            events += page["chunk"]
            start = page.get("end")
            if not start or not page["chunk"]:
                return events[::-1]

    def state_ids(self, room):
        """Ids of the current state's events by type and state key."""
        events = self.call("GET", f"v3/rooms/{quote(room)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}
