"""Keys and encrypted messages between users of two servers, as clients see them: what is inside is theirs alone."""

import base64
import secrets

from canonicaljson import encode_canonical_json
from nacl.signing import SigningKey

from harness import expect, quote


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


class Device:
    """A device that publishes its keys."""

    def __init__(self, user):
        self.user = user
        self.key = SigningKey.generate()
        self.curve = unpadded(secrets.token_bytes(32))
        keys = self.sign({
            "user_id": user.id, "device_id": user.device,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"ed25519:{user.device}": unpadded(bytes(self.key.verify_key)),
                f"curve25519:{user.device}": self.curve,
            },
        })
        self.one_time = {
            f"signed_curve25519:AAAA{number}": self.sign({"key": unpadded(secrets.token_bytes(32))}) for number in range(3)
        }
        user.call("POST", "v3/keys/upload", {"device_keys": keys, "one_time_keys": self.one_time})

    def sign(self, value):
        signature = unpadded(self.key.sign(encode_canonical_json(value)).signature)
        return {**value, "signatures": {self.user.id: {f"ed25519:{self.user.device}": signature}}}


def changed(other):
    return lambda sync: other.id in sync.get("device_lists", {}).get("changed", [])


def keys_and_messages(alice, bob, room):
    """Device lists change, keys are asked for and claimed, messages to devices arrive once."""
    alice.set_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    for one, other in [(alice, bob), (bob, alice)]:
        other.sync()
        device = Device(one)
        other.hear("a changed device list", changed(one))
        answer = other.call("POST", "v3/keys/query", {"device_keys": {one.id: []}})
        keys = answer["device_keys"].get(one.id, {}).get(one.device, {}).get("keys", {})
        expect(keys.get(f"curve25519:{one.device}") == device.curve, f"the keys are found: {answer}")
        claimed = []
        for _ in range(2):
            body = {"one_time_keys": {one.id: {one.device: "signed_curve25519"}}}
            answer = other.call("POST", "v3/keys/claim", body)
            claimed += list(answer["one_time_keys"].get(one.id, {}).get(one.device, {}).items())
        expect(len({name for name, _ in claimed}) == 2, f"each claim gets another key: {claimed}")
        expect(all(device.one_time.get(name) == key for name, key in claimed), f"the keys are those uploaded: {claimed}")

        content = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "ciphertext": {device.curve: secrets.token_hex(8)}}
        one.sync()
        body = {"messages": {one.id: {one.device: content}}}
        other.call("PUT", f"v3/sendToDevice/m.room.encrypted/{secrets.token_hex(4)}", body)
        heard = one.hear("the message", lambda sync: sync.get("to_device", {}).get("events"))
        expect([event["content"] for event in heard] == [content], f"the message arrives once: {heard}")
        expect(heard[0]["sender"] == other.id, f"the sender is told: {heard}")
        expect(not one.sync(300).get("to_device", {}).get("events"), "the message does not come again")

    # A device that goes away.
    alice.sync()
    status, _ = bob.request("POST", "/_matrix/client/v3/logout", {})
    expect(status == 200, "bob logs out")
    alice.hear("a changed device list", changed(bob))
    answer = alice.call("POST", "v3/keys/query", {"device_keys": {bob.id: []}})
    expect(bob.device not in answer["device_keys"].get(bob.id, {}), f"the device is gone: {answer}")


def sessions(alice, bob, room):
    """A session's keys go to the other's device, and messages under it arrive as they were."""
    devices = {user: Device(user) for user in (alice, bob)}
    alice.set_state(room, "m.room.encryption", {"algorithm": "m.megolm.v1.aes-sha2"})
    for one, other in [(alice, bob), (bob, alice)]:
        other.sync()
        session = unpadded(secrets.token_bytes(32))
        wrapped = {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": devices[one].curve,
                   "ciphertext": {devices[other].curve: {"type": 0, "body": unpadded(secrets.token_bytes(300))}}}
        body = {"messages": {other.id: {"*": wrapped}}}
        one.call("PUT", f"v3/sendToDevice/m.room.encrypted/{secrets.token_hex(4)}", body)
        other.hear("the session's key", lambda sync: any(
            event["content"] == wrapped for event in sync.get("to_device", {}).get("events", [])))
        content = {"algorithm": "m.megolm.v1.aes-sha2", "sender_key": devices[one].curve, "device_id": one.device,
                   "session_id": session, "ciphertext": unpadded(secrets.token_bytes(400))}
        event = one.send(room, content, "m.room.encrypted")
        expect(other.sees(room, event)["content"] == content, "the encrypted message arrives as it was sent")
    path = f"v3/rooms/{quote(room)}/state/m.room.encryption/"
    expect(bob.call("GET", path)["algorithm"] == "m.megolm.v1.aes-sha2", "the room is encrypted for the guest too")
