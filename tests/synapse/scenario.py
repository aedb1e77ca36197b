"""An unmodified Synapse and a Wardroom share rooms, in both directions and several room versions.

    scenario.py BINARY [NAME-PART...]     with parts of names, only the steps that have one

Prints a line for each step: "ok" or "FAILED", with what was expected and what came instead. The exit status is 1 when any
failed.
"""

import pathlib
import secrets
import sys
import tempfile

import encrypted
from authority import Authority
from gated import Gated
from harness import Failure, expect, quote, run_scenario, wait_for
from kept import Kept
from servers import Synapse, Wardroom

VERSIONS = ["10", "11", "12"]
UPGRADES = {"10": "11", "11": "12", "12": "12"}
MESSAGES_BEFORE = 60
MESSAGES_AWAY = 30


def agree(room, *users):
    """All see the same state."""

    def states_equal():
        states = [user.state_ids(room) for user in users]
        return all(state == states[0] for state in states)

    try:
        wait_for("the state is the same everywhere", states_equal)
    except Failure as failure:
        first, *others = [user.state_ids(room) for user in users]
        differences = [
            {str(key): (first.get(key), other.get(key)) for key in first.keys() | other.keys()
             if first.get(key) != other.get(key)}
            for other in others
        ]
        raise Failure(f"{failure}; it differs in {differences}") from failure


class Rooms:
    """What happens in rooms of one version that `host` has and that `guest` comes to."""

    def __init__(self, version, host, guest):
        self.version = version
        self.host, self.guest = host, guest

    def steps(self):
        where = f"version {self.version}, {self.guest.kind} comes to {self.host.kind}"
        names = [
            "invite_and_join", "decline_an_invite", "join_and_talk", "edit_react_redact", "read_history",
            "knock", "restricted", "power_and_bans", "concurrent_state", "upgrade",
        ]
        return [(f"{where}: {name.replace('_', ' ')}", getattr(self, name)) for name in names]

    def shared_room(self, **options):
        """A public room of the host's alice, in which the guest's bob is."""
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room(self.version, preset="public_chat", **options)
        bob.join(room, self.host)
        return alice, bob, room

    def invite_and_join(self):
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room(self.version, preset="private_chat", name="Ward 7")
        alice.member("invite", room, bob)
        invite = bob.hear("the invite", lambda sync: sync.get("rooms", {}).get("invite", {}).get(room))
        names = [event["content"].get("name") for event in invite["invite_state"]["events"]]
        expect("Ward 7" in names, f"the invite says the room's name: {invite}")
        bob.join(room, self.host)
        event = bob.say(room, "here I am")
        alice.sees(room, event)
        agree(room, alice, bob)

    def decline_an_invite(self):
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room(self.version, preset="private_chat")
        alice.member("invite", room, bob)
        bob.hear("the invite", lambda sync: sync.get("rooms", {}).get("invite", {}).get(room))
        bob.leave(room)
        wait_for("the refusal arrives", lambda: alice.membership(room, bob) == "leave")

    def join_and_talk(self):
        name = "ward-" + secrets.token_hex(4)
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room(self.version, preset="public_chat", room_alias_name=name)
        expect(bob.join(f"#{name}:{self.host.name}", self.host) == room, "the alias leads to the room")
        alice.sync(), bob.sync()
        for speaker, hearer in [(alice, bob), (bob, alice)] * 3:
            event = speaker.say(room, f"said by {speaker.id}")
            hearer.hear(
                "the message",
                lambda sync: any(
                    heard["event_id"] == event
                    for heard in sync.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", [])
                ),
            )
        agree(room, alice, bob)
        bob.leave(room)
        wait_for("the leave arrives", lambda: alice.membership(room, bob) == "leave")
        bob.join(room, self.host)
        agree(room, alice, bob)

    def edit_react_redact(self):
        alice, bob, room = self.shared_room()
        for speaker, hearer in [(alice, bob), (bob, alice)]:
            said = speaker.say(room, "5 mg")
            hearer.sees(room, said)
            edit = speaker.send(room, {
                "msgtype": "m.text", "body": "* 50 mg", "m.new_content": {"msgtype": "m.text", "body": "50 mg"},
                "m.relates_to": {"rel_type": "m.replace", "event_id": said},
            })
            hearer.sees(room, edit)
            relations = hearer.event(room, said)["unsigned"].get("m.relations", {})
            expect(relations.get("m.replace", {}).get("event_id") == edit, f"the edit is bundled: {relations}")
            key = {"rel_type": "m.annotation", "event_id": said, "key": "👍"}
            reaction = hearer.send(room, {"m.relates_to": key}, "m.reaction")
            speaker.sees(room, reaction)
            path = f"v1/rooms/{quote(room)}/relations/{quote(said)}/m.annotation"
            found = [event["event_id"] for event in speaker.call("GET", path)["chunk"]]
            expect(found == [reaction], f"the reaction is found: {found}")
            speaker.call("PUT", f"v3/rooms/{quote(room)}/redact/{quote(said)}/{secrets.token_hex(4)}", {"reason": "x"})
            wait_for("the redaction is applied", lambda: not hearer.event(room, said)["content"])

    def read_history(self):
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room(self.version, preset="public_chat")
        said = [alice.say(room, str(number)) for number in range(MESSAGES_BEFORE)]
        bob.join(room, self.host)
        history = [event["event_id"] for event in bob.history(room) if event["type"] == "m.room.message"]
        expect(history == said, f"of {len(said)} messages before the join {len(history)} are seen, or in another order")

    def knock(self):
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        rule = {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}}
        room = alice.create_room(self.version, preset="private_chat", initial_state=[rule])
        via = quote(self.host.name)
        bob.call("POST", f"v3/knock/{quote(room)}?server_name={via}&via={via}", {"reason": "on call"})
        wait_for("the knock arrives", lambda: alice.membership(room, bob) == "knock")
        alice.member("invite", room, bob)
        bob.hear("the invite", lambda sync: sync.get("rooms", {}).get("invite", {}).get(room))
        bob.join(room, self.host)
        agree(room, alice, bob)

    def restricted(self):
        alice, bob, staff = self.shared_room()
        allow = [{"type": "m.room_membership", "room_id": staff}]
        rule = {
            "type": "m.room.join_rules", "state_key": "",
            "content": {"join_rule": "restricted", "allow": allow},
        }
        room = alice.create_room(self.version, preset="private_chat", initial_state=[rule])
        bob.join(room, self.host)
        join = bob.state(room, "m.room.member", bob.id)
        expect(join.get("join_authorised_via_users_server") == alice.id, f"alice's server let bob in: {join}")
        carol = self.guest.user("carol")
        via = quote(self.host.name)
        path = f"/_matrix/client/v3/join/{quote(room)}?server_name={via}&via={via}"
        status, answer = carol.request("POST", path, {})
        expect(status == 403, f"who is not in the other room is refused: {status} {answer}")
        agree(room, alice, bob)

    def power_and_bans(self):
        alice, bob, room = self.shared_room()
        carol = self.guest.user("carol")
        carol.join(room, self.host)
        levels = alice.state(room, "m.room.power_levels")
        levels["users"][bob.id] = 60
        alice.set_state(room, "m.room.power_levels", levels)
        wait_for("bob has power", lambda: (bob.state(room, "m.room.power_levels") or {})["users"].get(bob.id) == 60)
        topic = bob.set_state(room, "m.room.topic", {"topic": "by the guest"})
        alice.sees(room, topic)
        bob.member("ban", room, carol)
        wait_for("the ban arrives", lambda: alice.membership(room, carol) == "ban")
        status, answer = carol.request(
            "POST", f"/_matrix/client/v3/join/{quote(room)}?server_name={quote(self.host.name)}&via={quote(self.host.name)}", {}
        )
        expect(status == 403, f"a banned user cannot join: {status} {answer}")
        bob.member("unban", room, carol)
        wait_for("the end of the ban arrives", lambda: alice.membership(room, carol) == "leave")
        alice.member("kick", room, bob)
        bob.hear("the kick", lambda sync: sync.get("rooms", {}).get("leave", {}).get(room))

    def concurrent_state(self):
        alice, bob, room = self.shared_room()
        levels = alice.state(room, "m.room.power_levels")
        levels["users"][bob.id] = 100 if self.version != "12" else 90
        alice.set_state(room, "m.room.power_levels", levels)
        wait_for("bob has power", lambda: (bob.state(room, "m.room.power_levels") or {})["users"].get(bob.id))
        for number in range(5):
            alice.set_state(room, "m.room.topic", {"topic": f"host {number}"})
            bob.set_state(room, "m.room.topic", {"topic": f"guest {number}"})
            bob.set_state(room, "m.room.name", {"name": f"guest {number}"})
            alice.set_state(room, "m.room.name", {"name": f"host {number}"})
        bob.sees(room, alice.say(room, "done"))
        alice.sees(room, bob.say(room, "done"))
        agree(room, alice, bob)

    def upgrade(self):
        alice, bob, room = self.shared_room()
        body = {"new_version": UPGRADES[self.version]}
        new = alice.call("POST", f"v3/rooms/{quote(room)}/upgrade", body)["replacement_room"]
        wait_for("the tombstone arrives",
                 lambda: (bob.state(room, "m.room.tombstone") or {}).get("replacement_room") == new)
        bob.join(new, self.host)
        predecessor = bob.state(new, "m.room.create").get("predecessor", {})
        expect(predecessor.get("room_id") == room, f"the new room knows the old one: {predecessor}")
        alice.sees(new, bob.say(new, "moved"))
        agree(room, alice, bob)
        agree(new, alice, bob)


class Between:
    """What does not depend on room versions."""

    def __init__(self, host, guest):
        self.host, self.guest = host, guest

    def steps(self):
        where = f"{self.guest.kind} with {self.host.kind}"
        names = ["media", "profiles", "directory", "typing_receipts_presence", "device_lists_and_keys", "olm_and_megolm",
                 "spaces", "away"]
        return [(f"{where}: {name.replace('_', ' ')}", getattr(self, name)) for name in names]

    def shared_room(self, version="10"):
        return Rooms(version, self.host, self.guest).shared_room()

    def media(self):
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        content = b"\x89PNG" + secrets.token_bytes(300_000)
        status, answer = alice.request(
            "POST", "/_matrix/media/v3/upload?filename=x-ray.bin", raw=content, content_type="application/octet-stream"
        )
        expect(status == 200, f"upload at {self.host.kind}: {status} {answer}")
        media = answer["content_uri"].removeprefix("mxc://")
        for _ in range(2):
            status, answer = bob.request("GET", f"/_matrix/client/v1/media/download/{media}")
            expect(status == 200 and answer == content, f"download of {media} at {self.guest.kind}: {status} {answer[:200]}")
        status, answer = bob.request("GET", f"/_matrix/client/v1/media/download/{self.host.name}/nothinglikethat")
        expect(status == 404, f"download of nothing: {status} {answer}")

    def profiles(self):
        alice, bob, room = self.shared_room()
        alice.call("PUT", f"v3/profile/{quote(alice.id)}/displayname", {"displayname": "Dr Alice"})
        profile = bob.call("GET", f"v3/profile/{quote(alice.id)}")
        expect(profile.get("displayname") == "Dr Alice", f"the profile is asked for: {profile}")
        wait_for("the new name arrives in the room",
                 lambda: (bob.state(room, "m.room.member", alice.id) or {}).get("displayname") == "Dr Alice")
        status, answer = bob.request("GET", f"/_matrix/client/v3/profile/{quote('@nobody:' + self.host.name)}")
        expect(status == 404, f"the profile of nobody: {status} {answer}")

    def directory(self):
        name = "open-" + secrets.token_hex(4)
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room("10", preset="public_chat", visibility="public", name=name, room_alias_name=name)
        found = bob.call("GET", f"v3/directory/room/{quote(f'#{name}:{self.host.name}')}")
        expect(found["room_id"] == room and self.host.name in found["servers"], f"the alias is found: {found}")
        body = {"limit": 100, "filter": {"generic_search_term": name}}
        listed = bob.call("POST", f"v3/publicRooms?server={quote(self.host.name)}", body)["chunk"]
        expect([entry["room_id"] for entry in listed] == [room], f"the room is listed: {listed}")

    def typing_receipts_presence(self):
        alice, bob, room = self.shared_room()
        said = alice.say(room, "read this")
        bob.sees(room, said)
        bob.sync(), alice.sync()
        in_room = lambda sync, kind: [
            event["content"]
            for event in sync.get("rooms", {}).get("join", {}).get(room, {}).get("ephemeral", {}).get("events", [])
            if event["type"] == kind
        ]
        typing = f"v3/rooms/{quote(room)}/typing/{quote(bob.id)}"
        bob.call("PUT", typing, {"typing": True, "timeout": 20_000})
        alice.hear("typing", lambda sync: any(bob.id in content["user_ids"] for content in in_room(sync, "m.typing")))
        bob.call("PUT", typing, {"typing": False})
        alice.hear("no typing", lambda sync: any(bob.id not in content["user_ids"] for content in in_room(sync, "m.typing")))
        bob.call("POST", f"v3/rooms/{quote(room)}/receipt/m.read/{quote(said)}", {})
        alice.hear("the receipt", lambda sync: any(
            bob.id in content.get(said, {}).get("m.read", {}) for content in in_room(sync, "m.receipt")))
        bob.call("PUT", f"v3/presence/{quote(bob.id)}/status", {"presence": "unavailable", "status_msg": "in theatre"})
        alice.hear("presence", lambda sync: any(
            event["sender"] == bob.id and event["content"].get("status_msg") == "in theatre"
            for event in sync.get("presence", {}).get("events", [])))

    def device_lists_and_keys(self):
        encrypted.keys_and_messages(*self.shared_room())

    def olm_and_megolm(self):
        encrypted.sessions(*self.shared_room())

    def spaces(self):
        alice, bob = self.host.user("alice"), self.guest.user("bob")
        child = alice.create_room("10", preset="public_chat", name="Ward 7")
        space = alice.create_room("10", preset="public_chat", creation_content={"type": "m.space"})
        alice.set_state(space, "m.space.child", {"via": [self.host.name]}, child)
        bob.join(space, self.host)
        found = [room["room_id"] for room in bob.call("GET", f"v1/rooms/{quote(space)}/hierarchy")["rooms"]]
        expect(set(found) == {space, child}, f"the space has its room: {found}")

    def away(self):
        """The guest's server is stopped for a while, in rooms of all versions at once."""
        shared = [Rooms(version, self.host, self.guest).shared_room() for version in VERSIONS]
        for alice, bob, room in shared:
            agree(room, alice, bob)
        self.guest.stop()
        said = []
        for alice, _, room in shared:
            alice.set_state(room, "m.room.topic", {"topic": "while you were away"})
            said.append([alice.say(room, str(number)) for number in range(MESSAGES_AWAY)])
        self.guest.start()
        for (alice, bob, room), events in zip(shared, said):
            bob.sees(room, events[-1])
            history = [event["event_id"] for event in bob.history(room)]
            missing = [event for event in events if event not in history]
            expect(not missing, f"of {len(events)} messages {len(missing)} are missing")
            expect(len(history) == len(set(history)), "no event is told twice")
            alice.sees(room, bob.say(room, "back again"))
            agree(room, alice, bob)


def main(binary, parts):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="wardroom-synapse-"))
    authority = Authority(directory)
    wardroom = Wardroom(directory, authority, "127.0.0.1", binary)
    synapse = Synapse(directory, authority, "localhost")

    def start():
        for server in (wardroom, synapse):
            if server.process is None:
                server.start()

    def steps():
        start()
        steps = []
        for host, guest in [(wardroom, synapse), (synapse, wardroom)]:
            for version in VERSIONS:
                steps += Rooms(version, host, guest).steps()
            steps += Between(host, guest).steps()
        for version in VERSIONS:
            steps += Gated(version, wardroom, synapse).steps()
            steps += Kept(version, wardroom, synapse).steps()
        return steps

    return run_scenario(directory, [wardroom, synapse], steps, parts, after=start)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
