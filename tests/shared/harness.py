"""What the scenarios share: expectations, waiting, a server's process, and steps that are counted. Python's own library alone."""

import hashlib
import hmac
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

START_S = 60
STOP_S = 20
# How long a server, also another one, may take to hear of something.
SOON_S = 40
REQUEST_S = 60
LOOK_AGAIN_S = 0.05
LOG_TAIL_LINES = 60
PASSWORD = "correct horse battery staple"


class Failure(Exception):
    """Something did not go as it should."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def equal(found, expected, what):
    expect(found == expected, f"{what}: {found!r} instead of {expected!r}")


def wait_for(what, look, limit_s=SOON_S):
    """What `look` gives as soon as that is something."""
    deadline = time.monotonic() + limit_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise Failure(f"{what}: not within {limit_s} s")
        time.sleep(LOOK_AGAIN_S)


def free_port():
    """A port that nobody listens on, below the range that outgoing connections use."""
    while True:
        port = 16_000 + secrets.randbelow(16_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def quote(segment):
    return urllib.parse.quote(segment, safe="")


def with_shared_secret(secret, nonce, name, admin):
    """The body for /_synapse/admin/v1/register."""
    text = "\0".join([nonce, name, PASSWORD, "admin" if admin else "notadmin"])
    mac = hmac.new(secret.encode(), text.encode(), hashlib.sha1).hexdigest()
    return {"nonce": nonce, "username": name, "password": PASSWORD, "admin": admin, "mac": mac}


class Process:
    """A server's process, in a directory of its own that has its log; `base` is where it answers clients."""

    kind = "the server"

    def __init__(self, directory, base):
        self.directory, self.base = pathlib.Path(directory), base
        self.log_path = self.directory / "server.log"
        self.process = None
        # None: that of this process.
        self.environment = None

    def command(self):
        raise NotImplementedError

    def start(self):
        expect(self.process is None, f"{self.kind} runs already")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_for(f"{self.kind} answers", self._answers, START_S)

    def _answers(self):
        status = self.process.poll()
        expect(status is None, f"{self.kind} ended at its start with {status}\n{self.log_tail()}")
        try:
            with urllib.request.urlopen(self.base + "/_matrix/client/versions", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log_tail(self):
        if not self.log_path.exists():
            return "(it was not started)"
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


class Wardroom(Process):
    """A server alone, called hospital-a.example. `more` is what its configuration has before the listener."""

    kind = "wardroom"
    name = "hospital-a.example"
    federation = "federation.enabled = false"
    SECRET = "a secret of the tests"

    def __init__(self, binary, directory, serves, more):
        port = free_port()
        super().__init__(directory, f"http://127.0.0.1:{port}")
        self.binary, self.config = binary, self.directory / "wardroom.toml"
        self.config.write_text(f"""
server_name = "{self.name}"
data_dir = "{directory}/data"
master_key.file = "{directory}/master.key"
registration.shared_secret = "{self.SECRET}"
rate_limits.enabled = false
password.argon2 = {{ memory_kib = 8, iterations = 1, parallelism = 1 }}
{self.federation}
{more}
[[listener]]
address = "127.0.0.1:{port}"
serves = {json.dumps(serves)}
""")

    def command(self):
        return [self.binary, "serve", "--config", str(self.config)]

    def answer(self, method, path, body=None, token=None, raw=None):
        """Status, headers and body, whatever the answer is."""
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("Content-Type", "text/plain" if raw is not None else "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def request(self, method, path, body=None, token=None, raw=None):
        """The body of a good answer."""
        status, _, answer = self.answer(method, path, body, token, raw)
        expect(status == 200, f"{method} {path}: {status} {answer[:500]!r}")
        return json.loads(answer)

    def register(self, name, admin=False):
        """What the server answers to a registration."""
        nonce = self.request("GET", "/_synapse/admin/v1/register")["nonce"]
        body = with_shared_secret(self.SECRET, nonce, name, admin)
        return self.request("POST", "/_synapse/admin/v1/register", body)


def run_steps(steps, parts=(), after=lambda: None):
    """Runs those pairs of name and function whose names have one of the parts, all without any, and prints a line for each.
    Whether all went well."""
    well = True
    for name, step in steps:
        if parts and not any(part in name for part in parts):
            continue
        started = time.monotonic()
        try:
            step()
            print(f"ok {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:  # each step is reported, whatever ended it
            said = error if isinstance(error, Failure) else traceback.format_exc()
            print(f"FAILED {name}: {said}", flush=True)
            well = False
        after()
    return well


def run_scenario(directory, servers, steps, parts=(), after=lambda: None):
    """Runs the steps that `steps` gives, which starts `servers`, in a directory for this run; the exit status."""
    well = False
    try:
        well = run_steps(steps(), parts, after)
    except Failure as failure:
        print(f"FAILED to start: {failure}", flush=True)
    finally:
        for server in servers:
            server.stop()
            if not well:
                print(f"--- end of the log of {server.kind}\n{server.log_tail()}", file=sys.stderr)
        if not well and os.environ.get("KEEP"):
            print(f"kept: {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if well else 1
