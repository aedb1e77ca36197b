"""Who works at the two hospitals, which roles they have, and the rooms that require roles."""

import json
import tempfile
from dataclasses import dataclass

from hospitals import PASSWORD, Person


@dataclass
class Worker:
    name: str
    shown: str
    what: str
    roles: tuple = ()


STAFF = {
    "a": [
        Worker("maria", "Maria Lopez", "physician of cardiology, on call",
               ("physician@hospital-a/cardiology", "on-call@hospital-a")),
        Worker("james", "James Chen", "physician of surgery", ("physician@hospital-a/surgery",)),
        Worker("carla", "Carla Weber", "charge nurse of ward 7", ("charge-nurse@hospital-a/ward-7",)),
        Worker("nadia", "Nadia Haddad", "nurse of ward 7", ("nurse@hospital-a/ward-7",)),
        Worker("petra", "Petra Novak", "privacy officer", ("privacy-officer@hospital-a",)),
        Worker("colin", "Colin Reed", "clerk, without a role"),
    ],
    "b": [
        Worker("boris", "Boris Ivanov", "physician of cardiology", ("physician@hospital-b/cardiology",)),
        Worker("lena", "Lena Sommer", "locum, without a role"),
    ],
}

# What a hospital knows of people of the other, since it was agreed on.
PARTNERS = [("a", "b", "boris", "physician@hospital-b/cardiology")]


def any_of(*roles):
    return {"version": 1, "require": {"any_of": [{"all_of": [role]} for role in roles]}}


@dataclass
class Gated:
    alias: str
    name: str
    topic: str
    # Makes it, and has a role that it requires.
    owner: str
    policy: dict


ROOMS = [
    Gated("ward-7", "Ward 7", "Everybody who works on ward 7", "carla", any_of("unit:ward-7@hospital-a")),
    Gated("cardiology", "Cardiology", "Physicians of cardiology of both hospitals", "maria",
          any_of("physician@hospital-a/cardiology", "physician@hospital-b/cardiology")),
    Gated("on-call", "On call", "Whoever is on call now", "maria", any_of("on-call@hospital-a")),
]


def give(hospital, user, role, reason, *more):
    hospital.admin("roles", "give", user, role, "--reason", reason, *more)


def set_policy(hospital, room, policy):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(policy, file)
        file.flush()
        hospital.admin("policy", "set", room, file.name)


def make_room(hospital, gated):
    owner = Person(hospital, gated.owner)
    owner.ask("POST", "v3/createRoom", {
        "name": gated.name, "topic": gated.topic, "room_alias_name": gated.alias,
        # Whoever has the role may join by themselves, and finds it in the directory.
        "preset": "public_chat", "visibility": "public",
        "initial_state": [
            {"type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": "invited"}},
        ],
    })
    set_policy(hospital, hospital.alias(gated.alias), gated.policy)


def settle(hospitals):
    """Makes accounts, roles and rooms on two servers that know nobody but their administrators."""
    for letter, hospital in hospitals.items():
        hospital.sign_administrator_in()
        for worker in STAFF[letter]:
            hospital.admin(
                "users", "create", worker.name, "--display-name", worker.shown, "--password-file", "-",
                given=PASSWORD + "\n",
            )
            for role in worker.roles:
                give(hospital, worker.name, role, "as employed")
    for knows, of, name, role in PARTNERS:
        give(hospitals[knows], hospitals[of].id(name), role, "agreement of both hospitals")
    for gated in ROOMS:
        make_room(hospitals["a"], gated)
