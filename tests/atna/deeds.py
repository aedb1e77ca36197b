"""Two real servers do everything that leaves a record: what they export is shown to the validators.

What is not done here is in `SAMPLES_ONLY`, each with the reason; of everything else a record of a real server is wanted.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import time
import urllib.parse

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness import PASSWORD, REQUEST_S, equal, expect, quote, wait_for

SAMPLES_ONLY = {
    "audit.gap": "takes a full disk; shown by full_disk::with_continue_a_full_disk_lets_work_go_on_and_the_gap_is_told",
    "retention.shred": "takes a day; rooms::retention::tests::records::what_is_pruned_shredded_and_purged_is_recorded",
}
# How long a witness may take that failed a few times.
LATER_S = 120
CLIENT, ADMIN, SYNAPSE = "/_matrix/client/v3", "/_wardroom/admin/v1", "/_synapse/admin"

CONFIGURATION = """
admin.impersonation = true
retention = { purge_every_seconds = 1, max_lifetime_limits_seconds = [0, 0], stubs_seconds = 0, hold_release_needs_two = false }
backup = { dir = "backups", keys_dir = "backup-keys" }
%s
"""


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


class Signer:
    """A key of a device or of cross-signing."""

    def __init__(self):
        self.key = Ed25519PrivateKey.generate()
        self.public = unpadded(self.key.public_key().public_bytes_raw())

    def sign(self, content, user, name):
        covered = {name: value for name, value in content.items() if name not in ("signatures", "unsigned")}
        text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        signatures = content.setdefault("signatures", {}).setdefault(user, {})
        signatures[f"ed25519:{name}"] = unpadded(self.key.sign(text.encode()))
        return content


class User:
    """Somebody with a device."""

    def __init__(self, server, answer):
        self.server, self.id = server, answer["user_id"]
        self.token, self.device = answer["access_token"], answer["device_id"]

    def call(self, method, path, body=None, raw=None):
        return self.server.request(method, path, body, self.token, raw)

    def refused(self, status, method, path, body=None):
        equal(self.server.answer(method, path, body, self.token)[0], status, f"{method} {path}")

    def room(self, preset="public_chat", **more):
        return self.call("POST", f"{CLIENT}/createRoom", {"preset": preset, "room_version": "11", **more})["room_id"]

    def join(self, room, via=None):
        where = "?" + urllib.parse.urlencode({"server_name": via.name, "via": via.name}) if via else ""
        self.call("POST", f"{CLIENT}/join/{quote(room)}{where}", {})

    def member(self, what, room, other=None):
        self.call("POST", f"{CLIENT}/rooms/{quote(room)}/{what}", {"user_id": other.id} if other else {})

    def say(self, room, **content):
        content = {"msgtype": "m.text", "body": "said", **content}
        path = f"{CLIENT}/rooms/{quote(room)}/send/m.room.message/{time.monotonic_ns()}"
        return self.call("PUT", path, content)["event_id"]

    def state(self, room, kind, content):
        return self.call("PUT", f"{CLIENT}/rooms/{quote(room)}/state/{kind}/", content)["event_id"]

    def login(self):
        body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": self.id}, "password": PASSWORD}
        return User(self.server, self.server.request("POST", f"{CLIENT}/login", body))

    def upload(self, content=b"an image"):
        return self.call("POST", "/_matrix/media/v3/upload", raw=content)["content_uri"]

    def with_password(self, method, path, body):
        """A request that wants the password as well."""
        status, _, answer = self.server.answer(method, path, body, self.token)
        expect(status == 401, f"{method} {path}: {status}")
        who = {"type": "m.id.user", "user": self.id}
        auth = {"type": "m.login.password", "identifier": who, "password": PASSWORD, "session": json.loads(answer)["session"]}
        return self.call(method, path, {**body, "auth": auth})


class Deeds:
    """What is done on `here`, and with its partner `there`."""

    def __init__(self, here, there):
        self.here, self.there = here, there
        for server in (here, there):
            server.start()
        self.admin, self.other_admin = (User(server, server.register("admin", admin=True)) for server in (here, there))
        self.alice, self.bob = (User(here, here.register(name)) for name in ("alice", "bob"))
        self.carol = User(there, there.register("carol"))
        # Records by the names of servers and their own ids: a restored server forgets some.
        self.found = {here.name: {}, there.name: {}}

    def own(self, method, path, body=None):
        return self.admin.call(method, ADMIN + path, body)

    def give(self, user, *roles):
        self.own("PUT", f"/role_bindings/{quote(user.id)}", {"roles": [{"role": role, "reason": "on duty"} for role in roles]})

    def signing_in(self):
        self.bob.login().call("POST", f"{CLIENT}/logout", {})
        who = {"type": "m.id.user", "user": "bob"}
        wrong = {"type": "m.login.password", "identifier": who, "password": "wrong"}
        equal(self.here.answer("POST", f"{CLIENT}/login", wrong)[0], 403, "a wrong password")

    def accounts(self):
        eve = User(self.here, self.here.register("eve"))
        account = f"{SYNAPSE}/v2/users/{quote(eve.id)}"
        self.admin.call("PUT", account, {"locked": True})
        self.admin.call("PUT", account, {"locked": False})
        self.admin.refused(400, "PUT", account, {"locked": "perhaps"})
        equal(self.here.answer("GET", f"{ADMIN}/users/{quote(eve.id)}/export", token=self.admin.token)[0], 200, "an export")
        self.admin.call("POST", f"{SYNAPSE}/v1/users/{quote(eve.id)}/login", {})
        self.own("POST", f"/users/{quote(eve.id)}/erase", {"reason": "asked for it"})

    def keys(self):
        device, master, signing = Signer(), Signer(), Signer()
        user, alice = self.alice.id, self.alice
        identity = {"user_id": user, "device_id": alice.device, "algorithms": ["m.megolm.v1.aes-sha2"],
                    "keys": {f"ed25519:{alice.device}": device.public, f"curve25519:{alice.device}": Signer().public}}
        alice.call("POST", f"{CLIENT}/keys/upload", {"device_keys": device.sign(dict(identity), user, alice.device)})

        def cross(usage, key):
            return {"user_id": user, "usage": [usage], "keys": {f"ed25519:{key.public}": key.public}}

        keys = {"master_key": cross("master", master),
                "self_signing_key": master.sign(cross("self_signing", signing), user, master.public)}
        alice.call("POST", f"{CLIENT}/keys/device_signing/upload", keys)
        signed = {user: {alice.device: signing.sign(dict(identity), user, signing.public)}}
        equal(alice.call("POST", f"{CLIENT}/keys/signatures/upload", signed)["failures"], {}, "signatures")
        backup = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}
        version = alice.call("POST", f"{CLIENT}/room_keys/version", backup)["version"]
        key = {"first_message_index": 1, "forwarded_count": 0, "is_verified": True, "session_data": {"ciphertext": "opaque"}}
        path = f"{CLIENT}/room_keys/keys/{quote('!a:b.example')}/session?version={version}"
        alice.call("PUT", path, key)
        other = alice.login()
        other.call("GET", path)
        alice.with_password("DELETE", f"{CLIENT}/devices/{quote(other.device)}", {})

    def rooms(self):
        alice, bob = self.alice, self.bob
        room = alice.room(visibility="public")
        for what in ("invite", "kick", "ban", "unban", "invite"):
            alice.member(what, room, bob)
        bob.join(room)
        said, mistake = alice.say(room), alice.say(room)
        edit = {"m.new_content": {"msgtype": "m.text", "body": "meant"}, "m.relates_to": {"rel_type": "m.replace", "event_id": said}}
        alice.say(room, **edit)
        alice.call("PUT", f"{CLIENT}/rooms/{quote(room)}/redact/{quote(mistake)}/1", {})
        alice.state(room, "m.room.topic", {"topic": "beds"})
        bob.call("GET", f"{CLIENT}/rooms/{quote(room)}/messages?dir=b")
        bob.call("GET", f"{CLIENT}/sync")
        bob.call("POST", f"{CLIENT}/search", {"search_categories": {"room_events": {"search_term": "said"}}})
        bob.call("GET", f"{CLIENT}/publicRooms")
        bob.call("GET", f"/_matrix/client/v1/rooms/{quote(room)}/hierarchy")
        bob.member("leave", room)
        alice.state(room, "m.room.join_rules", {"join_rule": "knock"})
        bob.call("POST", f"{CLIENT}/knock/{quote(room)}", {})
        task = self.admin.call("DELETE", f"{SYNAPSE}/v2/rooms/{quote(room)}", {"purge": True})["delete_id"]
        state = f"{SYNAPSE}/v2/rooms/delete_status/{task}"
        wait_for("the deletion", lambda: self.admin.call("GET", state)["status"] == "complete")

    def files(self):
        file = self.alice.upload()
        server, name = file.removeprefix("mxc://").split("/")
        equal(self.here.answer("GET", f"/_matrix/client/v1/media/download/{server}/{name}", token=self.bob.token)[0], 200, "a file")
        for word in ("quarantine", "unquarantine"):
            self.admin.call("POST", f"{SYNAPSE}/v1/media/{word}/{server}/{name}", {})
        self.admin.call("DELETE", f"{SYNAPSE}/v1/media/{server}/{name}")

    def roles_and_emergencies(self):
        alice, bob, doctor = self.alice, self.bob, User(self.here, self.here.register("doctor"))
        room = alice.room("private_chat", invite=[bob.id])
        self.give(alice, "physician@h1")
        self.give(doctor, "clinician@h1")
        emergency = {"enabled": True, "who": {"any_of": [{"all_of": ["clinician@h1"]}]}, "ttl_ms": 3_600_000,
                     "reasons": ["ETREAT", "BTG"], "min_text": 10, "notify": []}
        policy = {"version": 1, "require": {"any_of": [{"all_of": ["physician@h1"]}]}}
        self.own("PUT", f"/rooms/{quote(room)}/policy", {**policy, "break_glass": emergency})
        bob.refused(403, "POST", f"{CLIENT}/join/{quote(room)}", {})
        glass = f"/_matrix/client/unstable/org.wardroom/v1/rooms/{quote(room)}/break_glass"
        for code in ("ETREAT", "BTG"):
            begun = doctor.call("POST", glass, {"reason_code": code, "reason_text": "cardiac arrest in bed four"})
            doctor.call("DELETE", glass)
            self.own("POST", f"/break_glass/{begun['id']}/review", {"verdict": "justified", "note": "he told me of it"})
        self.give(bob, "physician@h1")
        alice.member("invite", room, bob)
        bob.join(room)
        self.own("PUT", "/policy_templates/ward", {"policy": policy, "room_type": "org.example.ward"})
        self.own("DELETE", "/policy_templates/ward")
        self.own("PUT", "/federation/policy", {"allow": ["*"], "deny": ["evil.example"]})

    def retention(self):
        room = self.alice.room("private_chat")
        said = [self.alice.say(room) for _ in range(3)]
        hold = {"scope": {"room_id": room}, "reason": "a complaint of a patient", "authority": "court, 7 O 12/26"}
        hold = self.own("POST", "/holds", hold)["id"]
        self.own("GET", f"/holds/{hold}/events")
        self.admin.refused(403, "DELETE", f"{SYNAPSE}/v2/rooms/{quote(room)}", {"purge": True})
        self.own("DELETE", f"/holds/{hold}", {"reason": "settled"})
        self.alice.state(room, "m.room.retention", {"max_lifetime": 1})
        wait_for("the purge", lambda: {"retention.redact", "retention.purge"} <= self.acts(room_id=room))
        self.alice.refused(404, "GET", f"{CLIENT}/rooms/{quote(room)}/event/{quote(said[0])}")

    def partners(self):
        alice, carol = self.alice, self.carol
        room = alice.room()
        carol.join(room, self.here)

        def sees(user, event):
            path = f"{CLIENT}/rooms/{quote(room)}/event/{quote(event)}"
            wait_for(f"{user.id} sees {event}", lambda: user.server.answer("GET", path, token=user.token)[0] == 200)

        sees(carol, alice.say(room))
        sees(alice, carol.say(room))
        key = self.here.request("GET", "/.well-known/matrix/policy_server")["public_keys"]
        sees(carol, alice.state(room, "m.room.policy", {"via": self.here.name, "public_keys": key}))
        sees(alice, carol.say(room))

    def trail(self):
        equal(self.here.answer("GET", f"{ADMIN}/audit/export?format=csv", token=self.admin.token)[0], 200, "an export")
        self.alice.refused(403, "GET", "/_wardroom/fhir/AuditEvent")

        def newest():
            return max((witness["records"] or 0 for witness in self.own("GET", "/audit/witness")["witnesses"]), default=0)

        wait_for("a cosignature", lambda: newest() > 0, LATER_S)

    def acts(self, **conditions):
        query = urllib.parse.urlencode({**conditions, "limit": 1000})
        return {entry["record"]["act"] for entry in self.own("GET", f"/audit/records?{query}")["records"]}

    def backups(self):
        """Everything is copied, much is done, and the copy is restored: the partner notices. What breaks leaves a record as well."""
        directory = pathlib.Path(self.here.directory)
        copy = directory / self.own("POST", "/backup", {})["directory"]
        for _ in range(30):
            self.own("GET", "/audit/records?limit=1")
        # Asked once: each answer is itself recorded, and whoever asks again moves the goal.
        newest = self.newest()
        wait_for("a cosignature of all that", lambda: self.other_admin_knows() > newest, LATER_S)
        self.remember(self.here, self.admin)
        self.here.stop()
        shutil.rmtree(directory / "data")
        command = [self.here.binary, "restore", "--data", str(copy), "--keys", str(directory / "backup-keys")]
        done = subprocess.run([*command, "--config", str(self.here.config)], capture_output=True, text=True, timeout=REQUEST_S)
        equal(done.returncode, 0, done.stdout + done.stderr)
        self.here.start()
        wait_for("the partner notices", lambda: self.other_admin.call("GET", f"{ADMIN}/audit/witness")["watched"][0]["fault"], LATER_S)
        shutil.rmtree(directory / "backups")
        (directory / "backups").write_text("no directory")
        self.admin.refused(500, "POST", f"{ADMIN}/backup", {})

    def newest(self):
        return self.own("GET", "/audit/records?dir=b&limit=1")["records"][0]["number"]

    def other_admin_knows(self):
        return self.other_admin.call("GET", f"{ADMIN}/audit/witness")["watched"][0]["records"] or 0

    def remember(self, server, admin):
        """Keeps what a server exports: resources by their ids, and the acts of these."""
        path, acts = f"{ADMIN}/audit/export?format=ndjson", {}
        status, _, lines = server.answer("GET", path, token=admin.token)
        equal(status, 200, "an export")
        for line in lines.splitlines():
            record = json.loads(line)
            record = record.get("record", record)
            acts[record["id"]] = record["act"]
        for resource in bundles(server, admin):
            if resource["id"] in acts:
                self.found[server.name][resource["id"]] = acts[resource["id"]], resource

    def all(self):
        """Does everything; gives pairs of an act and its resource, of both servers."""
        for deed in (self.signing_in, self.accounts, self.keys, self.rooms, self.files, self.roles_and_emergencies,
                     self.retention, self.partners, self.trail, self.backups):
            deed()
        for server, admin in ((self.here, self.admin), (self.there, self.other_admin)):
            server.stop()
            server.start()
            self.remember(server, admin)
        return [pair for found in self.found.values() for pair in found.values()]


def bundles(server, admin):
    """Every AuditEvent, page by page (ITI-81)."""
    path = "/_wardroom/fhir/AuditEvent?_count=1000&_sort=date"
    while path:
        bundle = server.request("GET", path, token=admin.token)
        yield from (entry["resource"] for entry in bundle.get("entry", []))
        following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        path = following and following[following.index("/_wardroom/"):]
