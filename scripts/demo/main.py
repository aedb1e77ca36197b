"""Runs two hospitals on this machine, or walks through what can be done with them.

    main.py run DIRECTORY BINARY     until Ctrl-C; what was done is kept in the directory
    main.py reset DIRECTORY          deletes it
    main.py check BINARY             prints a line for each step: "ok" or "FAILED"
"""

import fcntl
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading

import staff
import walk
from harness import Failure, free_port, run_scenario
from hospitals import PASSWORD, Authority, Hospital

# Of clients and of other servers, as in config/hospital-a.toml and config/hospital-b.toml.
PORTS = {"a": (8018, 8448), "b": (8019, 8449)}


def make_hospitals(root, binary, ports, moved):
    authority = Authority(root / "authority")
    hospitals = {}
    for letter, other in [("a", "b"), ("b", "a")]:
        hospital = Hospital(root, letter, binary, ports[letter], ports[other][1], moved)
        authority.issue(hospital.directory / "tls", hospital.kind)
        hospitals[letter] = hospital
    return hospitals


def start(hospitals):
    for hospital in hospitals.values():
        hospital.start()


class Alone:
    """The demonstration's directory, for one process at a time."""

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.lock = open(directory.with_suffix(".lock"), "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Failure("the demonstration runs already: stop it with Ctrl-C first") from error


def page(hospitals, directory):
    lines = ["", "== Two hospitals run", ""]
    for letter, hospital in hospitals.items():
        lines += [f"Hospital {letter.upper()}: homeserver {hospital.base}, known to others as {hospital.name}"]
        lines += [f"    {worker.name:<8}{worker.shown:<15}{worker.what}" for worker in staff.STAFF[letter]]
        lines += [f"    {'admin':<8}{'':<15}administrator of the server", ""]
    rooms = ", ".join(gated.name for gated in staff.ROOMS)
    lines += [
        f"The password of everybody is {PASSWORD}",
        "",
        "Sign in with Element, in a browser (https://app.element.io) or on the desktop: \"Sign in\", edit the homeserver, enter",
        "its address from above, then a name and the password. For a second person take a private window.",
        "",
        f"Rooms of hospital A that require roles: {rooms}. In Element: \"Explore rooms\".",
        "",
        "Administrators, in another terminal:",
    ]
    lines += [f"    {hospital.directory}/admin roles list" for hospital in hospitals.values()]
    lines += [
        "",
        "What to try, step by step: docs/demo.md.",
        f"Stop with Ctrl-C. Everything is kept in {directory}; \"make demo-reset\" deletes it.",
        "",
    ]
    print("\n".join(lines), flush=True)


def run(directory, binary):
    directory = pathlib.Path(directory)
    alone = Alone(directory)
    complete = directory / "complete"
    if not complete.exists():
        # What was begun and not finished is nobody's yet.
        shutil.rmtree(directory)
        directory.mkdir(mode=0o700)
    hospitals = make_hospitals(directory, binary, PORTS, moved=False)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        if not complete.exists():
            print("Making hospitals, people and rooms ...", flush=True)
            for hospital in hospitals.values():
                hospital.make_administrator()
            start(hospitals)
            staff.settle(hospitals)
            complete.touch()
        else:
            start(hospitals)
        page(hospitals, directory)
        while not ended.wait(1):
            for hospital in hospitals.values():
                if hospital.process.poll() is not None:
                    raise Failure(f"{hospital.kind} ended by itself\n{hospital.log_tail()}")
    finally:
        for hospital in hospitals.values():
            hospital.stop()
        alone.lock.close()
    print("Stopped.")
    return 0


def reset(directory):
    directory = pathlib.Path(directory)
    alone = Alone(directory)
    shutil.rmtree(directory)
    alone.lock.close()
    os.unlink(alone.lock.name)
    print(f"Deleted {directory}.")
    return 0


def check(binary):
    root = pathlib.Path(tempfile.mkdtemp(prefix="wardroom-demo-"))
    ports = {letter: (free_port(), free_port()) for letter in PORTS}
    hospitals = make_hospitals(root, binary, ports, moved=True)

    def steps():
        for hospital in hospitals.values():
            hospital.make_administrator()
        start(hospitals)
        staff.settle(hospitals)
        return walk.Walk(hospitals).steps()

    return run_scenario(root, list(hospitals.values()), steps)


def main(action, *arguments):
    try:
        return {"run": run, "reset": reset, "check": check}[action](*arguments)
    except Failure as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
