"""The walk through the demonstration, as docs/healthcare.md tells it: each step as a person does it, and the administrator."""

import json
import time

import staff
from harness import equal, expect, quote, wait_for
from hospitals import Person

# How long a role lasts that is seen to end by itself.
SHORT_MS = 4_000


class Walk:
    def __init__(self, hospitals):
        self.a, self.b = hospitals["a"], hospitals["b"]
        self.people = {}
        self.rooms = {}

    def steps(self):
        names = [
            "everybody_signs_in", "the_ward_enters", "the_clerk_is_refused", "the_clerk_reads_nothing", "it_is_told_why",
            "a_role_opens_the_door", "without_it_they_are_out", "a_partner_with_the_role_enters",
            "a_partner_without_it_does_not", "a_locum_comes_and_goes", "a_role_ends_by_itself",
            "a_stricter_policy_is_tried", "access_is_reviewed", "everything_is_there_again",
        ]
        return [(name.replace("_", " "), getattr(self, name)) for name in names]

    def person(self, name):
        return self.people[name]

    def path(self, room, rest):
        return f"v3/rooms/{quote(room)}/{rest}"

    def out(self, name, room):
        """Waits until somebody is out, and proves that they read nothing any more."""
        person = self.person(name)
        wait_for(f"{name} is out", lambda: not person.is_in(room))
        person.refused("GET", person.messages(room))

    def everybody_signs_in(self):
        for hospital, workers in [(self.a, staff.STAFF["a"]), (self.b, staff.STAFF["b"])]:
            for worker in workers:
                self.people[worker.name] = Person(hospital, worker.name)
        for gated in staff.ROOMS:
            found = self.person("petra").ask("GET", f"v3/directory/room/{quote(self.a.alias(gated.alias))}")
            self.rooms[gated.alias] = found["room_id"]
        published = self.person("nadia").ask("GET", "v3/publicRooms")["chunk"]
        equal({room["name"] for room in published}, {gated.name for gated in staff.ROOMS}, "the directory")

    def the_ward_enters(self):
        ward = self.rooms["ward-7"]
        equal(self.person("nadia").join(self.a.alias("ward-7")), ward, "the room")
        said = self.person("nadia").say(ward, "Bed 4 is ready.")
        expect(self.person("carla").sees(ward, said), "the charge nurse reads it")

    def the_clerk_is_refused(self):
        colin, ward = self.person("colin"), self.rooms["ward-7"]
        colin.refused("POST", colin.join_path(self.a.alias("ward-7")), {})
        colin.refused("POST", f"v3/knock/{quote(ward)}", {})
        self.person("carla").refused("POST", self.path(ward, "invite"), {"user_id": colin.id})

    def the_clerk_reads_nothing(self):
        colin, ward = self.person("colin"), self.rooms["ward-7"]
        for rest in ["messages?dir=b", "members", "state", "joined_members"]:
            colin.refused("GET", self.path(ward, rest))

    def it_is_told_why(self):
        alias = self.a.alias("ward-7")
        why = self.a.admin("policy", "why", "colin", "--room", alias)["rooms"][0]
        expect(why["verdict"] != "compliant" and why["missing"] == ["*@hospital-a/ward-7"], f"why: {why}")
        why = self.a.admin("policy", "why", "nadia", "--room", alias)["rooms"][0]
        equal((why["verdict"], why["membership"]), ("compliant", "join"), "why the nurse is in")

    def a_role_opens_the_door(self):
        colin, ward = self.person("colin"), self.rooms["ward-7"]
        staff.give(self.a, "colin", "clerk@hospital-a/ward-7", "covers the front desk", "--until", "8h")
        colin.join(ward)
        colin.ask("GET", colin.messages(ward))
        expect(self.person("carla").sees(ward, colin.say(ward, "Good morning.")), "the charge nurse reads it")

    def without_it_they_are_out(self):
        self.a.admin("roles", "take", "colin", "clerk@hospital-a/ward-7")
        ward = self.rooms["ward-7"]
        self.out("colin", ward)
        expect(self.person("nadia").is_in(ward), "the nurse stays")

    def a_partner_with_the_role_enters(self):
        boris, cardiology = self.person("boris"), self.rooms["cardiology"]
        published = boris.ask("GET", f"v3/publicRooms?server={quote(self.a.name)}")["chunk"]
        expect("Cardiology" in [room["name"] for room in published], "hospital B sees the directory of hospital A")
        equal(boris.join(self.a.alias("cardiology"), self.a), cardiology, "the room")
        maria, said = self.person("maria"), boris.say(cardiology, "May I refer a patient?")
        wait_for("hospital A hears hospital B", lambda: maria.sees(cardiology, said))
        answer = maria.say(cardiology, "Of course.")
        wait_for("hospital B hears hospital A", lambda: boris.sees(cardiology, answer))

    def a_partner_without_it_does_not(self):
        lena, cardiology = self.person("lena"), self.rooms["cardiology"]
        lena.refused("POST", lena.join_path(self.a.alias("cardiology"), self.a), {})
        self.person("maria").refused("POST", self.path(cardiology, "invite"), {"user_id": lena.id})
        boris, ward = self.person("boris"), self.rooms["ward-7"]
        boris.refused("POST", boris.join_path(ward, self.a), {})

    def a_locum_comes_and_goes(self):
        lena, maria, cardiology = self.person("lena"), self.person("maria"), self.rooms["cardiology"]
        role = "physician@hospital-a/cardiology"
        for hospital in (self.a, self.b):
            staff.give(hospital, lena.id, role, "locum at hospital A", "--until", "30d")
        lena.join(self.a.alias("cardiology"), self.a)
        said = lena.say(cardiology, "Hello from hospital B.")
        wait_for("hospital A hears the locum", lambda: maria.sees(cardiology, said))
        for hospital in (self.a, self.b):
            hospital.admin("roles", "take", lena.id, role)
        self.out("lena", cardiology)
        members = lambda: maria.ask("GET", self.path(cardiology, "joined_members"))["joined"]
        wait_for("hospital A knows that the locum is out", lambda: lena.id not in members())
        lena.refused("POST", lena.join_path(self.a.alias("cardiology"), self.a), {})

    def a_role_ends_by_itself(self):
        james, on_call = self.person("james"), self.rooms["on-call"]
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + SHORT_MS / 1_000))
        staff.give(self.a, "james", "on-call@hospital-a", "covers until then", "--until", until)
        status, answer = james.request("POST", james.join_path(on_call), {})
        expect(status in (200, 403), f"while the role lasts: {status} {answer}")
        self.out("james", on_call)
        expect(self.person("maria").is_in(on_call), "who is on call stays")

    def a_stricter_policy_is_tried(self):
        stricter = json.dumps(staff.any_of("charge-nurse@hospital-a/ward-7"))
        tried = self.a.admin("policy", "evaluate", self.a.alias("ward-7"), "--policy", "-", given=stricter)
        verdicts = {one["user_id"]: one["verdict"] for one in tried["results"]}
        equal(verdicts[self.person("carla").id], "compliant", "the charge nurse")
        equal(verdicts[self.person("nadia").id], "nonCompliant", "the nurse")
        expect(self.person("nadia").is_in(self.rooms["ward-7"]), "nothing changed")

    def access_is_reviewed(self):
        review = self.a.admin("review")
        members = {room["room_id"]: {one["user_id"]: one["verdict"] for one in room["members"]} for room in review}
        equal(set(members), set(self.rooms.values()), "the rooms of the review")
        inside = members[self.rooms["cardiology"]]
        equal(inside[self.person("boris").id], "compliant", "the partner's physician")
        verdicts = {verdict for room in members.values() for verdict in room.values()}
        equal(verdicts, {"compliant"}, "everybody who is in")
        equal(self.a.admin("revalidate")["removed"], 0, "put out by looking again")

    def everything_is_there_again(self):
        for hospital in (self.a, self.b):
            hospital.stop()
            hospital.start()
        for name, room in [("nadia", "ward-7"), ("boris", "cardiology")]:
            expect(self.person(name).is_in(self.rooms[room]), f"{name} is in {room}")
        self.out("colin", self.rooms["ward-7"])
        said = self.person("maria").say(self.rooms["cardiology"], "Good morning.")
        wait_for("hospital B hears", lambda: self.person("boris").sees(self.rooms["cardiology"], said))
