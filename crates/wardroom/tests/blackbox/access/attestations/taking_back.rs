//! Roles that their server takes back.

use wardroom_testkit::{Config, FaultProxy, Peer, json, peer::Answer, wait_until};

use super::{PATH, Shared, THEIRS, revoked};
use crate::{
    SOON,
    access::{give, policy},
    admin::{admin_of, own},
    federation::sites::{Site, join_via, sees},
};
use wardroom_testkit::Actor as _;

#[test]
fn what_a_server_takes_back_is_gone() {
    let shared = Shared::start();
    let Shared { site, peer, .. } = &shared;
    let (bob, carol) = (shared.bob(), shared.bob());
    shared.says(shared.word(&bob, &[]));
    peer.send(&site.server, &[], &[revoked(&bob, &[THEIRS])]).ok();
    shared.until_out(&bob);
    assert_eq!(shared.asked_about(&bob), 2);
    assert!(shared.believed(&bob).is_empty());
    // Also where it does not say what is so instead.
    peer.on(PATH, |_| Answer::error(500, "M_UNKNOWN"));
    peer.send(&site.server, &[], &[revoked(&carol, &[THEIRS])]).ok();
    shared.until_out(&carol);
}

#[test]
fn nobody_takes_back_what_another_server_says() {
    let shared = Shared::start();
    let Shared { site, peer, .. } = &shared;
    let (bob, other) = (shared.bob(), Peer::start());
    other.send(&site.server, &[], &[revoked(&bob, &[THEIRS])]).ok();
    // Nor what was said after that, nor what is not believed anyway; and junk is passed over.
    let mut early = revoked(&bob, &[THEIRS]);
    early["content"]["at"] = json!(1);
    let junk = json!({ "edu_type": "org.wardroom.role_revoked", "content": { "user_id": 7 } });
    peer.send(&site.server, &[], &[early, junk, revoked(&bob, &["nurse@h2"])]).ok();
    assert_eq!(shared.look_at(&bob)["unmet"], 0);
    assert_eq!(shared.believed(&bob), [THEIRS]);
    assert_eq!(shared.asked_about(&bob), 1);
}

#[test]
fn another_role_that_fits_keeps_somebody_in() {
    let shared = Shared::start();
    let Shared { site, peer, alice, room, .. } = &shared;
    let bob = shared.bob();
    let mut rules = policy(&["physician@h1", THEIRS, "physician@h2/surgery"]);
    rules["authorities"] = json!({ peer.name(): ["physician@h2/*"] });
    shared.admin.put(own(&["rooms", room, "policy"]), rules).ok();
    shared.says(shared.word(&bob, &["physician@h2/surgery"]));
    peer.send(&site.server, &[], &[revoked(&bob, &[THEIRS])]).ok();
    wait_until("the other role", SOON, || (shared.believed(&bob) == ["physician@h2/surgery"]).then_some(()));
    assert_eq!(shared.look_at(&bob)["unmet"], 0);
    let memberships = alice.history(room).into_iter().filter(|event| event["state_key"] == *bob);
    assert_eq!(memberships.count(), 1, "one join, and nothing after it");
}

/// Two servers that vouch for their physicians to each other.
fn hospitals() -> (Site, Site) {
    let (first, second) = (FaultProxy::start(), FaultProxy::start());
    let telling = |to: &FaultProxy, organisation: &str| {
        let literal = format!("[{{ server = \"{}\", roles = [\"physician@{organisation}\"] }}]", to.name());
        Config::default().set("roles.attest_to", &literal)
    };
    let configs = [telling(&second, "h1"), telling(&first, "h2")];
    let [one, other] = configs;
    let one = one.federating_behind(first.name());
    let other = other.federating_behind(second.name());
    (Site::new(one, Some(first)), Site::new(other, Some(second)))
}

#[test]
fn two_hospitals_share_a_room_by_role() {
    let (here, there) = hospitals();
    let (our_admin, their_admin) = (admin_of(&here.server), admin_of(&there.server));
    let (alice, bob, carol) = (here.user("alice"), there.user("bob"), there.user("carol"));
    give(&our_admin, &alice.id, &["physician@h1"]);
    give(&their_admin, &bob.id, &["physician@h2/cardiology", "chief@h2"]);
    let room = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    let mut rules = policy(&["physician@h1", "physician@h2"]);
    rules["authorities"] = json!({ here.name(): ["physician@h1"], there.name(): ["physician@h2"] });
    our_admin.put(own(&["rooms", &room, "policy"]), rules).ok();

    crate::federation::sites::try_join_via(&carol, &room, &here).refused(403, "M_FORBIDDEN");
    join_via(&bob, &room, &here);
    let (question, answer) = (alice.say(&room, "5 mg?"), bob.say(&room, "10 mg"));
    sees(&bob, &room, &question);
    sees(&alice, &room, &answer);
    let told = their_admin.get(own(&["attestations"]).query("server", here.name())).ok();
    let handed = told["handed_out"].as_array().unwrap().iter().find(|handed| handed["user_id"] == bob.id).unwrap();
    assert_eq!(handed["roles"], json!(["physician@h2/cardiology"]), "and not who is chief");

    // On the way out.
    give(&their_admin, &bob.id, &["chief@h2"]);
    wait_until("bob is out", SOON, || (!alice.members(&room, "join").contains(&bob.id)).then_some(()));
    let told = their_admin.get(own(&["attestations"]).query("server", here.name())).ok();
    let handed = told["handed_out"].as_array().unwrap().iter().find(|handed| handed["user_id"] == bob.id).unwrap();
    assert_eq!((&handed["roles"], &handed["revoked"]), (&json!([]), &json!(["physician@h2/cardiology"])));
}
