"""Trees, proofs, signed checkpoints and cosignatures, written down here once more from RFC 9162 and C2SP's specifications."""

import base64
import hashlib
import os
import pathlib
import subprocess

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness import REQUEST_S, equal, expect

# Kinds of keys: of a log, and of a witness.
LOG, WITNESS = 1, 4


def leaf_hash(record):
    return hashlib.sha256(b"\0" + record).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def split(count):
    """The largest power of two below the count."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves):
    """RFC 9162, section 2.1.1."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256().digest()
    middle = split(len(leaves))
    return node_hash(root(leaves[:middle]), root(leaves[middle:]))


def root_of_inclusion(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2."""
    expect(index < size, "the index is below the size")
    at, last, found = index, size - 1, leaf
    for sibling in path:
        expect(last > 0, "the path ends with the tree")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    equal(last, 0, "what is left of the tree")
    return found


def roots_of_consistency(old_size, new_size, old_root, path):
    """The two roots that a proof leads to; RFC 9162, section 2.1.4.2."""
    path = ([old_root] if old_size & (old_size - 1) == 0 else []) + path
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        expect(last > 0, "the path ends with the tree")
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    equal(last, 0, "what is left of the tree")
    return old, new


class Key:
    """A public key as C2SP's signed-note writes it: name, id, and a byte for its kind before the key."""

    def __init__(self, text, kind):
        self.text = text
        self.name, key_id, key = text.split("+", 2)
        self.id, key = bytes.fromhex(key_id), base64.b64decode(key)
        equal(key[0], kind, "the kind of the key")
        equal(hashlib.sha256(self.name.encode() + b"\n" + key).digest()[:4], self.id, "the id of the key")
        self.key = Ed25519PublicKey.from_public_bytes(key[1:])

    def signed(self, signature, message):
        try:
            self.key.verify(signature, message.encode())
        except InvalidSignature:
            return False
        return True


class Note:
    """A checkpoint (C2SP tlog-checkpoint) and the lines of its signatures."""

    def __init__(self, text, lines):
        self.text, self.signatures = text, []
        self.name, size, top, *self.more = text.splitlines()
        self.size, self.root = int(size), base64.b64decode(top)
        for line in lines.splitlines():
            mark, name, signature = line.split(" ")
            equal(mark, "\N{EM DASH}", "the beginning of a signature")
            signature = base64.b64decode(signature)
            self.signatures.append((name, signature[:4], signature[4:]))

    @classmethod
    def of(cls, note):
        text, lines = note.split("\n\n")
        return cls(text + "\n", lines)

    def by(self, key):
        """The signatures that say that they are of this key."""
        return [signature for name, key_id, signature in self.signatures if (name, key_id) == (key.name, key.id)]

    def is_signed_by(self, log):
        found = self.by(log)
        return len(found) == 1 and log.signed(found[0], self.text)

    def cosigned_at(self, witness):
        """The second since 1970 at which the witness says that it saw this (C2SP tlog-cosignature), or None."""
        for signature in self.by(witness):
            equal(len(signature), 8 + 64, "the length of a cosignature")
            seconds = int.from_bytes(signature[:8], "big")
            expect(witness.signed(signature[8:], f"cosignature/v1\ntime {seconds}\n{self.text}"),
                   f"the cosignature of {self.size} records by {witness.name} is good")
            return seconds
        return None


class Export:
    """The files of a directory, as `wardroom admin audit export` writes them."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        lines = b"".join(path.read_bytes() for path in sorted(directory.glob("records-*.ndjson"))).split(b"\n")
        equal(lines.pop(), b"", "what is behind the last line break")
        self.records, self.leaves = lines, [leaf_hash(line) for line in lines]
        self.written_leaves = (directory / "leaves").read_bytes()
        parts = (directory / "checkpoints").read_text().rstrip("\n").split("\n\n")
        self.notes = [Note(text + "\n", lines) for text, lines in zip(parts[::2], parts[1::2], strict=True)]
        self.key = Key((directory / "key").read_text().strip(), LOG)

    @classmethod
    def of_server(cls, server, token, directory):
        command = [server.binary, "admin", "audit", "export", str(directory), "--config", str(server.config)]
        environment = {**os.environ, "WARDROOM_ADMIN_TOKEN": token}
        subprocess.run(command, check=True, env=environment, timeout=REQUEST_S, stdout=subprocess.DEVNULL)
        return cls(directory)

    def checkpoints(self):
        """Size, root and hash of the checkpoint before, of each."""
        for note in self.notes:
            equal(note.name, self.key.name, "the name of the log")
            yield note.size, note.root, note.more


class Witness:
    """A key that cosigns, as C2SP's tlog-cosignature has it (cosignature/v1)."""

    def __init__(self, name):
        self.name, self.key = name, Ed25519PrivateKey.generate()
        self.public = b"\x04" + self.key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(name.encode() + b"\n" + self.public).digest()[:4]

    def vkey(self):
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self.public).decode()}"

    def line(self, text, told=1_700_000_000, signed=None):
        message = f"cosignature/v1\ntime {told if signed is None else signed}\n{text}"
        signature = self.id + told.to_bytes(8, "big") + self.key.sign(message.encode())
        return f"\N{EM DASH} {self.name} {base64.b64encode(signature).decode()}"
