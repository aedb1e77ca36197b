"""Roles from a real OpenLDAP.

    scenario.py BINARY UNPACKED [NAME-PART...]     with parts of names, only the steps that have one

UNPACKED is where Debian's packages slapd and ldap-utils were unpacked. Prints a line for each step: "ok" or "FAILED", with
what was expected and what came instead. The exit status is 1 when any failed.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from harness import Failure, Wardroom, equal, expect, free_port, quote, run_scenario, wait_for

READER = "cn=reader,dc=h1"
READERS_PASSWORD = "readers secret"
ADMIN = "cn=admin,dc=h1"
ADMINS_PASSWORD = "admins secret"
ROLE = "physician@h1/icu"
# More than two pages.
PAGE_SIZE = 40
CROWD = 95


class Slapd:
    """OpenLDAP, with one of several databases."""

    kind = "slapd"

    def __init__(self, unpacked, directory):
        self.home, self.directory = pathlib.Path(unpacked), pathlib.Path(directory) / "slapd"
        self.directory.mkdir()
        self.port, self.tls_port = free_port(), free_port()
        libraries = [str(path) for path in (self.home / "usr/lib").glob("*-linux-*")]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
        self.process = None
        self.certificate()

    def certificate(self):
        """An authority, and a certificate by it for 127.0.0.1 and for no name."""
        def openssl(*arguments):
            subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        openssl("req", *key, "-keyout", "slapd.key", "-out", "slapd.csr", "-subj", "/CN=slapd")
        extensions = self.directory / "extensions"
        extensions.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "slapd.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "extensions", "-out", "slapd.pem")

    def configuration(self, data, limits):
        schemas = "\n".join(
            f"include {self.home}/etc/ldap/schema/{name}.schema" for name in ["core", "cosine", "inetorgperson", "nis"]
        )
        path = self.directory / f"{data}.conf"
        path.write_text(f"""
{schemas}
modulepath {self.home}/usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCACertificateFile {self.directory}/ca.pem
TLSCertificateFile {self.directory}/slapd.pem
TLSCertificateKeyFile {self.directory}/slapd.key
# Nothing is said in the clear.
security simple_bind=128
database mdb
suffix "dc=h1"
rootdn "{ADMIN}"
rootpw "{ADMINS_PASSWORD}"
directory {self.directory}/{data}
maxsize 67108864
{limits}
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
""")
        return path

    def start(self, data, limits=""):
        """Serves a database, an empty one at first."""
        (self.directory / data).mkdir(exist_ok=True)
        addresses = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        command = [self.home / "usr/sbin/slapd", "-d", "0", "-f", self.configuration(data, limits), "-h", addresses]
        with open(self.directory / "slapd.log", "ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_for("slapd answers", self.answers)

    def answers(self):
        expect(self.process.poll() is None, f"slapd ended\n{self.log_tail()}")
        return self.tool("ldapwhoami", check=False).returncode == 0

    def tool(self, name, *arguments, text="", check=True):
        command = [self.home / "usr/bin" / name, "-x", "-H", f"ldaps://127.0.0.1:{self.tls_port}", "-D", ADMIN,
                   "-w", ADMINS_PASSWORD, *arguments]
        environment = {**self.environment, "LDAPTLS_CACERT": f"{self.directory}/ca.pem"}
        done = subprocess.run(command, env=environment, input=text, text=True, capture_output=True)
        expect(done.returncode == 0 or not check, f"{name}: {done.stderr}")
        return done

    def add(self, *entries):
        self.tool("ldapadd", text="\n\n".join(entries) + "\n")

    def modify(self, entry, change):
        self.tool("ldapmodify", text=f"dn: {entry}\nchangetype: modify\n{change}\n")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def serve(self, data, limits=""):
        self.stop()
        self.start(data, limits)

    def log_tail(self):
        path = self.directory / "slapd.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""


def frame():
    """What every database has."""
    return [
        "dn: dc=h1\nobjectClass: dcObject\nobjectClass: organization\no: h1",
        f"dn: {READER}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n"
        f"cn: reader\nuserPassword: {READERS_PASSWORD}",
        *(f"dn: ou={name},dc=h1\nobjectClass: organizationalUnit\nou: {name}" for name in ["people", "groups", "clinic"]),
    ]


def person(name, unit="people", more=""):
    return f"dn: uid={name},ou={unit},dc=h1\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}{more}"


def group(name, members):
    lines = "\n".join(f"member: {member}" for member in ["cn=reader,dc=h1", *members])
    return f"dn: cn={name},ou=groups,dc=h1\nobjectClass: groupOfNames\ncn: {name}\n{lines}"


def of_staff(name):
    return f"uid={name},ou=people,dc=h1"


class Server(Wardroom):
    """The server, with directories."""

    def __init__(self, binary, directory, slapd):
        self.password_file = pathlib.Path(directory) / "reader.password"
        self.password_file.write_text(READERS_PASSWORD + "\n")
        reader = f'bind_dn = "{READER}"\nbind_password_file = "{self.password_file}"\npoll_seconds = 1\ntimeout_seconds = 5'
        super().__init__(binary, directory, ["client", "admin"], f"""
directories.extra_ca = ["{slapd.directory}/ca.pem"]
[[directories.ldap]]
name = "staff"
url = "ldaps://127.0.0.1:{slapd.tls_port}"
base = "ou=people,dc=h1"
roles = [
    {{ group = "ICU Physicians", gives = "{ROLE}" }},
    {{ group = "cn=everybody,ou=groups,dc=h1", gives = "staff@h1" }},
    {{ attribute = "title", value = "Chief Nurse", gives = "charge-nurse@h1" }},
]
inactive = [{{ attribute = "employeeType", value = "gone" }}]
end_sessions = true
page_size = {PAGE_SIZE}
{reader}
[[directories.ldap]]
name = "clinic"
url = "ldap://127.0.0.1:{slapd.port}"
start_tls = true
base = "ou=clinic,dc=h1"
filter = "(&(objectClass=inetOrgPerson)(!(uid=nobody)))"
groups_base = "ou=groups,dc=h1"
groups_filter = "(objectClass=posixGroup)"
group_member_attribute = "memberUid"
roles = [{{ group = "nurses", gives = "nurse@h1" }}]
{reader}
[[directories.ldap]]
name = "impostor"
url = "ldaps://localhost:{slapd.tls_port}"
base = "ou=people,dc=h1"
{reader}
""")

    def register(self, name, admin=False):
        return User(self, super().register(name, admin))


class User:
    """A user of the client-server API."""

    def __init__(self, server, answer):
        self.server, self.id, self.token = server, answer["user_id"], answer["access_token"]

    def request(self, method, path, body=None):
        return self.server.request(method, path, body, self.token)

    def join(self, room):
        self.request("POST", f"/_matrix/client/v3/join/{quote(room)}", {})

    def is_in(self, room):
        return room in self.request("GET", "/_matrix/client/v3/joined_rooms")["joined_rooms"]

    def may_not_join(self, room):
        try:
            self.join(room)
        except Failure as failure:
            expect("M_FORBIDDEN" in str(failure), f"join: {failure}")
            return True
        raise Failure(f"{self.id} could join")


class Steps:
    """In this order: each begins where the one before it ended."""

    def __init__(self, slapd, wardroom):
        self.slapd, self.wardroom = slapd, wardroom
        crowd = [f"crowd{number:03}" for number in range(CROWD)]
        slapd.start("full")
        slapd.add(*frame())
        slapd.add(*(person(name) for name in [*crowd, "alice", "bob", "later"]))
        slapd.add(person("carol", "people", "\ntitle: chief  nurse"), person("bob", "clinic"), person("dan", "clinic"))
        slapd.add(group("ICU Physicians", map(of_staff, ["alice", "bob", "later"])))
        slapd.add(group("everybody", map(of_staff, crowd)))
        slapd.add("dn: cn=nurses,ou=groups,dc=h1\nobjectClass: posixGroup\ncn: nurses\ngidNumber: 1\nmemberUid: bob")
        slapd.stop()
        slapd.start("nobody")
        slapd.add(*frame(), group("ICU Physicians", []), group("everybody", []))
        slapd.serve("few")
        slapd.add(*frame(), person("alice"), group("ICU Physicians", [of_staff("alice")]))
        slapd.serve("full")
        wardroom.start()
        self.admin = wardroom.register("admin", admin=True)
        self.alice, self.bob = wardroom.register("alice"), wardroom.register("bob")
        self.room = None

    def own(self, method, path, body=None):
        return self.admin.request(method, f"/_wardroom/admin/v1/{path}", body)

    def source(self, name="staff"):
        return next(source for source in self.own("GET", "sources")["sources"] if source["name"] == name)

    def poll(self, name="staff"):
        return self.own("POST", f"sources/{name}/poll", {})

    def alarm(self, kind, *parts):
        alarms = [alarm for alarm in self.own("GET", "alarms")["alarms"] if alarm["kind"] == kind]
        return next((alarm for alarm in alarms if all(part in alarm["sentence"] for part in parts)), None)

    def roles(self, user):
        return sorted(self.own("GET", f"role_bindings/{quote(user)}")["in_force"])

    def id(self, name):
        return f"@{name}:{self.wardroom.name}"

    def holds(self, what):
        """Nothing changes while the directory does not do as it should."""
        equal(self.roles(self.alice.id), [ROLE], f"alice's roles, {what}")
        equal(self.roles(self.id(f"crowd{CROWD - 1:03}")), ["staff@h1"], f"the crowd's roles, {what}")
        expect(self.alice.is_in(self.room), f"alice stays, {what}")

    def fails_with(self, part):
        """It fails often enough that an administrator is told."""
        wait_for("failures", lambda: self.source()["failures_in_a_row"] >= 3)
        wait_for("the alarm", lambda: self.alarm("source_unavailable", '"staff" fails', part))
        expect(part in self.poll()["last_failure"], f"the source: {self.source()}")
        self.holds(part)

    def is_back(self):
        equal(self.poll()["failures_in_a_row"], 0, "failures")
        equal(self.alarm("source_unavailable", '"staff"'), None, "the alarm is taken back")
        self.holds("again")

    def groups_give_roles(self):
        wait_for("a reading", lambda: self.source()["last_success_ts"])
        equal(self.roles(self.alice.id), [ROLE], "alice's roles")
        equal(self.roles(self.id("carol")), ["charge-nurse@h1"], "carol's roles")
        self.room = self.alice.request("POST", "/_matrix/client/v3/createRoom", {"preset": "public_chat"})["room_id"]
        policy = {"version": 1, "require": {"any_of": [{"all_of": [ROLE]}]}}
        self.own("PUT", f"rooms/{quote(self.room)}/policy", policy)
        self.bob.join(self.room)

    def every_page_is_read(self):
        status = self.poll()
        equal((status["listed"], status["skipped"], status["last_failure"]), (CROWD + 4, 0, None), "the source")
        for number in range(CROWD):
            equal(self.roles(self.id(f"crowd{number:03}")), ["staff@h1"], f"roles of number {number}")
        expect(status["next_poll_ts"] > status["last_success_ts"] - 5_000, f"the next reading: {status}")

    def groups_of_another_source_add_up(self):
        wait_for("a reading", lambda: self.source("clinic")["last_success_ts"])
        equal(self.roles(self.bob.id), ["nurse@h1", ROLE], "bob's roles")
        equal(self.source("clinic")["listed"], 2, "people of the clinic")

    def who_has_no_account_yet_has_the_role_later(self):
        self.wardroom.register("later").join(self.room)
        self.wardroom.register("dan").may_not_join(self.room)

    def who_loses_the_group_is_out(self):
        self.slapd.modify("cn=ICU Physicians,ou=groups,dc=h1", f"delete: member\nmember: {of_staff('bob')}")
        wait_for("bob is out", lambda: not self.bob.is_in(self.room))
        equal(self.roles(self.bob.id), ["nurse@h1"], "bob's roles")
        self.bob.may_not_join(self.room)
        expect(self.alice.is_in(self.room), "alice stays")

    def who_gets_it_back_is_let_in(self):
        self.slapd.modify("cn=ICU Physicians,ou=groups,dc=h1", f"add: member\nmember: {of_staff('bob')}")
        wait_for("bob has the role", lambda: ROLE in self.roles(self.bob.id))
        self.bob.join(self.room)

    def who_is_gone_is_signed_out(self):
        self.slapd.modify(of_staff("bob"), "add: employeeType\nemployeeType: Gone")

        def signed_out():
            try:
                self.bob.is_in(self.room)
            except Failure as failure:
                return "M_UNKNOWN_TOKEN" in str(failure)
            return False

        wait_for("bob is signed out", signed_out)
        # The other source knows him still, but does not say whether he is there.
        equal(self.roles(self.bob.id), [], "bob's roles")
        self.slapd.modify(of_staff("bob"), "delete: employeeType")
        wait_for("bob is back", lambda: self.roles(self.bob.id) == ["nurse@h1", ROLE])

    def another_machine_with_its_certificate_is_not_believed(self):
        alarm = wait_for("the alarm", lambda: self.alarm("source_unavailable", '"impostor"'))
        expect("TLS" in alarm["sentence"], f"the alarm: {alarm['sentence']}")
        equal(self.source("impostor")["listed"], 0, "people")

    def a_directory_that_is_down_changes_nothing(self):
        self.slapd.stop()
        self.fails_with("cannot be reached")

    def a_start_without_it_changes_nothing(self):
        self.wardroom.stop()
        self.wardroom.start()
        self.fails_with("cannot be reached")
        self.slapd.start("full")
        self.is_back()

    def an_empty_directory_changes_nothing(self):
        self.slapd.serve("nobody")
        self.fails_with("lists nobody")

    def most_of_it_missing_changes_nothing(self):
        self.slapd.serve("few")
        alarm = wait_for("the alarm", lambda: self.alarm("removal_brake", "ldap"))
        expect("users would lose" in alarm["sentence"], f"the alarm: {alarm['sentence']}")
        self.fails_with("users would lose")
        self.slapd.serve("full")
        self.is_back()

    def a_size_limit_changes_nothing(self):
        self.slapd.serve("full", f'limits dn.exact="{READER}" size.prtotal={PAGE_SIZE + 5}')
        self.fails_with("sizeLimitExceeded")
        self.slapd.serve("full")
        self.is_back()

    def a_wrong_password_changes_nothing(self):
        self.wardroom.password_file.write_text("not the readers secret")
        self.fails_with("invalidCredentials")
        self.wardroom.password_file.write_text(READERS_PASSWORD)
        self.is_back()

    def a_directory_that_says_nothing_changes_nothing(self):
        self.slapd.process.send_signal(19)  # SIGSTOP
        try:
            self.fails_with("said nothing for 5 seconds")
        finally:
            self.slapd.process.send_signal(18)  # SIGCONT
        self.is_back()

    def all(self):
        inner = ("own", "source", "poll", "alarm", "roles", "id", "holds", "fails_with", "is_back", "all")
        names = [name for name in vars(Steps) if not name.startswith("_") and name not in inner]
        return [(name.replace("_", " "), getattr(self, name)) for name in names]


def main():
    binary, unpacked, *parts = sys.argv[1:]
    directory = tempfile.mkdtemp(prefix="wardroom-ldap-")
    slapd = Slapd(unpacked, directory)
    wardroom = Server(binary, directory, slapd)
    return run_scenario(directory, [wardroom, slapd], lambda: Steps(slapd, wardroom).all(), parts)


if __name__ == "__main__":
    sys.exit(main())
