"""Two hospitals that witness each other's audit trails: what the one signed of the other's is checked with nothing of Wardroom's.

An operator then puts an older copy of the store back and goes on with other records. What the witness shows for that has to
prove it to whoever has the key of the log.
"""

import base64
import pathlib
import shutil
import tempfile
import time

from authority import Authority
from harness import Failure, equal, expect, run_scenario, wait_for
from partners import partners
from trail import LOG, WITNESS, Export, Key, Note, root, roots_of_consistency

API = "/_wardroom/admin/v1"
# How long a witness may take that failed a few times.
LATER_S = 120
RECORDS = 60
CLOCKS_S = 120


class Hospital:
    """A server with an administrator, and what it tells of witnesses."""

    def __init__(self, server, directory):
        self.server, self.directory = server, pathlib.Path(directory)
        server.start()
        self.token = server.register("admin", admin=True)["access_token"]
        self.exports = 0

    def get(self, path):
        return self.server.request("GET", API + path, token=self.token)

    def told(self):
        return self.get("/audit/witness")

    def record(self, count):
        for _ in range(count):
            self.get("/audit/activity?from_ts=0&to_ts=1")

    def log_key(self):
        return Key(self.get("/audit/key")["key"], LOG)

    def witness_key(self):
        return Key(self.told()["key"], WITNESS)

    def export(self):
        self.exports += 1
        return Export.of_server(self.server, self.token, self.directory / f"{self.server.directory.name}-{self.exports}")

    def is_cosigned(self, size):
        """Waits until the other hospital's signature for as many records is here."""
        def newest():
            return max((witness["records"] or 0 for witness in self.told()["witnesses"]), default=0)

        wait_for(f"a cosignature of {size} records", lambda: newest() >= size, LATER_S)

    def newest_size(self):
        return self.get("/audit/records?dir=b&limit=1")["records"][0]["number"]


class Steps:
    def __init__(self, servers, directory):
        self.here, self.there = (Hospital(server, directory) for server in servers)

    def cosigned(self, log, witness):
        """Checks every cosignature in a fresh export of a log with the key that the witness itself tells; their sizes."""
        log.is_cosigned(1)
        export, key = log.export(), witness.witness_key()
        equal(key.name, f"{witness.server.name}/wardroom/witness", "the name of the witness")
        equal((export.key.name, export.key.text), (f"{log.server.name}/wardroom/audit", log.log_key().text), "the log's key")
        sizes, before = [], 0
        for note in export.notes:
            expect(note.is_signed_by(export.key), f"the log signed {note.size} records")
            seconds = note.cosigned_at(key)
            if seconds is None:
                continue
            equal(root(export.leaves[: note.size]), note.root, f"the root of {note.size} records that was cosigned")
            expect(before <= seconds and abs(time.time() - seconds) < CLOCKS_S, f"the time {seconds} of a cosignature")
            sizes, before = [*sizes, note.size], seconds
        return export, sizes

    def each_cosigns_the_others_trail(self):
        for log, witness in [(self.here, self.there), (self.there, self.here)]:
            for _ in range(2):
                log.record(RECORDS)
                log.is_cosigned(log.newest_size())
            _, sizes = self.cosigned(log, witness)
            expect(len(sizes) > 1 and sizes[-1] >= 2 * RECORDS, f"cosigned sizes {sizes}")

    def what_was_cosigned_is_one_trail(self):
        export, sizes = self.cosigned(self.here, self.there)
        last = next(note for note in export.notes if note.size == sizes[-1])
        for note in [note for note in export.notes if note.size in sizes[:-1]]:
            path = self.here.get(f"/audit/consistency?from={note.size}&to={last.size}")["path"]
            found = roots_of_consistency(note.size, last.size, note.root, [base64.b64decode(hash) for hash in path])
            equal(found, (note.root, last.root), f"the proof from {note.size} to {last.size}")

    def no_other_key_or_text_makes_a_cosignature(self):
        export, sizes = self.cosigned(self.here, self.there)
        note, key = next(note for note in export.notes if note.size == sizes[-1]), self.there.witness_key()
        equal(note.cosigned_at(self.here.witness_key()), None, "a cosignature of the other witness")
        note.text = note.text.replace(f"\n{note.size}\n", f"\n{note.size + 1}\n")
        try:
            note.cosigned_at(key)
        except Failure:
            return
        expect(False, "a cosignature of another text is refused")

    def a_trail_that_is_rolled_back_and_goes_on_otherwise_is_refused_with_evidence(self):
        here, there = self.here, self.there
        server, data = here.server, here.server.directory / "data"
        server.stop()
        shutil.copytree(data, older := server.directory / "older")
        server.start()
        here.record(RECORDS)
        here.is_cosigned(here.newest_size())
        honest, sizes = self.cosigned(here, there)
        server.stop()
        shutil.rmtree(data)
        older.rename(data)
        server.start()
        wait_for("the witness notices", lambda: there.told()["watched"][0]["fault"], LATER_S)
        here.record(3 * RECORDS)
        fork = wait_for("the evidence of a fork", lambda: next(
            (one for one in there.told()["evidence"] if one["kind"] == "fork"), None), LATER_S)
        key = Key(fork["known_key"], LOG)
        equal((key.text, fork["shown_key"]), (honest.key.text, honest.key.text), "the keys of the log")
        known, shown = Note.of(fork["known"]), Note.of(fork["shown"])
        expect(known.is_signed_by(key) and shown.is_signed_by(key), "the log signed both")
        expect(known.cosigned_at(there.witness_key()) is not None, "the witness signed what it knew")
        equal(shown.cosigned_at(there.witness_key()), None, "a cosignature of what was forged")
        equal(root(honest.leaves[: known.size]), known.root, "what the trail was")
        # Two pasts of one key: as many records have another root now, and the log's own proof leads to neither.
        forged = here.export()
        expect(shown.size > known.size, f"{shown.size} records came after {known.size}")
        equal(root(forged.leaves[: shown.size]), shown.root, "what the trail is now")
        expect(root(forged.leaves[: known.size]) != known.root, "the past is another")
        path = [base64.b64decode(hash) for hash in fork["proof"] or []]
        try:
            proved = roots_of_consistency(known.size, shown.size, known.root, path) == (known.root, shown.root)
        except (Failure, IndexError):
            proved = False
        expect(not proved, "no proof leads from the one to the other")
        # Nothing of it is cosigned, whatever comes.
        after = [note.size for note in forged.notes if note.cosigned_at(there.witness_key()) is not None]
        expect(all(size <= sizes[-1] for size in after), f"{after} after {sizes[-1]}")
        expect(set(after) <= set(sizes), f"{after} are among {sizes}")
        alarms = there.get("/alarms")["alarms"]
        expect(any(alarm["kind"] == "partner_trail_changed" for alarm in alarms), f"an alarm: {alarms}")
        faults = there.get("/audit/records?act=audit.fault")["records"]
        expect(faults and all(fault["record"]["outcome"] == 8 for fault in faults), f"records of it: {faults}")

    def all(self):
        names = ("cosigned", "all")
        steps = [name for name in vars(Steps) if not name.startswith("_") and name not in names]
        return [(f"witnesses: {name.replace('_', ' ')}", getattr(self, name)) for name in steps]


def run(binary, parts):
    directory = tempfile.mkdtemp(prefix="wardroom-witnesses-")
    servers = partners(binary, directory, Authority(directory))
    return run_scenario(directory, servers, lambda: Steps(servers, directory).all(), parts)
