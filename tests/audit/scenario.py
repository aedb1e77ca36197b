"""An export of the audit trail of a real server, checked by programs that are not Wardroom's.

    scenario.py BINARY [NAME-PART...]     with parts of names, only the steps that have one

The hashes and proofs are those of RFC 9162, written down here once more, and pymerkle's; the canonical form is rfc8785's; the
signatures are checked by cryptography. Prints a line for each step: "ok" or "FAILED". The exit status is 1 when any failed.
"""

import base64
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pymerkle
import rfc8785
import witnesses
from harness import REQUEST_S, Wardroom, equal, expect, run_scenario, wait_for
from trail import Export, Witness, leaf_hash, root, root_of_inclusion, roots_of_consistency

RECORDS_MIN = 1_100
API = "/_wardroom/admin/v1/audit"


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
        status, _, note = self.server.answer("GET", f"{API}/checkpoint", token=self.token)
        equal(status, 200, "the newest checkpoint")
        return int(note.splitlines()[1])

    def exported(self):
        return Export.of_server(self.server, self.token, self.directory)

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
        for note in self.export.notes:
            expect(note.is_signed_by(self.export.key), f"the signature of {note.text!r} is good")

    def every_checkpoint_names_the_one_before(self):
        before = []
        for note in self.export.notes:
            equal(note.more, before, "the hash of the checkpoint before")
            before = ["previous " + base64.b64encode(hashlib.sha256(note.text.encode()).digest()).decode()]

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
        text, size = self.export.notes[-1].text, self.export.notes[-1].size
        checkpoints = (self.directory / "checkpoints").read_text()
        known = checkpoints.rstrip("\n").rpartition("\n")[2]
        for line, good in [(witness.line(text), True), (witness.line(text, told=7, signed=8), False)]:
            with tempfile.TemporaryDirectory() as copy:
                copy = pathlib.Path(copy) / "export"
                shutil.copytree(self.directory, copy)
                (copy / "checkpoints").write_text(checkpoints.replace(known, f"{known}\n{line}", 1))
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

    alone = run_scenario(directory, [server], steps, parts)
    return max(alone, witnesses.run(binary, parts))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
