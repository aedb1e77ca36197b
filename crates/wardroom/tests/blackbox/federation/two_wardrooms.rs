//! Two Wardrooms share rooms.

use wardroom_testkit::{Actor as _, User, json, v3, wait_until};

use super::sites::{Site, VERSIONS, agree, join_via, public_room, sees};
use crate::SOON;

#[test]
fn a_room_is_joined_and_both_sides_speak() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let room = public_room(&alice, version);
        let before = alice.say(&room, "before the join");
        join_via(&bob, &room, &here);
        assert!(wardroom_testkit::has_event(&bob.history(&room), &before), "the history is fetched");
        let heard = alice.say(&room, "welcome");
        sees(&bob, &room, &heard);
        let answered = bob.say(&room, "thank you");
        sees(&alice, &room, &answered);
        let graph = agree(&room, &[&here, &there]);
        assert_eq!(graph["room_version"], version);
        assert_eq!(alice.members(&room, "join"), bob.members(&room, "join"));
    }
}

#[test]
fn an_invite_reaches_the_other_server() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let mut follower = there.server.follow(&bob);
        let body = json!({ "preset": "private_chat", "name": "Ward 7", "room_version": version });
        let room = alice.create_room(body);
        alice.invite(&room, &bob);
        let told = follower.until("the invite", SOON, |sync| sync["rooms"]["invite"][&room].is_object());
        let stripped = wardroom_testkit::events(&told["rooms"]["invite"][&room]["invite_state"]["events"]);
        assert!(stripped.iter().any(|event| event["content"]["name"] == "Ward 7"), "{stripped:?}");
        bob.join(&room);
        agree(&room, &[&here, &there]);

        // Declining one.
        let carol = there.user("carol");
        let mut follower = there.server.follow(&carol);
        alice.invite(&room, &carol);
        follower.until("the invite", SOON, |sync| sync["rooms"]["invite"][&room].is_object());
        carol.leave(&room);
        wait_until("the refusal arrives", SOON, || alice.members(&room, "leave").contains(&carol.id).then_some(()));
        agree(&room, &[&here, &there]);
    }
}

#[test]
fn edits_reactions_and_redactions_arrive() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let room = public_room(&alice, version);
        join_via(&bob, &room, &here);
        let said = bob.say(&room, "5 mg");
        sees(&alice, &room, &said);
        let edit = json!({
            "msgtype": "m.text", "body": "* 50 mg", "m.new_content": { "msgtype": "m.text", "body": "50 mg" },
            "m.relates_to": { "rel_type": "m.replace", "event_id": said },
        });
        let edit = bob.try_send(&room, "m.room.message", "edit", edit).ok();
        sees(&alice, &room, edit["event_id"].as_str().unwrap());
        let edited = alice.try_event(&room, &said).ok();
        let latest = &edited["unsigned"]["m.relations"]["m.replace"];
        assert_eq!(latest["event_id"], edit["event_id"], "{edited}");

        let reaction = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": said, "key": "👍" } });
        let reaction = alice.try_send(&room, "m.reaction", "reaction", reaction).ok();
        sees(&bob, &room, reaction["event_id"].as_str().unwrap());
        let target = wardroom_testkit::raw(&format!(
            "/_matrix/client/v1/rooms/{}/relations/{}/m.annotation",
            wardroom_testkit::encode(&room),
            wardroom_testkit::encode(&said)
        ));
        assert_eq!(bob.get(target).ok()["chunk"].as_array().unwrap().len(), 1);

        alice.redact(&room, &said);
        wait_until("the redaction is applied", SOON, || {
            bob.try_event(&room, &said).ok()["content"].as_object().unwrap().is_empty().then_some(())
        });
        agree(&room, &[&here, &there]);
    }
}

#[test]
fn a_knock_is_answered_by_an_invite() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "knock" } });
        let room = alice.create_room(json!({ "room_version": version, "initial_state": [rule] }));
        let knock = v3(&["knock", &room]).query("server_name", here.name()).query("via", here.name());
        bob.post(knock, json!({ "reason": "I am on call" })).ok();
        wait_until("the knock arrives", SOON, || alice.members(&room, "knock").contains(&bob.id).then_some(()));
        let mut follower = there.server.follow(&bob);
        alice.invite(&room, &bob);
        follower.until("the invite", SOON, |sync| sync["rooms"]["invite"][&room].is_object());
        bob.join(&room);
        agree(&room, &[&here, &there]);
    }
}

#[test]
fn members_of_another_room_may_join_a_restricted_one() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob, carol) = (here.user("alice"), there.user("bob"), there.user("carol"));
        let staff = public_room(&alice, version);
        join_via(&bob, &staff, &here);
        let allow = json!([{ "type": "m.room_membership", "room_id": staff }]);
        let rule = json!({ "join_rule": "restricted", "allow": allow });
        let rule = json!({ "type": "m.room.join_rules", "state_key": "", "content": rule });
        let room = alice.create_room(json!({ "room_version": version, "initial_state": [rule] }));
        join_via(&bob, &room, &here);
        let join = bob.state(&room, "m.room.member", &bob.id);
        assert_eq!(join["join_authorised_via_users_server"], json!(alice.id));
        let refused = super::sites::try_join_via(&carol, &room, &here);
        refused.refused(403, "M_FORBIDDEN");
        agree(&room, &[&here, &there]);
    }
}

#[test]
fn leaving_and_banning_work_across_servers() {
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob, carol) = (here.user("alice"), there.user("bob"), there.user("carol"));
        let room = public_room(&alice, version);
        join_via(&bob, &room, &here);
        join_via(&carol, &room, &here);
        carol.leave(&room);
        wait_until("the leave arrives", SOON, || alice.members(&room, "leave").contains(&carol.id).then_some(()));
        let mut follower = there.server.follow(&bob);
        alice.on_member("ban", &room, &bob).ok();
        follower.until("the ban", SOON, |sync| sync["rooms"]["leave"][&room].is_object());
        bob.try_send(&room, "m.room.message", "txn", wardroom_testkit::text("still here")).refused(403, "M_FORBIDDEN");
        super::sites::try_join_via(&bob, &room, &here).refused(403, "M_FORBIDDEN");
    }
}

#[test]
fn history_is_filled_from_the_other_side() {
    const MESSAGES: usize = 150;
    let (here, there) = (Site::start(), Site::named());
    for version in VERSIONS {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let room = public_room(&alice, version);
        let said: Vec<String> = (0..MESSAGES).map(|number| alice.say(&room, &number.to_string())).collect();
        join_via(&bob, &room, &here);
        let history = bob.history(&room);
        let seen = wardroom_testkit::event_ids(&history);
        assert_eq!(seen.iter().filter(|id| said.contains(id)).collect::<Vec<_>>(), said.iter().collect::<Vec<_>>());
        let own = wardroom_testkit::event_ids(&alice.history(&room));
        assert_eq!(seen, own, "both sides tell the same history");
    }
}

#[test]
fn an_upgrade_takes_everybody_along() {
    let (here, there) = (Site::start(), Site::named());
    for (from, to) in [("10", "11"), ("11", "12"), ("10", "12")] {
        let (alice, bob) = (here.user("alice"), there.user("bob"));
        let room = public_room(&alice, from);
        join_via(&bob, &room, &here);
        let alias = format!("#{}:{}", wardroom_testkit::unique("ward"), there.name());
        bob.put(v3(&["directory", "room", &alias]), json!({ "room_id": room })).ok();
        let upgrade = alice.post(v3(&["rooms", &room, "upgrade"]), json!({ "new_version": to })).ok();
        let new = upgrade["replacement_room"].as_str().unwrap();
        wait_until("the tombstone arrives", SOON, || {
            let reply = bob.try_state(&room, "m.room.tombstone", "");
            (reply.status == 200 && reply.json()["replacement_room"] == new).then_some(())
        });
        join_via(&bob, new, &here);
        let led = wait_until("the name leads on", SOON, || {
            let led = bob.get(v3(&["directory", "room", &alias])).ok();
            (led["room_id"] != room.as_str()).then_some(led)
        });
        assert_eq!(led["room_id"], new);
        agree(&room, &[&here, &there]);
        agree(new, &[&here, &there]);
    }
}

#[test]
fn one_that_was_away_catches_up() {
    const MESSAGES: usize = 120;
    let (here, mut there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let rooms: Vec<String> = VERSIONS.iter().map(|version| public_room(&alice, version)).collect();
    for room in &rooms {
        join_via(&bob, room, &here);
        agree(room, &[&here, &there]);
    }
    there.server.stop();
    let said: Vec<Vec<String>> =
        rooms.iter().map(|room| (0..MESSAGES).map(|number| alice.say(room, &number.to_string())).collect()).collect();
    there.start_again();
    for (room, said) in rooms.iter().zip(said) {
        sees(&bob, room, said.last().unwrap());
        agree(room, &[&here, &there]);
        let history = wardroom_testkit::event_ids(&bob.history(room));
        let missing: Vec<&String> = said.iter().filter(|id| !history.contains(id)).collect();
        assert!(missing.is_empty(), "{} of {MESSAGES} are missing", missing.len());
    }
}

#[test]
fn guests_enter_and_leave_as_the_rooms_of_others_let_them() {
    let here = Site::start();
    let there = Site::with_guests();
    let alice = here.user("alice");
    let room = public_room(&alice, "11");
    let answer = there.server.anonymous().post(v3(&["register"]).query("kind", "guest"), json!({})).ok();
    let guest = User::from_answer(there.server.http(), &answer, "");
    let join = || guest.post(v3(&["join", &room]).query("via", here.name()), json!({}));
    alice.set_state(&room, "m.room.guest_access", "", json!({ "guest_access": "forbidden" }));
    join().refused(403, "M_FORBIDDEN");
    assert!(!alice.members(&room, "join").contains(&guest.id));
    alice.set_state(&room, "m.room.guest_access", "", json!({ "guest_access": "can_join" }));
    join().ok();
    wait_until("the guest comes", SOON, || alice.members(&room, "join").contains(&guest.id).then_some(()));
    alice.set_state(&room, "m.room.guest_access", "", json!({ "guest_access": "forbidden" }));
    wait_until("the guest goes", SOON, || alice.members(&room, "leave").contains(&guest.id).then_some(()));
    assert!(alice.is_in(&room));
}
