//! Asking other servers, and what of their answers is believed.

use wardroom_testkit::{
    Actor as _, Peer, Value, json,
    peer::{Answer, Asked, Key, now_ms},
    v3, wait_until,
};

use super::{PATH, Shared, THEIRS, signs};
use crate::{SOON, admin::own, federation::sites::Site};

#[test]
fn people_of_a_partner_come_in_with_what_their_server_says() {
    let shared = Shared::start();
    let Shared { site, admin, peer, alice, room } = &shared;
    let carol = peer.user("carol");
    shared.make_join(&carol).refused(403, "M_FORBIDDEN");
    let bob = shared.bob();
    assert_eq!(shared.asked_about(&bob), 1, "for the whole handshake");
    let taken = crate::audit::records(admin, &[("act", "federation.receive"), ("user_id", &bob)]);
    let taken = taken.iter().filter(|record| record["on"]["detail"] == "attestation" && record["outcome"] == 0);
    assert_eq!(taken.count(), 1, "what is taken is recorded");
    let asked = peer.asked(PATH).into_iter().find(|asked| asked.segments().last() == Some(&bob)).unwrap();
    assert_eq!(asked.parameters("room_id"), [room.as_str()]);
    assert!(asked.authorization.starts_with("X-Matrix "), "{}", asked.authorization);
    let said = peer.say(&site.server, room, &bob, "here");
    assert_eq!(alice.try_event(room, &said).status, 200);

    assert_eq!(shared.believed(&bob), [THEIRS]);
    let access = admin.get(own(&["users", &bob, "access"]).query("room_id", room)).ok();
    assert_eq!(access["rooms"][0]["verdict"], "compliant", "{access}");
    let listed = admin.get(own(&["attestations"]).query("server", peer.name())).ok();
    assert_eq!((&listed["received"][0]["user_id"], &listed["received"][0]["roles"]), (&json!(bob), &json!([THEIRS])));
    assert_eq!(listed["handed_out"], json!([]));
    assert_eq!(admin.get(own(&["attestations"]).query("server", "else.example")).ok()["received"], json!([]));
    // What is not asked about the room's own requirement is not asked at all, and a refusal is remembered.
    shared.make_join(&carol).refused(403, "M_FORBIDDEN");
    assert_eq!(shared.asked_about(&carol), 1);
    // Rooms that do not let that server vouch are not opened by its word.
    let other = alice.create_room(json!({ "preset": "public_chat", "room_version": "11" }));
    admin.put(own(&["rooms", &other, "policy"]), super::policy(&["physician@h1", THEIRS])).ok();
    let template = wardroom_testkit::Target::federation_v1(&["make_join", &other, &bob]).query("ver", "11");
    peer.ask(&site.server, "GET", &template, None).refused(403, "M_FORBIDDEN");
}

#[test]
fn what_cannot_be_believed_opens_nothing() {
    let shared = Shared::start();
    let Shared { site, peer, .. } = &shared;
    type Wrong = fn(&mut Value);
    let wrong: [(&str, Wrong); 12] = [
        ("expired", |word| {
            word["iat"] = json!(now_ms() - 10_000);
            word["exp"] = json!(now_ms() - 1_000);
        }),
        ("early", |word| {
            word["iat"] = json!(now_ms() + 6 * 60_000);
            word["exp"] = json!(now_ms() + 60 * 60_000);
        }),
        ("long", |word| word["exp"] = json!(now_ms() + 25 * 3_600_000)),
        ("audience", |word| word["aud"] = json!("else.example")),
        ("room", |word| word["room_id"] = json!("!else:else.example")),
        ("organisation", |word| word["org"] = json!("else.example")),
        ("somebody-else", |word| {
            word["asked"] = word["sub"].take();
            word["sub"] = json!("@somebody:else.example");
        }),
        ("colleague", |word| {
            let asked = word["sub"].take();
            word["sub"] = json!(asked.as_str().unwrap().replace("@colleague", "@else"));
            word["asked"] = asked;
        }),
        ("unvouched", |word| word["roles"] = json!(["nurse@h2/cardiology", "physician@h1"])),
        ("no-role", |word| word["roles"] = json!(["physician"])),
        ("nothing", |word| word["roles"] = json!([])),
        ("nameless", |word| word["jti"] = json!("")),
    ];
    for (name, change) in wrong {
        let user = peer.user(name);
        let mut word = shared.word(&user, &[THEIRS]);
        change(&mut word);
        shared.says(word);
        let refused = shared.make_join(&user);
        assert_eq!(refused.status, 403, "{name}: {}", refused.json());
        assert_eq!(shared.asked_about(&user), 1, "{name}");
    }
    let other = Key::generate(peer.key().id.trim_start_matches("ed25519:"));
    let (unknown, name) = (Key::generate("unknown"), peer.name());
    type Sign = Box<dyn Fn(&mut Value)>;
    let signatures: [(&str, Sign); 4] = [
        ("forged", Box::new(signs(&other, name))),
        ("unknown-key", Box::new(signs(&unknown, name))),
        ("another-server", Box::new(signs(peer.key(), site.name()))),
        ("unsigned", Box::new(|_| {})),
    ];
    for (name, sign) in signatures {
        let user = peer.user(name);
        shared.says_signed(shared.word(&user, &[THEIRS]), sign);
        assert_eq!(shared.make_join(&user).status, 403, "{name}");
    }
    peer.on(PATH, |_| Answer::bytes(200, "application/json", vec![b' '; 1 << 20]));
    shared.make_join(&peer.user("long-winded")).refused(403, "M_FORBIDDEN");
}

#[test]
fn a_key_that_was_replaced_signs_nothing_any_more() {
    let (site, peer, old) = (Site::start(), Peer::start(), Key::generate("old"));
    let mut document = peer.key_document();
    document["old_verify_keys"][&old.id] = json!({ "key": old.public(), "expired_ts": now_ms() + 3_600_000 });
    document.as_object_mut().unwrap().remove("signatures");
    peer.key().sign_json(peer.name(), &mut document);
    peer.on("/key/v2/server", move |_| Answer::ok(&document));
    let shared = Shared::of(site, peer);
    let eve = shared.peer.user("eve");
    shared.says_signed(shared.word(&eve, &[THEIRS]), signs(&old, shared.peer.name()));
    shared.make_join(&eve).refused(403, "M_FORBIDDEN");
    assert_eq!(shared.asked_about(&eve), 1);
    shared.bob();
}

#[test]
fn a_word_is_not_another_one_under_the_same_id() {
    let shared = Shared::start();
    let (bob, eve) = (shared.peer.user("bob"), shared.peer.user("eve"));
    for user in [&bob, &eve] {
        let mut word = shared.word(user, &[THEIRS]);
        word["jti"] = json!("the same");
        shared.says(word);
    }
    shared.peer.join(&shared.site.server, &shared.room, &bob);
    shared.make_join(&eve).refused(403, "M_FORBIDDEN");
    assert_eq!(shared.asked_about(&eve), 1);
}

#[test]
fn a_server_that_does_not_answer_keeps_its_people_out_and_nobody_else() {
    let shared = Shared::start();
    let Shared { site, peer, alice, room, .. } = &shared;
    peer.on(PATH, |_| Answer::never());
    let (dave, joining) = (peer.user("dave"), std::sync::atomic::AtomicBool::new(true));
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| {
            let answer = shared.make_join(&dave);
            joining.store(false, std::sync::atomic::Ordering::SeqCst);
            answer
        });
        wait_until("the question", SOON, || (shared.asked_about(&dave) > 0).then_some(()));
        alice.say(room, "the room does not wait");
        answer.join().unwrap().refused(403, "M_FORBIDDEN");
    });
    assert!(!joining.load(std::sync::atomic::Ordering::SeqCst));
    let carol = site.user("carol");
    super::give(&shared.admin, &carol.id, &["physician@h1"]);
    carol.join(room);
}

#[test]
fn whoever_is_invited_or_knocks_is_asked_about() {
    let shared = Shared::start();
    let Shared { site, peer, alice, room, .. } = &shared;
    let (bob, carol) = (peer.user("bob"), peer.user("carol"));
    shared.says(shared.word(&bob, &[THEIRS]));
    let invite = |user: &str| alice.post(v3(&["rooms", room, "invite"]), json!({ "user_id": user }));
    invite(&carol).refused(403, "M_FORBIDDEN");
    invite(&bob).ok();
    assert_eq!((shared.asked_about(&bob), shared.asked_about(&carol)), (1, 1));
    assert_eq!(peer.invites().len(), 1);
    alice.set_state(room, "m.room.join_rules", "", json!({ "join_rule": "knock" }));
    let (dave, knock) = (peer.user("dave"), |user: &str| {
        let target = wardroom_testkit::Target::federation_v1(&["make_knock", room, user]).query("ver", "11");
        peer.ask(&site.server, "GET", &target, None)
    });
    knock(&carol).refused(403, "M_FORBIDDEN");
    shared.says(shared.word(&dave, &[THEIRS]));
    knock(&dave).ok();
}

#[test]
fn members_whose_server_may_vouch_from_now_on_are_asked_about_before_they_go() {
    let shared = Shared::open(Site::start(), Peer::start());
    let Shared { site, peer, room, .. } = &shared;
    let (bob, carol) = (peer.user("bob"), peer.user("carol"));
    peer.join(&site.server, room, &bob);
    peer.join(&site.server, room, &carol);
    shared.says(shared.word(&bob, &[THEIRS]));
    assert_eq!(shared.asked_about(&bob), 0);
    shared.govern(json!({ peer.name(): ["physician@h2/*"] }));
    shared.until_out(&carol);
    wait_until("bob is believed", SOON, || (shared.believed(&bob) == [THEIRS]).then_some(()));
    assert_eq!(shared.look_at(&bob)["unmet"], 0);
    assert!(shared.is_in(&bob));
}

#[test]
fn what_was_said_outlives_a_restart_and_is_asked_for_anew_before_it_ends() {
    let mut shared = Shared::start();
    let bob = shared.bob();
    let carol = shared.peer.user("carol");
    let mut short = shared.word(&carol, &[THEIRS]);
    short["exp"] = json!(now_ms() + 16_000);
    shared.says(short);
    shared.peer.join(&shared.site.server, &shared.room, &carol);
    shared.says(shared.word(&carol, &[THEIRS]));
    wait_until("it is renewed", SOON, || (shared.asked_about(&carol) > 1).then_some(()));
    shared.peer.on(PATH, |_: &Asked| Answer::error(500, "M_UNKNOWN"));
    shared.site.server.kill9();
    shared.site.start_again();
    for user in [&bob, &carol] {
        assert_eq!(shared.believed(user), [THEIRS]);
        assert_eq!(shared.look_at(user)["unmet"], 0);
    }
    assert_eq!(shared.asked_about(&bob), 1);
}

#[test]
fn what_ends_without_an_answer_is_lost_and_administrators_hear_of_it_before() {
    let shared = Shared::start();
    let carol = shared.peer.user("carol");
    let mut short = shared.word(&carol, &[THEIRS]);
    short["exp"] = json!(now_ms() + 16_000);
    shared.says(short);
    shared.peer.join(&shared.site.server, &shared.room, &carol);
    shared.peer.on(PATH, |_: &Asked| Answer::error(500, "M_UNKNOWN"));
    let alarm = wait_until("the alarm", SOON, || {
        let alarms = shared.admin.get(own(&["alarms"])).ok();
        let silent = alarms["alarms"].as_array().unwrap().iter();
        silent.clone().find(|alarm| alarm["kind"] == "partner_silent").cloned()
    });
    assert!(alarm["sentence"].as_str().unwrap().contains(shared.peer.name()), "{alarm}");
    shared.until_out(&carol);
}
