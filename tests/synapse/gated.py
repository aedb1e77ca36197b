"""People of a Synapse that knows nothing of roles, and rooms of Wardroom that require them."""

import json
import secrets

from harness import expect, quote, wait_for, with_shared_secret
from servers import User

ROLE = "physician@h1/cardiology"
POLICY = {"version": 1, "require": {"any_of": [{"all_of": [ROLE]}]}}


class Admin(User):
    """An administrator of a Wardroom, made with the shared secret."""

    def __init__(self, server):
        self.server, self.token, self.since = server, None, None
        path = "/_synapse/admin/v1/register"
        _, answer = self.request("GET", path)
        body = with_shared_secret(server.shared_secret, answer["nonce"], "admin-" + secrets.token_hex(4), admin=True)
        status, answer = self.request("POST", path, body)
        expect(status == 200, f"registration of an administrator: {status} {answer}")
        self.id, self.token, self.device = answer["user_id"], answer["access_token"], answer["device_id"]

    def ask(self, method, path, body=None):
        status, answer = self.request(method, "/_wardroom/admin/v1/" + path, body)
        expect(status == 200, f"{method} {path} of an administrator: {status} {answer}")
        return answer

    def give(self, user, *roles):
        roles = [{"role": role, "reason": "on duty"} for role in roles]
        self.ask("PUT", f"role_bindings/{quote(user.id)}", {"roles": roles})


class Gated:
    """Rooms of `host`, a Wardroom, that people of `guest`, a Synapse, want to enter."""

    def __init__(self, version, host, guest):
        self.version, self.host, self.guest = version, host, guest

    def steps(self):
        where = f"version {self.version}, roles"
        names = ["keep_out_and_let_in", "put_out_where_synapse_lets_in", "end"]
        return [(f"{where}: {name.replace('_', ' ')}", getattr(self, name)) for name in names]

    def room(self):
        """An administrator, somebody with the role, and a public room of theirs that requires it."""
        admin, alice = Admin(self.host), self.host.user("alice")
        admin.give(alice, ROLE)
        room = alice.create_room(self.version, preset="public_chat")
        admin.ask("PUT", f"rooms/{quote(room)}/policy", POLICY)
        return admin, alice, room

    def try_join(self, user, room, via):
        status, answer = user.request(
            "POST", f"/_matrix/client/v3/join/{quote(room)}?server_name={via.name}&via={via.name}", {}
        )
        return status, answer

    def keep_out_and_let_in(self):
        admin, alice, room = self.room()
        bob = self.guest.user("bob")
        status, answer = self.try_join(bob, room, self.host)
        expect(status == 403, f"who has no role does not join: {status} {answer}")
        status, answer = bob.request("POST", f"/_matrix/client/v3/knock/{quote(room)}?server_name={self.host.name}", {})
        expect(status != 200, f"nor knock: {status} {answer}")
        status, answer = alice.request(
            "POST", f"/_matrix/client/v3/rooms/{quote(room)}/invite", {"user_id": bob.id}
        )
        expect(status == 403, f"nor is invited: {status} {answer}")
        admin.give(bob, ROLE)
        expect(bob.join(room, self.host) == room, "who has the role joins")
        alice.sees(room, bob.say(room, "here"))
        bob.sees(room, alice.say(room, "welcome"))

    def put_out_where_synapse_lets_in(self):
        """A Synapse that is in a public room lets its own people in by itself: it asks the room's policy server about messages
        only. They are put out as soon as this is heard of, and say nothing in the meantime.
        """
        admin, alice, room = self.room()
        bob, carol = self.guest.user("bob"), self.guest.user("carol")
        admin.give(bob, ROLE)
        bob.join(room, self.host)
        status, answer = alice.request("GET", "/.well-known/matrix/policy_server")
        expect(status == 200, f"the key of the policy server: {status} {answer}")
        named = alice.set_state(room, "m.room.policy", {"via": self.host.name, "public_keys": answer["public_keys"]})
        bob.sees(room, named)
        alice.sees(room, bob.say(room, "signed"))
        self.try_join(carol, room, self.guest)
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/{secrets.token_hex(8)}"
        status, answer = carol.request("PUT", path, {"msgtype": "m.text", "body": "hello"})
        expect(status != 200, f"who has no role says nothing: {status} {json.dumps(answer)}")
        # With what follows it, the join is heard of.
        alice.sees(room, bob.say(room, "after the join"))
        wait_for("carol is out, as Wardroom sees it", lambda: alice.membership(room, carol) in (None, "leave"))
        wait_for("carol is out, as Synapse sees it", lambda: carol.id not in self.joined(carol, room))

    def end(self):
        admin, alice, room = self.room()
        bob = self.guest.user("bob")
        admin.give(bob, ROLE)
        bob.join(room, self.host)
        alice.sees(room, bob.say(room, "on duty"))
        admin.give(bob)
        wait_for("bob is out, as Synapse sees it", lambda: bob.id not in self.joined(bob, room))
        expect(alice.membership(room, bob) == "leave", "and as Wardroom does")
        status, answer = self.try_join(bob, room, self.host)
        expect(status == 403, f"and stays out: {status} {answer}")

    def joined(self, user, room):
        status, answer = user.request("GET", "/_matrix/client/v3/joined_rooms")
        expect(status == 200, f"the rooms of {user!r}: {status} {answer}")
        return [user.id] if room in answer["joined_rooms"] else []
