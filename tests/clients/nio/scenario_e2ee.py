"""End-to-end encryption with unmodified matrix-nio clients, against a real server.

    scenario_e2ee.py BASE_URL

Prints a line for each step; ends at the first that fails, with a sentence that says what was expected and what came
instead, and exit status 1.
"""

import sys
import uuid
from urllib.parse import quote

from nio import (
    EnableEncryptionBuilder,
    JoinResponse,
    KeyVerificationKey,
    KeyVerificationMac,
    KeyVerificationStart,
    LogoutResponse,
    RoomCreateResponse,
    RoomPreset,
    ToDeviceResponse,
)

from encrypted import EncryptedPerson
from support import expect, expect_answer, main

# More than one session's first upload of one-time keys: the sender has to be answered with what is left.
LATE_DEVICES = 3


class Scenario:
    def __init__(self, base_url):
        run = uuid.uuid4().hex[:8]
        self.base_url = base_url
        self.alice = EncryptedPerson(base_url, f"nio-e2ee-alice-{run}")
        self.bob = EncryptedPerson(base_url, f"nio-e2ee-bob-{run}")
        self.late = []
        self.room = None

    def steps(self):
        return [
            ("register and upload keys", self.register),
            ("create an encrypted room", self.create_a_room),
            ("encrypted messages both ways", self.message_both_ways),
            ("verify by emoji over to-device messages", self.verify),
            ("a message to verified devices only", self.message_verified),
            ("new devices get the next session", self.late_devices),
            ("a device that is logged out gets no more keys", self.log_out_late),
            ("log out", self.log_out),
        ]

    async def register(self):
        for person in (self.alice, self.bob):
            await person.register()
            expect(not person.client.should_upload_keys, f"{person.name} still wants to upload keys")
            left = person.client.olm.uploaded_key_count
            expect(left == 50, f"the server says that {left} one-time keys are there, not 50")

    async def create_a_room(self):
        alice, bob = self.alice, self.bob
        answer = await alice.client.room_create(
            name="Ward 7",
            preset=RoomPreset.private_chat,
            invite=[bob.client.user_id],
            initial_state=[EnableEncryptionBuilder().as_dict()],
        )
        self.room = expect_answer(answer, RoomCreateResponse, "POST /createRoom").room_id
        await bob.until("the invite", lambda: self.room in bob.client.invited_rooms)
        expect_answer(await bob.client.join(self.room), JoinResponse, "POST /join")
        for person in (alice, bob):
            rooms = person.client.rooms
            await person.until("both members", lambda: self.room in rooms and len(rooms[self.room].users) == 2)
            expect(rooms[self.room].encrypted, f"{person.name} does not see the room's encryption")
        for person, other in ((alice, bob), (bob, alice)):
            await person.until("the other's device", lambda: person.device(other) is not None)

    async def message_both_ways(self):
        alice, bob = self.alice, self.bob
        sent = await alice.say(self.room, "hello bob")
        event = await bob.hears(self.room, "hello bob")
        expect(event.decrypted, "the message came in the clear")
        expect(event.event_id == sent, f"sync calls it {event.event_id}, send {sent}")
        await bob.say(self.room, "hello alice")
        await alice.hears(self.room, "hello alice")
        raw = await bob.get(f"/rooms/{quote(self.room)}/event/{quote(sent)}")
        expect(raw["type"] == "m.room.encrypted", f"the server has a {raw['type']}")
        expect("hello bob" not in str(raw), "the server knows the text")

    async def verify(self):
        alice, bob = self.alice, self.bob
        heard = {person: [] for person in (alice, bob)}
        for person in (alice, bob):

            async def note(event, person=person):
                heard[person].append(event)

            person.client.add_to_device_callback(note, (KeyVerificationStart, KeyVerificationKey, KeyVerificationMac))

        def has(person, kind):
            return any(isinstance(event, kind) for event in heard[person])

        answer = await alice.client.start_key_verification(alice.device(bob))
        expect_answer(answer, ToDeviceResponse, "m.key.verification.start")
        await bob.until("the start", lambda: has(bob, KeyVerificationStart))
        transaction = next(event.transaction_id for event in heard[bob])
        answer = await bob.client.accept_key_verification(transaction)
        expect_answer(answer, ToDeviceResponse, "m.key.verification.accept")
        await alice.sync()
        await bob.until("alice's key", lambda: has(bob, KeyVerificationKey))
        await alice.until("bob's key", lambda: has(alice, KeyVerificationKey))
        seen = [person.client.key_verifications[transaction].get_emoji() for person in (alice, bob)]
        expect(seen[0] == seen[1], f"one sees {seen[0]}, the other {seen[1]}")
        for person in (alice, bob):
            answer = await person.client.confirm_short_auth_string(transaction)
            expect_answer(answer, ToDeviceResponse, "m.key.verification.mac")
        for person, other in ((alice, bob), (bob, alice)):
            await person.until("the verified device", lambda: person.device(other).verified)

    async def message_verified(self):
        alice, bob = self.alice, self.bob
        # nio refuses to send to unverified devices unless it is told otherwise.
        content = {"msgtype": "m.text", "body": "only for you"}
        await alice.client.room_send(self.room, "m.room.message", content)
        event = await bob.hears(self.room, "only for you")
        expect(event.verified, "the message of a verified device is not shown as one")

    async def late_devices(self):
        alice, bob = self.alice, self.bob
        for _ in range(LATE_DEVICES):
            late = EncryptedPerson(self.base_url, bob.name)
            self.late.append(late)
            await late.log_in()
            expect(late.client.user_id == bob.client.user_id, f"logged in as {late.client.user_id}")
        for late in self.late:
            await alice.until("the new device", lambda: alice.device(late) is not None)
        await alice.say(self.room, "to all devices")
        for person in [bob, *self.late]:
            await person.hears(self.room, "to all devices")
            expect("only for you" not in person.said(self.room) or person is bob, "a new device read what was before it")

    async def log_out_late(self):
        alice, bob = self.alice, self.bob
        gone = self.late.pop()
        device = gone.client.device_id
        expect_answer(await gone.client.logout(), LogoutResponse, "POST /logout")
        await gone.close()
        known = lambda: [d.id for d in alice.client.device_store.active_user_devices(bob.client.user_id)]
        await alice.until("the end of the device", lambda: device not in known())
        await alice.say(self.room, "to who is left")
        for person in [bob, *self.late]:
            await person.hears(self.room, "to who is left")

    async def log_out(self):
        for person in (self.alice, self.bob):
            expect_answer(await person.client.logout(all_devices=True), LogoutResponse, "POST /logout/all")

    async def close(self):
        for person in (self.alice, self.bob, *self.late):
            await person.close()


if __name__ == "__main__":
    sys.exit(main("nio-e2ee", "End-to-end encryption with matrix-nio against a real server.", Scenario))
