"""An export of the audit trail of a real server, checked by programs that are not Wardroom's.

    scenario.py BINARY [NAME-PART...]     with parts of names, only the steps that have one

The hashes and proofs are those of RFC 9162, written down here once more, and pymerkle's; the canonical form is rfc8785's; the
signatures are checked by cryptography. Prints a line for each step: "ok" or "FAILED". The exit status is 1 when any failed.
"""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import pymerkle
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from harness import REQUEST_S, Wardroom, equal, expect, run_scenario, wait_for

RECORDS_MIN = 1_100
API = "/_wardroom/admin/v1/audit"


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


class Export:
    """The files of a directory, as `wardroom admin audit export` writes them."""

    def __init__(self, directory):
        directory = pathlib.Path(directory)
        lines = b"".join(path.read_bytes() for path in sorted(directory.glob("records-*.ndjson"))).split(b"\n")
        equal(lines.pop(), b"", "what is behind the last line break")
        self.records, self.leaves = lines, [leaf_hash(line) for line in lines]
        self.written_leaves = (directory / "leaves").read_bytes()
        parts = (directory / "checkpoints").read_text().rstrip("\n").split("\n\n")
        self.notes = list(zip([text + "\n" for text in parts[::2]], parts[1::2], strict=True))
        name, key_id, key = (directory / "key").read_text().strip().split("+", 2)
        self.name, self.key_id, key = name, bytes.fromhex(key_id), base64.b64decode(key)
        equal(key[0], 1, "the kind of the key")
        self.key = Ed25519PublicKey.from_public_bytes(key[1:])
        equal(hashlib.sha256(name.encode() + b"\n" + key).digest()[:4], self.key_id, "the id of the key")

    def checkpoints(self):
        """Size, root and hash of the checkpoint before, of each."""
        for text, _ in self.notes:
            name, size, top, *more = text.splitlines()
            equal(name, self.name, "the name of the log")
            yield int(size), base64.b64decode(top), more


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


class Steps:
    def __init__(self, server, admin, binary, directory):
        self.server, self.token, self.binary = server, admin["access_token"], binary
        self.directory = pathlib.Path(directory) / "export"
        self.fill(RECORDS_MIN)
        self.export = self.exported()

    def get(self, path):
        return self.server.request("GET", API + path, token=self.token)

    def fill(self, records):
        for _ in range(records):
            self.get("/activity?from_ts=0&to_ts=1")
        wait_for("a checkpoint of all of it", lambda: self.newest() > records)

    def newest(self):
        request = urllib.request.Request(f"{self.server.base}{API}/checkpoint")
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
            return int(answer.read().splitlines()[1])

    def exported(self):
        command = [self.binary, "admin", "audit", "export", str(self.directory), "--config", str(self.server.config)]
        environment = {**os.environ, "WARDROOM_ADMIN_TOKEN": self.token}
        subprocess.run(command, check=True, env=environment, timeout=REQUEST_S, stdout=subprocess.DEVNULL)
        return Export(self.directory)

    def the_vector_of_an_empty_leaf(self):
        known = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        tree = pymerkle.InmemoryTree(algorithm="sha256")
        tree.append_entry(b"")
        equal(tree.get_root().hex(), known, "pymerkle's root of one empty leaf")
        equal(leaf_hash(b"").hex(), known, "the hash of an empty leaf")

    def the_records_are_canonical(self):
        expect(len(self.export.records) > RECORDS_MIN, "there are enough records")
        for number, record in enumerate(self.export.records):
            equal(rfc8785.dumps(json.loads(record)), record, f"record {number}")

    def the_hashes_are_those_of_the_records(self):
        equal(self.export.written_leaves, b"".join(self.export.leaves), "the hashes")

    def every_checkpoint_is_signed(self):
        for text, signature in self.export.notes:
            mark, name, signature = signature.split(" ")
            equal((mark, name), ("\N{EM DASH}", self.export.name), "who signed")
            signature = base64.b64decode(signature)
            equal(signature[:4], self.export.key_id, "the key that signed")
            try:
                self.export.key.verify(signature[4:], text.encode())
            except InvalidSignature:
                expect(False, f"the signature of {text!r} is good")

    def every_checkpoint_names_the_one_before(self):
        before = []
        for (text, _), (_, _, more) in zip(self.export.notes, self.export.checkpoints(), strict=True):
            equal(more, before, "the hash of the checkpoint before")
            before = ["previous " + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()]

    def every_checkpoint_has_the_root(self):
        sizes = [size for size, _, _ in self.export.checkpoints()]
        equal(sizes[-1], len(self.export.records), "the size of the newest checkpoint")
        expect(any(after - before == 1_000 for before, after in zip([0, *sizes], sizes)) or len(sizes) > 1, "there are several")
        for size, top, _ in self.export.checkpoints():
            equal(root(self.export.leaves[:size]), top, f"the root of {size} records")

    def pymerkle_has_the_same_root_and_proofs(self):
        tree = pymerkle.InmemoryTree.init_from_entries(self.export.records, algorithm="sha256")
        size, top, _ = list(self.export.checkpoints())[-1]
        equal(tree.get_root(), top, "pymerkle's root")
        for index in (0, 1, size // 2, size - 1):
            path = [base64.b64decode(sibling) for sibling in self.get(f"/proof?index={index}&size={size}")["path"]]
            # pymerkle's path begins with the leaf itself, and it counts from 1.
            theirs = [bytes.fromhex(sibling) for sibling in tree.prove_inclusion(index + 1, size).serialize()["path"]]
            equal(sorted(theirs), sorted([self.export.leaves[index], *path]), f"the proof of record {index}")

    def every_record_is_proved(self):
        size, top, _ = list(self.export.checkpoints())[-1]
        for index in {*range(0, size, 97), size - 1}:
            proof = self.get(f"/proof?index={index}&size={size}")
            equal(base64.b64decode(proof["leaf"]), self.export.leaves[index], f"the hash of record {index}")
            path = [base64.b64decode(sibling) for sibling in proof["path"]]
            equal(root_of_inclusion(self.export.leaves[index], index, size, path), top, f"the proof of record {index}")

    def every_checkpoint_continues_the_others(self):
        known = list(self.export.checkpoints())
        for old_size, old_root, _ in known[:-1]:
            size, top, _ = known[-1]
            path = self.get(f"/consistency?from={old_size}&to={size}")["path"]
            found = roots_of_consistency(old_size, size, old_root, [base64.b64decode(sibling) for sibling in path])
            equal(found, (old_root, top), f"the proof from {old_size} to {size}")

    def the_servers_own_verifier_agrees(self):
        key = (self.directory / "key").read_text().strip()
        command = [self.binary, "audit", "verify", str(self.directory), "--key", key]
        done = subprocess.run(command, capture_output=True, text=True, timeout=REQUEST_S)
        equal(done.returncode, 0, done.stderr)
        top = base64.b64encode(root(self.export.leaves)).decode()
        expect(f"ok, {len(self.export.records)} records, root {top}" in done.stdout, done.stdout)

    def a_cosignature_made_here_is_checked_by_the_servers_own_verifier(self):
        witness = Witness("elsewhere.example/wardroom/witness")
        text, signature = self.export.notes[-1]
        checkpoints = (self.directory / "checkpoints").read_text()
        size, _, _ = list(self.export.checkpoints())[-1]
        for line, good in [(witness.line(text), True), (witness.line(text, told=7, signed=8), False)]:
            with tempfile.TemporaryDirectory() as copy:
                copy = pathlib.Path(copy) / "export"
                shutil.copytree(self.directory, copy)
                cosigned = checkpoints.replace(signature, f"{signature}\n{line}", 1)
                (copy / "checkpoints").write_text(cosigned)
                for more in (["--witness", f"elsewhere.example={witness.vkey()}"], []):
                    if not more:
                        (copy / "witnesses").write_text(witness.vkey() + "\n")
                    command = [self.binary, "audit", "verify", str(copy), *more]
                    done = subprocess.run(command, capture_output=True, text=True, timeout=REQUEST_S)
                    equal(done.returncode == 0, good, done.stdout + done.stderr)
                    expect(not good or f"cosigned up to {size} by {witness.name}" in done.stdout, done.stdout)

    def an_export_goes_on_where_it_stopped(self):
        before = self.export
        self.fill(len(before.records) + 10)
        self.export = self.exported()
        expect(len(self.export.records) > len(before.records), "there are more records")
        equal(self.export.records[: len(before.records)], before.records, "the records that were there")
        for step in (self.every_checkpoint_is_signed, self.every_checkpoint_has_the_root, self.the_servers_own_verifier_agrees):
            step()

    def all(self):
        names = ("get", "fill", "newest", "exported", "all")
        steps = [name for name in vars(Steps) if not name.startswith("_") and name not in names]
        return [(name.replace("_", " "), getattr(self, name)) for name in steps]


def main(binary, *parts):
    directory = tempfile.mkdtemp(prefix="wardroom-audit-")
    server = Wardroom(binary, directory, ["client", "admin"], "audit.checkpoint_seconds = 1")

    def steps():
        server.start()
        return Steps(server, server.register("admin", admin=True), binary, directory).all()

    return run_scenario(directory, [server], steps, parts)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
