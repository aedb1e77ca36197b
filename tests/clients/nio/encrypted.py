"""A user at a matrix-nio client that encrypts."""

import tempfile

from nio import (
    KeysClaimResponse,
    KeysQueryResponse,
    KeysUploadResponse,
    LoginResponse,
    MegolmEvent,
    RegisterResponse,
    ToDeviceResponse,
)
from nio.store import SqliteMemoryStore

from support import PASSWORD, Person, expect, expect_answer


class EncryptedPerson(Person):
    """A device that keeps its keys in memory, and does between syncs what nio's own loop would do."""

    def __init__(self, base_url, name):
        self.directory = tempfile.TemporaryDirectory()
        options = {"encryption_enabled": True, "store": SqliteMemoryStore}
        super().__init__(base_url, name, self.directory.name, **options)
        # Encrypted messages that could not be decrypted.
        self.undecrypted = []
        self.client.add_event_callback(self._on_undecrypted, MegolmEvent)

    async def _on_undecrypted(self, room, event):
        self.undecrypted.append((room.room_id, event))

    async def register(self):
        answer = await self.client.register(self.name, PASSWORD, device_name="nio test")
        expect_answer(answer, RegisterResponse, f"registration of {self.name}")
        await self.keep_up()
        await self.sync()

    async def log_in(self):
        expect_answer(await self.client.login(PASSWORD), LoginResponse, f"login of {self.name}")
        await self.keep_up()
        await self.sync()

    async def sync(self, timeout_ms=0):
        response = await super().sync(timeout_ms)
        await self.keep_up()
        return response

    async def keep_up(self):
        """Sends what nio wants to be sent."""
        client = self.client
        if client.should_upload_keys:
            expect_answer(await client.keys_upload(), KeysUploadResponse, "POST /keys/upload")
        if client.should_query_keys:
            expect_answer(await client.keys_query(), KeysQueryResponse, "POST /keys/query")
        if client.should_claim_keys:
            claimed = await client.keys_claim(client.get_users_for_key_claiming())
            expect_answer(claimed, KeysClaimResponse, "POST /keys/claim")
        for answer in await client.send_to_device_messages():
            expect_answer(answer, ToDeviceResponse, "PUT /sendToDevice")

    async def hears(self, room_id, body):
        """The event of a message once it is decrypted."""
        found = lambda: [event for room, event in self.messages if room == room_id and event.body == body]
        failed = lambda: [event.session_id for room, event in self.undecrypted if room == room_id]
        await self.until(f"{body!r} (undecrypted sessions: {failed()})", lambda: found())
        return found()[0]

    async def get(self, path):
        """What the server answers, without nio's decryption."""
        headers = {"Authorization": f"Bearer {self.client.access_token}"}
        answer = await self.client.send("GET", f"/_matrix/client/v3{path}", headers=headers)
        expect(answer.status == 200, f"GET {path}: HTTP {answer.status} {await answer.text()}")
        return await answer.json()

    def device(self, other):
        """Another client's device, as this one knows it; none before it does."""
        devices = self.client.device_store.active_user_devices(other.client.user_id)
        return next((device for device in devices if device.id == other.client.device_id), None)

    async def close(self):
        await super().close()
        self.directory.cleanup()
