"""Rooms of which Wardroom purges messages and Synapse keeps them: what is gone stays gone, and nobody asks for it again."""

from gated import Admin
from harness import expect, quote, wait_for

MESSAGES = 40
DAY_MS = 24 * 60 * 60 * 1000


def said(user, room):
    """Ids of the messages that a user reads."""
    return [event["event_id"] for event in user.history(room) if event["type"] == "m.room.message"]


class Kept:
    """Rooms that people of `guest`, a Synapse that keeps everything, and of `host`, a Wardroom, are in."""

    def __init__(self, version, host, guest):
        self.version, self.host, self.guest = version, host, guest

    def steps(self):
        where = f"version {self.version}, retention"
        names = ["purge_what_the_partner_keeps", "join_a_room_with_a_past_that_is_over"]
        return [(f"{where}: {name.replace('_', ' ')}", getattr(self, name)) for name in names]

    def keep(self, admin, room, lifetime_ms):
        admin.ask("PUT", f"rooms/{quote(room)}/retention", {"max_lifetime": lifetime_ms})

    def purged(self, admin, room, act):
        """How many events of a room are purged, or dropped."""
        records = admin.ask("GET", f"audit/records?act={act}&room_id={quote(room)}&limit=1000")["records"]
        return sum(entry["record"]["on"].get("count", 0) for entry in records)

    def purge_what_the_partner_keeps(self):
        admin, alice, bob = Admin(self.host), self.host.user("alice"), self.guest.user("bob")
        room = alice.create_room(self.version, preset="public_chat")
        bob.join(room, self.host)
        old = []
        for number in range(MESSAGES):
            speaker, hearer = (alice, bob) if number % 2 else (bob, alice)
            old.append(speaker.say(room, f"old {number}"))
            hearer.sees(room, old[-1])
        self.keep(admin, room, 0)
        expect(not said(alice, room), "what is over is hidden at once")
        wait_for("the purge", lambda: self.purged(admin, room, "retention.redact") == MESSAGES)
        self.keep(admin, room, DAY_MS)
        new = [alice.say(room, "new of alice")]
        bob.sees(room, new[-1])
        new.append(bob.say(room, "new of bob"))
        alice.sees(room, new[-1])
        wait_for("the end of what was left", lambda: self.purged(admin, room, "retention.purge") >= MESSAGES)
        asked = self.guest.asked("backfill", "get_missing_events")
        for _ in range(3):
            expect(said(alice, room) == new, f"what was purged comes back: {said(alice, room)}")
            for event in (old[0], old[-1]):
                status, _ = alice.request("GET", f"/_matrix/client/v3/rooms/{quote(room)}/event/{quote(event)}")
                expect(status == 404, f"{event} is told again: {status}")
        expect(self.guest.asked("backfill", "get_missing_events") == asked, "the partner is asked for what was purged")
        expect(set(old + new) <= set(said(bob, room)), "the partner has its own copy")
        # Synapse asks for the past of what it sends: it gets on with what is told.
        carol = self.guest.user("carol")
        carol.join(room, self.guest)
        alice.sees(room, carol.say(room, "and on"))

    def join_a_room_with_a_past_that_is_over(self):
        admin, alice, bob = Admin(self.host), self.host.user("alice"), self.guest.user("bob")
        room = bob.create_room(self.version, preset="public_chat")
        old = [bob.say(room, f"old {number}") for number in range(MESSAGES)]
        alice.join(room, self.guest)
        self.keep(admin, room, 0)
        for _ in range(3):
            expect(not set(old) & set(said(alice, room)), "nothing of what is over is told")
        asked = self.guest.asked("backfill", "get_missing_events")
        for _ in range(3):
            said(alice, room)
        expect(self.guest.asked("backfill", "get_missing_events") == asked, "history is asked for again and again")
        self.keep(admin, room, DAY_MS)
        alice.sees(room, bob.say(room, "and on"))
        bob.sees(room, alice.say(room, "and on, too"))
