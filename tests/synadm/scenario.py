"""The commands of synadm against a Wardroom of its own.

    scenario.py BINARY SYNADM [NAME-PART...]     with parts of names, only the steps that have one

Prints a line for each step: "ok" or "FAILED", with what was expected and what came instead. The exit status is 1 when any
failed.
"""

import json
import pathlib
import secrets
import subprocess
import sys
import tempfile

from harness import REQUEST_S, Failure, Wardroom, equal, expect, quote, run_scenario, wait_for


class Server(Wardroom):
    """The server."""

    def __init__(self, binary, directory):
        more = 'server_notices.localpart = "notices"\nadmin.impersonation = true'
        super().__init__(binary, directory, ["client", "media", "admin", "federation"], more)

    def register(self, name, admin=False):
        return User(self, super().register(name, admin))


class User:
    """A user of the client-server API."""

    def __init__(self, server, answer):
        self.server, self.id, self.token = server, answer["user_id"], answer["access_token"]
        self.device = answer["device_id"]

    def request(self, method, path, body=None):
        return self.server.request(method, "/_matrix/client/v3" + path, body, self.token)

    def create_room(self, **options):
        return self.request("POST", "/createRoom", {"preset": "public_chat", **options})["room_id"]

    def join(self, room):
        self.request("POST", f"/join/{quote(room)}", {})

    def say(self, room, text):
        body = {"msgtype": "m.text", "body": text}
        path = f"/rooms/{quote(room)}/send/m.room.message/{secrets.token_hex(8)}"
        return self.request("PUT", path, body)["event_id"]

    def bodies(self, room):
        chunk = self.request("GET", f"/rooms/{quote(room)}/messages?dir=b&limit=500")["chunk"]
        return [event["content"]["body"] for event in chunk if "body" in event["content"]]

    def upload(self, content):
        answer = self.server.request("POST", "/_matrix/media/v3/upload", token=self.token, raw=content)
        return answer["content_uri"]

    def is_in(self, room):
        return room in self.request("GET", "/joined_rooms")["joined_rooms"]


class Synadm:
    """synadm, signed in as an administrator."""

    def __init__(self, program, server, admin, directory):
        self.program = program
        self.config = pathlib.Path(directory) / "synadm.yaml"
        settings = {
            "user": admin.id, "token": admin.token, "protocol": "http", "base_url": server.base,
            "admin_path": "/_synapse/admin", "matrix_path": "/_matrix", "timeout": 30,
            "server_discovery": "well-known", "homeserver": server.name, "ssl_verify": True, "format": "json",
        }
        self.config.write_text(json.dumps(settings))

    def text(self, *arguments):
        command = [self.program, "--batch", "--config-file", str(self.config), "--output", "json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=REQUEST_S, check=False)
        expect("Traceback" not in done.stderr, f"{' '.join(arguments)}: {done.stderr[-1500:]}")
        return done.returncode, done.stdout, done.stderr

    def __call__(self, *arguments):
        """The last JSON that a command prints."""
        code, out, errors = self.text(*arguments)
        expect(code == 0, f"{' '.join(arguments)}: exit status {code}: {out[-500:]} {errors[-500:]}")
        found = None
        lines = out.splitlines(keepends=True)
        at = 0
        while at < len(lines):
            try:
                document, length = json.JSONDecoder().raw_decode("".join(lines[at:]))
            except ValueError:
                at += 1
                continue
            found = document if isinstance(document, (dict, list)) else found
            at += "".join(lines[at:])[:length].count("\n") + 1
        expect(found is not None, f"{' '.join(arguments)}: no JSON: {out[-500:]} {errors[-500:]}")
        expect("errcode" not in found, f"{' '.join(arguments)}: {found}")
        return found


class Steps:
    def __init__(self, server, synadm, admin):
        self.server, self.synadm, self.admin = server, synadm, admin

    def user(self, prefix):
        return self.server.register(f"{prefix}-{secrets.token_hex(4)}")

    def version(self):
        expect("Wardroom" in self.synadm("version")["server_version"], "the version names the server")

    def user_modify_details_list(self):
        name = f"@made-{secrets.token_hex(4)}:{self.server.name}"
        self.synadm("user", "modify", "-P", "secret-1", "-n", "Maria", "-t", "email", "m@example.com", name)
        found = self.synadm("user", "details", name)
        equal(found["displayname"], "Maria", "display name")
        equal(found["threepids"][0]["address"], "m@example.com", "address")
        equal(self.synadm("user", "3pid", "-m", "email", "m@example.com")["user_id"], name, "found by address")
        self.synadm("user", "modify", "--clear-threepids", "--admin", name)
        found = self.synadm("user", "details", name)
        equal((found["threepids"], found["admin"]), ([], True), "addresses and admin")
        self.synadm("user", "modify", "--lock", "--no-admin", name)
        equal(self.synadm("user", "details", name)["locked"], True, "locked")
        listed = self.synadm("user", "list", "--name", name[1:].split(":")[0], "--locked")
        equal([user["name"] for user in listed["users"]], [name], "list of locked users")
        equal(listed["total"], 1, "total")
        self.synadm("user", "modify", "--unlock", name)
        for order in ["name", "is_guest", "admin", "user_type", "deactivated", "shadow_banned", "displayname",
                      "avatar_url", "creation_ts", "last_seen_ts"]:
            expect(self.synadm("user", "list", "--sort-by", order, "--limit", "2")["users"], f"sorted by {order}")
        self.synadm("user", "modify", "--deactivate", name)
        equal(self.synadm("user", "details", name)["deactivated"], True, "deactivated")
        self.synadm("user", "modify", "--activate", "-P", "secret-2", name)
        equal(self.synadm("user", "details", name)["deactivated"], False, "deactivated")

    def user_search_whois_membership(self):
        user = self.user("searched")
        room = user.create_room(name="Searched")
        code, out, errors = self.synadm.text("user", "search", user.id[1:].split(":")[0])
        expect(code == 0 and user.id in out, f"search: {out} {errors}")
        expect(user.device in self.synadm("user", "whois", user.id)["devices"], "whois names the device")
        found = self.synadm("user", "membership", "--ids", user.id)
        expect(room in json.dumps(found), f"membership: {found}")

    def user_password_suspend_deactivate(self):
        user = self.user("closed")
        self.synadm("user", "password", "-p", "another one", user.id)
        body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user.id},
                "password": "another one"}
        self.server.request("POST", "/_matrix/client/v3/login", body)
        equal(self.synadm("user", "suspend", user.id), {f"user_{user.id}_suspended": True}, "suspend")
        equal(self.synadm("user", "suspend", "--unsuspend", user.id), {f"user_{user.id}_suspended": False}, "unsuspend")
        code, out, errors = self.synadm.text("user", "deactivate", "--gdpr-erase", user.id)
        expect(code == 0 and "errcode" not in out, f"deactivate: {out} {errors}")
        found = self.synadm("user", "details", user.id)
        equal((found["deactivated"], found["erased"]), (True, True), "deactivated and erased")

    def user_prune_devices(self):
        user = self.user("pruned")
        # A device that was never seen is one that synadm cannot look at.
        user.create_room()
        code, out, errors = self.synadm.text("user", "prune-devices", "-i", user.device, "-d", "0", "-s", "0", user.id)
        expect(code == 0 and "errcode" not in out, f"prune-devices: {out} {errors}")

    def user_login(self):
        user = self.user("other")
        token = self.synadm("user", "login", "--expire-never", user.id)["access_token"]
        equal(self.server.request("GET", "/_matrix/client/v3/account/whoami", token=token)["user_id"], user.id, "who")

    def user_auth_provider(self):
        user = self.user("external")
        body = {"external_ids": [{"auth_provider": "oidc", "external_id": user.id}]}
        self.server.request("PUT", f"/_synapse/admin/v2/users/{quote(user.id)}", body, self.admin.token)
        found = self.synadm("user", "auth-provider", "-p", "oidc", user.id)
        equal(found["user_id"], user.id, "found by identity")

    def user_redact(self):
        user = self.user("rude")
        room = user.create_room()
        user.say(room, "rude")
        id = self.synadm("user", "redact", "-r", room, "--reason", "spam", user.id)["redact_id"]
        wait_for("the redaction ends", lambda: self.synadm("user", "redact-status", id)["status"] == "complete")
        equal(user.bodies(room), [], "messages")

    def room_list_details_members_state(self):
        user, name = self.user("host"), f"Ward {secrets.token_hex(4)}"
        room = user.create_room(name=name, room_alias_name=f"ward-{secrets.token_hex(4)}")
        for order in ["name", "canonical_alias", "joined_members", "joined_local_members", "version", "creator",
                      "encryption", "federatable", "public", "join_rules", "guest_access", "history_visibility",
                      "state_events"]:
            expect(self.synadm("room", "list", "--sort", order)["rooms"], f"sorted by {order}")
        equal(self.synadm("room", "list", "--name", name)["rooms"][0]["room_id"], room, "found by name")
        code, out, errors = self.synadm.text("room", "search", name)
        expect(code == 0 and room in out, f"search: {out} {errors}")
        equal(self.synadm("room", "details", room)["name"], name, "name")
        equal(self.synadm("room", "members", room)["members"], [user.id], "members")
        expect(name in json.dumps(self.synadm("room", "state", room)), "the state has the name")
        code, out, errors = self.synadm.text("room", "power-levels", "-i", room)
        expect(code == 0 and "Traceback" not in errors, f"power-levels: {out} {errors}")
        alias = self.synadm("room", "details", room)["canonical_alias"]
        code, out, errors = self.synadm.text("room", "resolve", alias)
        expect(code == 0 and room in out, f"resolve: {out} {errors}")

    def room_join_make_admin(self):
        host, guest = self.user("host"), self.user("guest")
        room = host.create_room()
        equal(self.synadm("room", "join", room, guest.id), {"room_id": room}, "join")
        expect(guest.is_in(room), "the guest is in the room")
        self.synadm("room", "make-admin", "-u", guest.id, room)
        levels = host.request("GET", f"/rooms/{quote(room)}/state/m.room.power_levels/")
        equal(levels["users"].get(guest.id), 100, "power")

    def room_block(self):
        host, guest = self.user("host"), self.user("guest")
        room = host.create_room()
        equal(self.synadm("room", "block", "--block", room)["block"], True, "block")
        equal(self.synadm("room", "block-status", room)["user_id"], self.admin.id, "who blocked it")
        try:
            guest.join(room)
        except Failure:
            pass
        else:
            raise Failure("a blocked room is joined")
        equal(self.synadm("room", "block", "--unblock", room)["block"], False, "unblock")
        guest.join(room)

    def room_delete(self):
        host = self.user("host")
        room = host.create_room()
        id = self.synadm("room", "delete", room)["delete_id"]
        done = wait_for("the room is deleted", lambda: self.deleted(id))
        equal(done["shutdown_room"]["kicked_users"], [host.id], "kicked users")
        equal(self.synadm("room", "delete-status", "-r", room)["results"][0]["delete_id"], id, "status by room")
        other = host.create_room()
        found = self.synadm("room", "delete", "--v1", "-u", self.admin.id, "-n", "Closed", "-m", "Moved", other)
        expect(host.is_in(found["new_room_id"]), "the user was moved")

    def deleted(self, id):
        found = self.synadm("room", "delete-status", "-d", id)
        expect(found["status"] != "failed", f"{found}")
        return found if found["status"] == "complete" else None

    def room_purge_empty(self):
        host = self.user("host")
        room = host.create_room()
        host.request("POST", f"/rooms/{quote(room)}/leave", {})
        code, out, errors = self.synadm.text("room", "purge-empty")
        expect(code == 0, f"purge-empty: {out} {errors}")
        rooms = lambda: self.synadm("room", "list", "--limit", "1000")["rooms"]
        wait_for("the empty room is gone", lambda: room not in [known["room_id"] for known in rooms()])

    def history_purge(self):
        host = self.user("host")
        room = host.create_room()
        said = [host.say(room, f"number {number}") for number in range(5)]
        id = self.synadm("history", "purge", "-i", said[3], "--delete-local", room)["purge_id"]
        wait_for("the purge ends", lambda: self.synadm("history", "purge-status", id)["status"] == "complete")
        equal(host.bodies(room), ["number 4", "number 3"], "what is left")

    def media(self):
        user = self.user("uploader")
        first, second = user.upload(b"first"), user.upload(b"second")
        id = first.rsplit("/", 1)[1]
        listed = self.synadm("user", "media", user.id)
        equal(listed["total"], 2, "media of a user")
        equal(self.synadm("media", "list", "-u", user.id)["total"], 2, "media of a user")
        room = user.create_room()
        path = f"/rooms/{quote(room)}/send/m.room.message/{secrets.token_hex(8)}"
        user.request("PUT", path, {"msgtype": "m.image", "body": "x", "url": first})
        equal(self.synadm("media", "list", "-r", room)["local"], [first], "media of a room")
        self.synadm("media", "protect", id)
        equal(self.synadm("media", "quarantine", "-u", user.id), {"num_quarantined": 1}, "one is protected")
        self.synadm("media", "quarantine", "-i", second.rsplit("/", 1)[1], "-s", self.server.name)
        self.synadm("media", "unquarantine", "-U", second)
        equal(self.synadm("media", "quarantine", "-r", room), {"num_quarantined": 0}, "the room's is protected")
        equal(self.synadm("media", "delete", "-i", id)["total"], 1, "deleted")
        expect("total" in self.synadm("media", "delete", "-d", "1"), "deleted by age")
        expect("deleted" in self.synadm("media", "purge", "-d", "1"), "purged by age")

    def registration_tokens(self):
        token = self.synadm("regtok", "new", "-n", "Token-1", "-u", "3")
        equal((token["token"], token["uses_allowed"]), ("Token-1", 3), "new")
        equal(len(self.synadm("regtok", "new", "-l", "20")["token"]), 20, "length")
        equal(self.synadm("regtok", "details", "Token-1")["completed"], 0, "details")
        equal(self.synadm("regtok", "update", "-u", "5", "Token-1")["uses_allowed"], 5, "update")
        listed = self.synadm("regtok", "list", "--valid")
        found = listed.get("registration_tokens", listed) if isinstance(listed, dict) else listed
        expect("Token-1" in [token["token"] for token in found], f"list: {listed}")
        self.synadm.text("regtok", "delete", "Token-1")
        code, out, _ = self.synadm.text("regtok", "details", "Token-1")
        expect("M_NOT_FOUND" in out or code != 0, f"deleted: {out}")

    def notice_send(self):
        user = self.user("noticed")
        code, out, errors = self.synadm.text("notice", "send", "-s", user.id, "Maintenance", "<b>Maintenance</b>")
        expect(code == 0 and "errcode" not in out, f"notice: {out} {errors}")
        sync = user.request("GET", "/sync")
        expect(sync.get("rooms", {}).get("invite"), "the user is invited to the room with the server")

    def raw(self):
        equal(self.synadm("raw", "v1/rooms?limit=1")["offset"], 0, "raw")

    def all(self):
        names = [name for name in vars(Steps) if not name.startswith("_") and name not in ("user", "deleted", "all")]
        return [(name.replace("_", " "), getattr(self, name)) for name in names]


def main(binary, program, *parts):
    directory = tempfile.mkdtemp(prefix="wardroom-synadm-")
    server = Server(binary, directory)

    def steps():
        server.start()
        admin = server.register("admin", admin=True)
        return Steps(server, Synadm(program, server, admin, directory), admin).all()

    return run_scenario(directory, [server], steps, parts)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
