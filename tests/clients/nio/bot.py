"""A matrix-nio client that answers each message with an encrypted one, for the scenario of another library.

    bot.py BASE_URL NAME

Registers, says "ready USER" on standard output, accepts the first invite, says "joined ROOM", and answers until its
standard input ends; then it leaves the room.
"""

import asyncio
import sys

from nio import JoinResponse, RoomLeaveResponse

from encrypted import EncryptedPerson
from support import expect_answer

# One long poll: how long the end of the input may go unnoticed.
POLL_MS = 500


def say(line):
    print(line, flush=True)


async def answer(bot, ended):
    await bot.register()
    say(f"ready {bot.client.user_id}")
    room = None
    answered = set()
    while not ended.is_set():
        await bot.sync(POLL_MS)
        if room is None and bot.client.invited_rooms:
            room = next(iter(bot.client.invited_rooms))
            expect_answer(await bot.client.join(room), JoinResponse, "POST /join")
            await bot.until("its own join", lambda: room in bot.client.rooms)
            say(f"joined {room}")
        for where, event in list(bot.messages):
            if event.event_id in answered or event.sender == bot.client.user_id:
                continue
            answered.add(event.event_id)
            if event.decrypted:
                await bot.say(where, f"nio heard: {event.body}")
    if room is not None:
        expect_answer(await bot.client.room_leave(room), RoomLeaveResponse, "POST /leave")


async def main(base_url, name):
    bot = EncryptedPerson(base_url, name)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: sys.stdin.buffer.read1(1024) or (loop.remove_reader(sys.stdin), ended.set()))
    try:
        await answer(bot, ended)
    finally:
        await bot.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
