"""Repositories of audit records: rsyslog over TLS, and one that takes FHIR resources."""

import http.server
import json
import os
import pathlib
import re
import subprocess
import threading

from harness import expect, free_port

# The object of a DICOM message that names the record.
RECORD = re.compile(r'ParticipantObjectID="([0-9A-Z]{26})" ParticipantObjectTypeCode="2" ParticipantObjectTypeCodeRole="13">'
                    r'<ParticipantObjectIDTypeCode csd-code="audit record"')


class Rsyslog:
    """Debian's rsyslog, which takes messages over TLS from who shows a certificate of the authority."""

    kind = "rsyslog"

    def __init__(self, unpacked, directory, name="rsyslog"):
        self.home, self.directory = pathlib.Path(unpacked), pathlib.Path(directory) / name
        self.directory.mkdir()
        self.port, self.received = free_port(), self.directory / "received"
        libraries = [str(path) for path in (self.home / "usr/lib").glob("*-linux-*")]
        self.modules = [f"{path}/rsyslog" for path in libraries]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
        self.process = None
        self.certificates()
        self.configuration = self.directory / "rsyslog.conf"
        self.configuration.write_text(f"""
global(workDirectory="{self.directory}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{self.directory}/ca.pem"
       defaultNetstreamDriverCertFile="{self.directory}/rsyslog.pem" defaultNetstreamDriverKeyFile="{self.directory}/rsyslog.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="raw" type="string" string="%rawmsg%\\n")
input(type="imtcp" port="{self.port}" address="127.0.0.1")
action(type="omfile" file="{self.received}" template="raw")
""")

    def certificates(self):
        """An authority, and certificates by it for rsyslog and for the server."""
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        for name, usage in [("rsyslog", "serverAuth"), ("wardroom", "clientAuth")]:
            openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            (self.directory / "extensions").write_text(f"subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
                    "2", "-extfile", "extensions", "-out", f"{name}.pem")

    def start(self):
        command = [self.home / "usr/sbin/rsyslogd", "-n", "-f", self.configuration, "-i", self.directory / "pid",
                   "-M", ":".join(self.modules)]
        with open(self.directory / "rsyslog.log", "ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        expect(self.process.poll() is None, f"rsyslog ended\n{self.log_tail()}")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def messages(self):
        return self.received.read_text(encoding="utf-8").splitlines() if self.received.exists() else []

    def ids(self):
        """The records that came, each where it came first."""
        found = [RECORD.search(message) for message in self.messages()]
        expect(all(found), "a message names no record")
        return list(dict.fromkeys(match.group(1) for match in found))

    def log_tail(self):
        path = self.directory / "rsyslog.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""


class Repository:
    """Takes FHIR resources. `limit` is how many of a bundle it takes before it refuses the rest; `down` refuses all."""

    kind = "the FHIR repository"

    def __init__(self, token):
        self.token, self.down, self.limit = token, False, None
        self.resources, self.bundles, self.wrong = [], 0, []
        handler = type("Handler", (_Handler,), {"repository": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/fhir"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self):
        return list(dict.fromkeys(resource["id"] for resource in self.resources))

    def take(self, bundle):
        """What each resource of a bundle is answered."""
        statuses = []
        for index, entry in enumerate(bundle["entry"]):
            if self.limit is not None and index >= self.limit:
                statuses.append("422 Unprocessable Entity")
                continue
            if entry["request"] != {"method": "POST", "url": "AuditEvent"}:
                self.wrong.append(entry["request"])
            self.resources.append(entry["resource"])
            statuses.append("201 Created")
        self.bundles += 1
        return {"resourceType": "Bundle", "type": "batch-response",
                "entry": [{"response": {"status": status}} for status in statuses]}

    def stop(self):
        self.server.shutdown()

    def log_tail(self):
        return f"{len(self.resources)} resources in {self.bundles} bundles; wrong: {self.wrong}"


class _Handler(http.server.BaseHTTPRequestHandler):
    repository = None

    def do_POST(self):
        repository = self.repository
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] != f"Bearer {repository.token}" or self.path != "/fhir":
            repository.wrong.append((self.path, self.headers["Authorization"]))
        if self.headers["Content-Type"] != "application/fhir+json":
            repository.wrong.append(self.headers["Content-Type"])
        if repository.down:
            self.send_response(503)
            self.end_headers()
            return
        answer = json.dumps(repository.take(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        try:
            self.wfile.write(answer)
        except ConnectionError:
            # The server was killed: it asks again.
            pass

    def log_message(self, *_):
        pass
