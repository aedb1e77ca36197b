//! What servers say to each other about the roles of their users.

mod asking;
mod taking_back;
mod telling;

use wardroom_testkit::{
    Actor, Peer, Reply, Target, User, Value, json,
    peer::{Answer, Key, now_ms},
    unique,
};

use super::{give, policy};
use crate::{
    admin::{admin_of, own},
    federation::sites::Site,
};

/// The path of the endpoint, as far as it is the same for everybody.
const PATH: &str = "/org.wardroom/v1/attestation/";
/// A role of the partner's.
const THEIRS: &str = "physician@h2/cardiology";

/// A server with a room that is open to physicians, and a partner that may vouch for its own.
struct Shared {
    site: Site,
    admin: User,
    peer: Peer,
    alice: User,
    room: String,
}

impl Shared {
    /// A room that lets in who has a role, in which nobody of the partner is yet.
    fn start() -> Self {
        Self::of(Site::start(), Peer::start())
    }

    fn of(site: Site, peer: Peer) -> Self {
        let shared = Self::open(site, peer);
        shared.govern(json!({ shared.peer.name(): ["physician@h2/*"] }));
        shared
    }

    /// A room that everybody may come into.
    fn open(site: Site, peer: Peer) -> Self {
        let (admin, alice) = (admin_of(&site.server), site.user("alice"));
        give(&admin, &alice.id, &["physician@h1"]);
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
        Self { site, admin, peer, alice, room }
    }

    fn govern(&self, authorities: Value) {
        let mut policy = policy(&["physician@h1", THEIRS]);
        policy["authorities"] = authorities;
        self.admin.put(own(&["rooms", &self.room, "policy"]), policy).ok();
    }

    /// A word about a user of the partner's, unsigned.
    fn word(&self, user: &str, roles: &[&str]) -> Value {
        word(self.peer.name(), user, (self.site.name(), &self.room), roles)
    }

    /// Has the partner say this of a user, signed.
    fn says(&self, word: Value) {
        let (key, name) = (self.peer.key().clone(), self.peer.name().to_owned());
        self.says_signed(word, move |word| key.sign_json(&name, word));
    }

    /// In the answer to a question about the user whom the word is about, or who stands in `asked`.
    fn says_signed(&self, mut word: Value, sign: impl Fn(&mut Value)) {
        let asked = word.as_object_mut().unwrap().remove("asked");
        let user = asked.as_ref().unwrap_or(&word["sub"]).as_str().unwrap().to_owned();
        sign(&mut word);
        self.peer.script(move |asked| {
            let about = asked.segments().last().is_some_and(|segment| *segment == user);
            (about && asked.path.contains(PATH)).then(|| Answer::ok(&word))
        });
    }

    /// A user of the partner's who is in the room by its word.
    fn bob(&self) -> String {
        let bob = self.peer.user(&unique("bob"));
        self.says(self.word(&bob, &[THEIRS]));
        self.peer.join(&self.site.server, &self.room, &bob);
        bob
    }

    fn make_join(&self, user: &str) -> Reply {
        let template = Target::federation_v1(&["make_join", &self.room, user]).query("ver", "11");
        self.peer.ask(&self.site.server, "GET", &template, None)
    }

    /// How often the partner was asked about a user.
    fn asked_about(&self, user: &str) -> usize {
        let asked = self.peer.asked(PATH);
        asked.iter().filter(|asked| asked.segments().last().is_some_and(|segment| segment == user)).count()
    }

    fn is_in(&self, user: &str) -> bool {
        self.alice.members(&self.room, "join").iter().any(|member| member == user)
    }

    /// Waits until somebody is out of the room.
    fn until_out(&self, user: &str) {
        wardroom_testkit::wait_until("the end", crate::SOON, || (!self.is_in(user)).then_some(()));
    }

    /// Looks at a user, as from time to time.
    fn look_at(&self, user: &str) -> Value {
        self.admin.post(own(&["revalidate"]), json!({ "user_id": user })).ok()
    }

    /// The roles that a partner's word gives a user now.
    fn believed(&self, user: &str) -> Vec<String> {
        let shown = self.admin.get(own(&["role_bindings", user])).ok();
        let roles = shown["roles"].as_array().unwrap().iter();
        let attested = roles.filter(|role| role["source"] == "attestation");
        attested.map(|role| role["role"].as_str().unwrap().to_owned()).collect()
    }
}

/// A word of a server about one of its users to another server that asks about a room, unsigned.
fn word(server: &str, user: &str, (to, room): (&str, &str), roles: &[&str]) -> Value {
    json!({
        "sub": user, "roles": roles, "org": server, "aud": to, "room_id": room,
        "iat": now_ms(), "exp": now_ms() + 3_600_000, "jti": unique("word"),
    })
}

/// The EDU by which a server takes a role back.
fn revoked(user: &str, roles: &[&str]) -> Value {
    let content = json!({ "user_id": user, "roles": roles, "at": now_ms() });
    json!({ "edu_type": "org.wardroom.role_revoked", "content": content })
}

/// Signs as a key that its server does not name like this.
fn signs(key: &Key, name: &str) -> impl Fn(&mut Value) + use<> {
    let (key, name) = (key.clone(), name.to_owned());
    move |word| key.sign_json(&name, word)
}
