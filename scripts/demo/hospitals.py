"""Two hospitals with the configurations of config/: their certificates, processes, administrators and people."""

import json
import os
import pathlib
import shlex
import subprocess
import urllib.error
import urllib.request

from harness import REQUEST_S, Failure, Process, equal, expect, quote

CONFIG = pathlib.Path(__file__).resolve().parents[2] / "config"
# For everybody: the demonstration is reached from this machine only.
PASSWORD = "hospital-demo"
AUTHORITY_DAYS, SERVER_DAYS = 3650, 397
# A certificate that ends within this time is made anew.
RENEW_S = 30 * 86_400


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"openssl {arguments[0]}: {done.stderr.strip()}")


class Authority:
    """The certificate authority of both hospitals, in a directory."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = directory / "authority.pem", directory / "authority.key"
        if not self.certificate.exists():
            openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch",
                "-subj", "/CN=Authority of the demonstration", "-days", str(AUTHORITY_DAYS),
                "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", str(self.key), "-out", str(self.certificate),
            )

    def issue(self, directory, name):
        """A certificate for localhost, unless there is one for some time yet."""
        directory.mkdir(parents=True, exist_ok=True)
        certificate = directory / "server.pem"
        lasts = ["openssl", "x509", "-in", str(certificate), "-noout", "-checkend", str(RENEW_S)]
        if certificate.exists() and subprocess.run(lasts, capture_output=True, check=False).returncode == 0:
            return
        openssl(
            "req", "-x509", "-CA", str(self.certificate), "-CAkey", str(self.key), "-newkey", "ec",
            "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch", "-subj", f"/CN={name}",
            "-days", str(SERVER_DAYS), "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            "-addext", "extendedKeyUsage=serverAuth,clientAuth",
            "-keyout", str(directory / "server.key"), "-out", str(certificate),
        )


class Hospital(Process):
    """One server. `ports`, for clients and for other servers, takes the place of the configuration's."""

    def __init__(self, root, letter, binary, ports, partner_port, moved):
        self.kind = f"hospital-{letter}"
        super().__init__(root / self.kind, f"http://localhost:{ports[0]}")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.binary, self.config = str(pathlib.Path(binary).resolve()), CONFIG / f"{self.kind}.toml"
        self.name, self.token_file = f"localhost:{ports[1]}", self.directory / "admin.token"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("WARDROOM_")}
        if moved:
            client, other = ports
            tls = '{ cert = "tls/server.pem", key = "tls/server.key" }'
            self.environment |= {
                "WARDROOM_SERVER_NAME": self.name,
                "WARDROOM_PUBLIC_URL": self.base,
                "WARDROOM_LISTENER": f"""[
                    {{ address = "127.0.0.1:{client}", serves = ["client", "media", "admin", "scim"] }},
                    {{ address = "127.0.0.1:{other}", serves = ["federation", "media"], tls = {tls} }},
                ]""",
                "WARDROOM_FEDERATION__ALLOW": f'["localhost:{partner_port}"]',
            }

    def command(self):
        return [self.binary, "serve", "--config", str(self.config)]

    def wardroom(self, *arguments, given=None):
        """Runs a command of the binary in the hospital's directory."""
        return subprocess.run(
            [self.binary, *arguments], cwd=self.directory, env=self.environment, input=given, capture_output=True,
            text=True, timeout=REQUEST_S, check=False,
        )

    def admin_arguments(self):
        return ["--config", str(self.config), "--token-file", str(self.token_file)]

    def admin(self, *arguments, given=None):
        """What `wardroom admin` answers."""
        done = self.wardroom("admin", *arguments, "--json", *self.admin_arguments(), given=given)
        expect(done.returncode == 0, f"wardroom admin {' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def make_administrator(self):
        """Before the first start; afterwards, signs them in."""
        done = self.wardroom(
            "user", "create", "--config", str(self.config), "--admin", "admin", "--password-file", "-",
            given=PASSWORD + "\n",
        )
        expect(done.returncode == 0, f"wardroom user create: {done.stderr.strip()}")

    def sign_administrator_in(self):
        self.admin("login", "admin", "--password-file", "-", given=PASSWORD + "\n")
        # For people: the same in a word.
        script = self.directory / "admin"
        words = [self.binary, "admin", *self.admin_arguments()]
        script.write_text(f"#!/bin/sh\ncd {shlex.quote(str(self.directory))} && exec {shlex.join(words)} \"$@\"\n")
        script.chmod(0o700)

    def id(self, name):
        return f"@{name}:{self.name}"

    def alias(self, name):
        return f"#{name}:{self.name}"


class Person:
    """Somebody who is signed in."""

    def __init__(self, hospital, name):
        self.hospital, self.id, self.token = hospital, hospital.id(name), None
        body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": PASSWORD}
        self.token = self.ask("POST", "v3/login", body)["access_token"]

    def request(self, method, path, body=None):
        """Status and answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.hospital.base + "/_matrix/client/" + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError as error:
            raise Failure(f"{method} {path} of {self.id}: {error}") from error

    def ask(self, method, path, body=None):
        status, answer = self.request(method, path, body)
        expect(status == 200, f"{method} {path} of {self.id}: {status} {answer}")
        return answer

    def refused(self, method, path, body=None):
        status, answer = self.request(method, path, body)
        equal((status, answer.get("errcode")), (403, "M_FORBIDDEN"), f"{method} {path} of {self.id}")
        return answer["error"]

    def join_path(self, room, via=None):
        return f"v3/join/{quote(room)}" + (f"?via={quote(via.name)}&server_name={quote(via.name)}" if via else "")

    def join(self, room, via=None):
        return self.ask("POST", self.join_path(room, via), {})["room_id"]

    def is_in(self, room):
        return room in self.ask("GET", "v3/joined_rooms")["joined_rooms"]

    def messages(self, room):
        return f"v3/rooms/{quote(room)}/messages?dir=b&limit=50"

    def say(self, room, text):
        path = f"v3/rooms/{quote(room)}/send/m.room.message/{os.urandom(8).hex()}"
        return self.ask("PUT", path, {"msgtype": "m.text", "body": text})["event_id"]

    def sees(self, room, event):
        status, _ = self.request("GET", f"v3/rooms/{quote(room)}/event/{quote(event)}")
        return status == 200
