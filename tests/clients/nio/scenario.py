"""Everyday chat with an unmodified matrix-nio client, against a real server.

    scenario.py BASE_URL

Prints a line for each step; ends at the first that fails, with a sentence that says what was expected and what came
instead, and exit status 1.
"""

import asyncio
import sys
import uuid

from nio import (
    JoinedMembersResponse,
    JoinResponse,
    LoginError,
    LoginResponse,
    LogoutResponse,
    MessageDirection,
    RedactedEvent,
    RegisterResponse,
    RoomCreateResponse,
    RoomGetEventResponse,
    RoomInviteResponse,
    RoomLeaveResponse,
    RoomMessagesResponse,
    RoomMessageText,
    RoomPreset,
    RoomPutStateResponse,
    RoomRedactResponse,
    UpdateReceiptMarkerResponse,
    WhoamiError,
    WhoamiResponse,
)
from nio.responses import RegisterInteractiveResponse

from support import PASSWORD, POLL_MS, Person, expect, expect_answer, main

HISTORY_MESSAGES = 25
PAGE_EVENTS = 10
PAGES_MAX = 50


class Scenario:
    def __init__(self, base_url):
        run = uuid.uuid4().hex[:8]
        self.alice = Person(base_url, f"nio-alice-{run}")
        self.bob = Person(base_url, f"nio-bob-{run}")
        self.room = None
        self.first_message = None

    def steps(self):
        return [
            ("register in one request", self.register_in_one_request),
            ("register through a session", self.register_through_a_session),
            ("log out and log in", self.log_out_and_log_in),
            ("create a room", self.create_a_room),
            ("invite", self.invite),
            ("join", self.join),
            ("message both ways", self.message_both_ways),
            ("hear while waiting", self.hear_while_waiting),
            ("set a topic", self.set_a_topic),
            ("send a receipt", self.send_a_receipt),
            ("paginate history", self.paginate_history),
            ("redact", self.redact),
            ("leave", self.leave),
            ("log out", self.log_out),
        ]

    async def register_in_one_request(self):
        alice = self.alice
        answer = await alice.client.register(alice.name, PASSWORD, device_name="nio test")
        expect_answer(answer, RegisterResponse, "POST /register with the dummy stage and no session")
        expect(alice.client.user_id.startswith(f"@{alice.name}:"), f"registered as {alice.client.user_id}")

    async def register_through_a_session(self):
        bob = self.bob
        # An auth object without a type asks for the flows, as nio's own registration with a token does.
        asked = await bob.client.register_interactive(bob.name, PASSWORD, auth_dict={"initial_device_display_name": "x"})
        expect_answer(asked, RegisterInteractiveResponse, "POST /register with an auth object without a type")
        expect(asked.session, f"the server gave no session: {asked!r}")
        stages = asked.stages
        expect("m.login.dummy" in stages, f"m.login.dummy is not offered: {stages}")
        answer = await bob.client.register(bob.name, PASSWORD, session_token=asked.session)
        expect_answer(answer, RegisterResponse, "POST /register with the dummy stage and a session")

    async def log_out_and_log_in(self):
        alice = self.alice
        old_token, user_id = alice.client.access_token, alice.client.user_id
        expect_answer(await alice.client.logout(), LogoutResponse, "POST /logout")
        alice.client.access_token = old_token
        answer = await alice.client.whoami()
        expect_answer(answer, WhoamiError, "whoami with a token that was logged out")
        expect(answer.status_code == "M_UNKNOWN_TOKEN", f"expected M_UNKNOWN_TOKEN, got {answer!r}")
        alice.client.access_token = ""
        expect_answer(await alice.client.login("wrong"), LoginError, "a login with a wrong password")
        expect_answer(await alice.client.login(PASSWORD, device_name="nio test"), LoginResponse, "POST /login")
        expect(alice.client.user_id == user_id, f"logged in as {alice.client.user_id}, not {user_id}")
        answer = expect_answer(await alice.client.whoami(), WhoamiResponse, "GET /account/whoami")
        expect(answer.user_id == user_id, f"whoami says {answer.user_id}")
        await alice.sync()
        await self.bob.sync()

    async def create_a_room(self):
        alice = self.alice
        answer = await alice.client.room_create(name="Ward 7", topic="Handover", preset=RoomPreset.private_chat)
        self.room = expect_answer(answer, RoomCreateResponse, "POST /createRoom").room_id
        await alice.until("her own room", lambda: self.room in alice.client.rooms)
        room = alice.client.rooms[self.room]
        expect(room.name == "Ward 7" and room.topic == "Handover", f"sync shows {room.name!r} and {room.topic!r}")
        expect(list(room.users) == [alice.client.user_id], f"members are {list(room.users)}")

    async def invite(self):
        alice, bob = self.alice, self.bob
        answer = await alice.client.room_invite(self.room, bob.client.user_id)
        expect_answer(answer, RoomInviteResponse, "POST /invite")
        await bob.until("the invite", lambda: self.room in bob.client.invited_rooms)
        invited = bob.client.invited_rooms[self.room]
        expect(invited.inviter == alice.client.user_id, f"the invite is from {invited.inviter}")
        expect(invited.name == "Ward 7", f"the invite calls the room {invited.name!r}")

    async def join(self):
        alice, bob = self.alice, self.bob
        expect_answer(await bob.client.join(self.room), JoinResponse, "POST /join")
        await bob.until("his own join", lambda: self.room in bob.client.rooms)
        expect(self.room not in bob.client.invited_rooms, "the invite is still there after the join")
        await alice.until("the join", lambda: bob.client.user_id in alice.client.rooms[self.room].users)
        answer = await alice.client.joined_members(self.room)
        members = expect_answer(answer, JoinedMembersResponse, "GET /joined_members").members
        ids = sorted(member.user_id for member in members)
        expect(ids == sorted([alice.client.user_id, bob.client.user_id]), f"joined members are {ids}")

    async def message_both_ways(self):
        alice, bob = self.alice, self.bob
        self.first_message = await alice.say(self.room, "hello bob")
        await bob.until("alice's message", lambda: "hello bob" in bob.said(self.room))
        await bob.say(self.room, "hello alice")
        await alice.until("bob's message", lambda: "hello alice" in alice.said(self.room))
        for person in (alice, bob):
            await person.until("both messages", lambda person=person: len(person.said(self.room)) >= 2)
            said = person.said(self.room)
            expect(said == ["hello bob", "hello alice"], f"{person.name} saw {said}")
        event = next(event for _, event in bob.messages if event.body == "hello bob")
        expect(event.sender == alice.client.user_id, f"the sender is {event.sender}")
        expect(event.event_id == self.first_message, f"sync calls it {event.event_id}, send {self.first_message}")

    async def hear_while_waiting(self):
        alice, bob = self.alice, self.bob
        waiting = asyncio.create_task(bob.until("a message while waiting", lambda: "wake up" in bob.said(self.room)))
        await alice.say(self.room, "wake up")
        await waiting

    async def set_a_topic(self):
        alice, bob = self.alice, self.bob
        answer = await alice.client.room_put_state(self.room, "m.room.topic", {"topic": "Night shift"})
        expect_answer(answer, RoomPutStateResponse, "PUT /state/m.room.topic")
        await bob.until("the topic", lambda: bob.client.rooms[self.room].topic == "Night shift")
        answer = await bob.client.room_put_state(self.room, "m.room.topic", {"topic": "Mine"})
        expect(getattr(answer, "status_code", None) == "M_FORBIDDEN", f"bob may not set the topic, got {answer!r}")

    async def send_a_receipt(self):
        alice, bob = self.alice, self.bob
        answer = await bob.client.update_receipt_marker(self.room, self.first_message)
        expect_answer(answer, UpdateReceiptMarkerResponse, "POST /receipt/m.read")

        def seen():
            # nio's receipts are for the main timeline unless told otherwise.
            receipt = alice.client.rooms[self.room].threaded_read_receipts.get(bob.client.user_id, {}).get("main")
            return receipt is not None and receipt.event_id == self.first_message

        await alice.until("bob's receipt", seen)

    async def paginate_history(self):
        alice, bob = self.alice, self.bob
        expected = ["hello bob", "hello alice", "wake up"]
        for number in range(HISTORY_MESSAGES):
            await alice.say(self.room, f"history {number}")
            expected.append(f"history {number}")
        for direction, name in ((MessageDirection.back, "backwards"), (MessageDirection.front, "forwards")):
            walked, start = [], None
            for _ in range(PAGES_MAX):
                answer = await bob.client.room_messages(self.room, start, direction=direction, limit=PAGE_EVENTS)
                page = expect_answer(answer, RoomMessagesResponse, f"GET /messages {name} from {start}")
                expect(len(page.chunk) <= PAGE_EVENTS, f"a page of {len(page.chunk)} events, asked for {PAGE_EVENTS}")
                walked += [event.body for event in page.chunk if isinstance(event, RoomMessageText)]
                start = page.end
                if start is None:
                    break
            expect(start is None, f"no end of the history {name} after {PAGES_MAX} pages")
            if direction is MessageDirection.back:
                walked.reverse()
            expect(walked == expected, f"history {name} is {walked}, expected {expected}")

    async def redact(self):
        alice, bob = self.alice, self.bob
        answer = await alice.client.room_redact(self.room, self.first_message, reason="wrong room")
        expect_answer(answer, RoomRedactResponse, "PUT /redact")
        redacted = lambda: any(event.redacts == self.first_message for _, event in bob.redactions)
        await bob.until("the redaction", redacted)
        answer = await bob.client.room_get_event(self.room, self.first_message)
        event = expect_answer(answer, RoomGetEventResponse, "GET /event of the redacted message").event
        expect(isinstance(event, RedactedEvent), f"the message is still {event!r}")
        expect(event.redacter == alice.client.user_id, f"redacted by {event.redacter}")
        expect(event.reason == "wrong room", f"redacted because {event.reason!r}")

    async def leave(self):
        alice, bob = self.alice, self.bob
        expect_answer(await bob.client.room_leave(self.room), RoomLeaveResponse, "POST /leave")
        await alice.until("the leave", lambda: bob.client.user_id not in alice.client.rooms[self.room].users)
        left = await bob.sync(POLL_MS)
        expect(self.room in left.rooms.leave, f"bob's next sync has no leave of the room: {left.rooms!r}")
        answer = await bob.client.room_send(self.room, "m.room.message", {"msgtype": "m.text", "body": "am I here?"})
        expect(getattr(answer, "status_code", None) == "M_FORBIDDEN", f"bob left and may not send, got {answer!r}")

    async def log_out(self):
        for person in (self.alice, self.bob):
            token = person.client.access_token
            expect_answer(await person.client.logout(all_devices=True), LogoutResponse, "POST /logout/all")
            person.client.access_token = token
            answer = await person.client.whoami()
            expect(getattr(answer, "status_code", None) == "M_UNKNOWN_TOKEN", f"{person.name} is still in: {answer!r}")

    async def close(self):
        await self.alice.close()
        await self.bob.close()


if __name__ == "__main__":
    sys.exit(main("nio", "Everyday chat with matrix-nio against a real server.", Scenario))
