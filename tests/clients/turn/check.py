"""Whether coturn takes the TURN passwords that the server gives out, against a real server and a real coturn.

    check.py BASE_URL SECRET

SECRET is the server's `turn.shared_secret`. Prints a line for each step; ends at the first that fails, with a sentence
that says what was expected and what came instead, and exit status 1.
"""

import json
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

PASSWORD = "correct horse battery staple"
# How long coturn may take to open its port, or its client to finish.
SOON_S = 20
# Relay ports that coturn may use.
RELAY_PORTS = 20
STARTS_MAX = 5
STUN_BINDING_REQUEST = struct.pack("!HHI", 0x0001, 0, 0x2112A442)


class Failure(Exception):
    """A step did not go as it should."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


class Coturn:
    """A turnserver of this test's own on loopback, ended with the test."""

    def __init__(self, secret):
        self.directory = tempfile.TemporaryDirectory()
        self.log = Path(self.directory.name, "log")
        for _ in range(STARTS_MAX):
            # Below the range that outgoing connections use; somebody else may take it first, so it is tried again.
            self.port = random.randrange(16_000, 31_000)
            self.process = self.start(secret)
            if self.answers():
                return
            self.stop()
        raise Failure(f"coturn did not start: {self.tail()}")

    def start(self, secret):
        relay = self.port + 1
        options = {
            "--static-auth-secret": secret,
            "--realm": "hospital-a.example",
            "--listening-ip": "127.0.0.1",
            "--listening-port": str(self.port),
            "--relay-ip": "127.0.0.1",
            "--min-port": str(relay),
            "--max-port": str(relay + RELAY_PORTS),
            "--pidfile": str(Path(self.directory.name, "pid")),
            "--userdb": str(Path(self.directory.name, "db")),
            "--log-file": "stdout",
        }
        flags = ["-n", "--use-auth-secret", "--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers"]
        command = ["turnserver", *flags, *(f"{name}={value}" for name, value in options.items())]
        with self.log.open("wb") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def answers(self):
        """Whether it answers to STUN before it ends, or before the time is up."""
        deadline = time.monotonic() + SOON_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            while time.monotonic() < deadline and self.process.poll() is None:
                transaction = random.randbytes(12)
                try:
                    client.sendto(STUN_BINDING_REQUEST + transaction, ("127.0.0.1", self.port))
                    if client.recv(1_500)[8:20] == transaction:
                        return True
                except OSError:
                    time.sleep(0.05)
        return False

    def allocates(self, username, password):
        """Whether coturn's own client gets a relay, and its messages through it, with these credentials."""
        command = ["turnutils_uclient", "-y", "-c", "-n", "1", "-u", username, "-w", password, "-p", str(self.port)]
        try:
            done = subprocess.run([*command, "127.0.0.1"], capture_output=True, text=True, timeout=3 * SOON_S)
        except subprocess.TimeoutExpired:
            return False
        said = done.stdout + done.stderr
        return done.returncode == 0 and "Cannot complete Allocation" not in said and "tot_recv_msgs=2" in said

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(SOON_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Check:
    def __init__(self, base_url, secret):
        self.base_url = base_url
        self.secret = secret
        self.name = f"turn-{uuid.uuid4().hex[:8]}"
        self.token = None
        self.coturn = None

    def steps(self):
        return [
            ("credentials for a user", self.credentials),
            ("coturn starts", self.start),
            ("coturn takes them", self.accepted),
            ("coturn refuses another password", self.other_password),
            ("coturn refuses another user name", self.other_username),
        ]

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failure(f"{method} {path}: HTTP {error.code} {error.read().decode(errors='replace')}") from None

    def credentials(self):
        body = {"username": self.name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
        registered = self.ask("POST", "/_matrix/client/v3/register", body)
        self.token = registered["access_token"]
        self.given = self.ask("GET", "/_matrix/client/v3/voip/turnServer")
        expect(self.given.get("uris"), f"the server gave no TURN server: {self.given}")
        expires, _, user = self.given["username"].partition(":")
        expect(user, f"the user name is {self.given['username']!r}, not EXPIRY:NAME")
        left = int(expires) - time.time()
        lifetime = self.given["ttl"]
        expect(0 < left <= lifetime + 5, f"they expire in {left:.0f} s, and live {lifetime} s")

    def start(self):
        self.coturn = Coturn(self.secret)

    def accepted(self):
        taken = self.coturn.allocates(self.given["username"], self.given["password"])
        expect(taken, f"coturn does not take them: {self.coturn.tail()}")

    def other_password(self):
        password = self.given["password"]
        other = ("A" if password[0] != "A" else "B") + password[1:]
        expect(not self.coturn.allocates(self.given["username"], other), "coturn takes any password")

    def other_username(self):
        expires, _, user = self.given["username"].partition(":")
        later = f"{int(expires) + 3_600}:{user}"
        expect(not self.coturn.allocates(later, self.given["password"]), "the password holds for a later expiry too")

    def close(self):
        if self.coturn is not None:
            self.coturn.stop()


def main(base_url, secret):
    check = Check(base_url, secret)
    try:
        for name, step in check.steps():
            try:
                step()
            except Failure as failure:
                print(f"FAILED turn: {name}: {failure}", flush=True)
                return 1
            print(f"ok turn: {name}", flush=True)
    finally:
        check.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
