"""What the scenarios of matrix-nio share: a user at a client, waiting, and steps that report themselves."""

import argparse
import asyncio
import logging
import logging.handlers
import sys
import time

from nio import (
    AsyncClient,
    AsyncClientConfig,
    RedactionEvent,
    RoomMessageText,
    RoomSendResponse,
    SyncResponse,
)

PASSWORD = "correct horse battery staple"
# How long another client may take to hear of something.
SOON_S = 20
# One long poll.
POLL_MS = 3_000


class Failure(Exception):
    """A step did not go as it should."""


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def expect_answer(response, kind, request):
    """The answer when it is of the kind that nio gives for a success."""
    transport = getattr(response, "transport_response", None)
    status = f"HTTP {transport.status}, " if transport is not None else ""
    expect(isinstance(response, kind), f"{request}: expected {kind.__name__}, got {status}{response!r}")
    return response


class Person:
    """A user at one nio client, remembering what the timeline showed."""

    def __init__(self, base_url, name, store_path=None, **options):
        # Errors are to be seen at once: no silent retries.
        usual = {"encryption_enabled": False, "max_timeouts": 1, "max_limit_exceeded": 1, "request_timeout": 30}
        config = AsyncClientConfig(**{**usual, **options})
        self.name = name
        self.client = AsyncClient(base_url, name, store_path=store_path, config=config)
        self.messages = []
        self.redactions = []
        self.client.add_event_callback(self._on_message, RoomMessageText)
        self.client.add_event_callback(self._on_redaction, RedactionEvent)

    async def _on_message(self, room, event):
        self.messages.append((room.room_id, event))

    async def _on_redaction(self, room, event):
        self.redactions.append((room.room_id, event))

    async def sync(self, timeout_ms=0):
        return expect_answer(await self.client.sync(timeout=timeout_ms), SyncResponse, f"{self.name}'s sync")

    async def until(self, what, condition):
        """Syncs until a condition on the client's view holds."""
        deadline = time.monotonic() + SOON_S
        while not condition():
            expect(time.monotonic() < deadline, f"{self.name} did not hear of {what} within {SOON_S} s")
            await self.sync(POLL_MS)

    def said(self, room_id):
        """Bodies of the messages that arrived in a room, in order."""
        return [event.body for room, event in self.messages if room == room_id]

    async def say(self, room_id, body):
        content = {"msgtype": "m.text", "body": body}
        answer = await self.client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
        return expect_answer(answer, RoomSendResponse, f"{self.name} sends {body!r}").event_id

    async def close(self):
        await self.client.close()


async def run(client, scenario, library_log):
    """Runs the steps. What the library logged is shown only with a failure: it warns of refusals that are expected."""
    try:
        for name, step in scenario.steps():
            try:
                await step()
            except Failure as failure:
                library_log.flush()
                print(f"FAILED {client}: {name}: {failure}", flush=True)
                return 1
            except Exception as error:  # whatever the library throws is this step's failure
                logging.exception("%s: %s", client, name)
                library_log.flush()
                print(f"FAILED {client}: {name}: {type(error).__name__}: {error}", flush=True)
                return 1
            print(f"ok {client}: {name}", flush=True)
    finally:
        await scenario.close()
    return 0


def main(client, description, scenario):
    """Runs the scenario that `scenario` makes from the server's base URL; answers the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("base_url", help="where the server answers, such as http://127.0.0.1:8008")
    parser.add_argument("--verbose", action="store_true", help="show what the library logs")
    arguments = parser.parse_args()
    # nio warns of answers that do not match its schemas: a hint worth having when a step fails.
    library_log = logging.handlers.MemoryHandler(
        capacity=1 if arguments.verbose else 100_000,
        flushLevel=logging.CRITICAL,
        target=logging.StreamHandler(sys.stderr),
    )
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING, handlers=[library_log])

    async def started():
        return await run(client, scenario(arguments.base_url), library_log)

    status = asyncio.run(started())
    # What is still held back then belongs to steps that passed.
    library_log.setTarget(None)
    return status
