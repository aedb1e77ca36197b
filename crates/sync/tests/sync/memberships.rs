//! Coming, going, being asked in and being put out.

use ruma::OwnedRoomId;
use serde_json::{Value, json};
use wardroom_rooms::{MemberProfile, Preset};

use crate::ward::{Person, Ward, asking, bodies, events, joined, left, members, new_room, no_state, run, types};

async fn invite(ward: &Ward, by: &Person, room: &OwnedRoomId, whom: &Person) {
    ward.rooms.invite(by.actor(), room, whom.id(), MemberProfile::default(), None).await.unwrap();
}

fn invited<'a>(answer: &'a Value, room: &OwnedRoomId) -> &'a Value {
    &answer["rooms"]["invite"][room.as_str()]
}

#[test]
fn an_invitation_is_told_once_with_what_one_may_know() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        let token = ward.token(&bob).await;
        invite(&ward, &alice, &room, &bob).await;
        let answer = ward.sync(&bob, Some(&token)).await;
        let state = invited(&answer, &room)["invite_state"]["events"].as_array().unwrap();
        let create = state.iter().find(|event| event["type"] == "m.room.create").unwrap();
        assert!(create["event_id"].is_null(), "stripped");
        let own = state.iter().find(|event| event["state_key"] == bob.id().as_str()).unwrap();
        assert_eq!(own["content"]["membership"], "invite");
        assert!(joined(&answer, &room).is_null() && left(&answer, &room).is_null());

        ward.say(&alice, &room, "not for bob yet").await;
        let quiet = ward.sync(&bob, Some(&answer)).await;
        assert!(quiet["rooms"].is_null(), "{quiet}");
        assert!(!invited(&ward.sync(&bob, None).await, &room).is_null(), "a first sync tells open invitations");
    });
}

#[test]
fn a_new_member_is_told_the_room_as_in_a_first_sync() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        for number in 0..12 {
            ward.say(&alice, &room, &number.to_string()).await;
        }
        let (of_alice, of_bob) = (ward.token(&alice).await, ward.token(&bob).await);
        invite(&ward, &alice, &room, &bob).await;
        let asked = ward.sync(&bob, Some(&of_bob)).await;
        ward.join(&bob, &room).await;
        let answer = ward.sync(&bob, Some(&asked)).await;
        let told = joined(&answer, &room);
        assert!(invited(&answer, &room).is_null());
        assert_eq!(bodies(told)[8..], ["m.room.member", "m.room.member"]);
        assert_eq!(told["timeline"]["limited"], true);
        assert_eq!(types(told, "state")[0], "m.room.create");
        assert_eq!(told["summary"]["m.joined_member_count"], 2);

        let seen = ward.sync(&alice, Some(&of_alice)).await;
        let seen = joined(&seen, &room);
        assert_eq!(seen["summary"]["m.joined_member_count"], 2);
        assert_eq!(members(seen, "timeline"), ["@bob:a.example", "@bob:a.example"]);
        assert!(no_state(seen));
    });
}

#[test]
fn leaving_is_told_with_what_came_before_it_and_nothing_after() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&bob).await;
        ward.say(&alice, &room, "before").await;
        ward.leave(&bob, &room).await;
        ward.say(&alice, &room, "after").await;
        ward.set(&alice, &room, "m.room.name", "", json!({ "name": "New" })).await;
        let answer = ward.sync(&bob, Some(&token)).await;
        let told = left(&answer, &room);
        assert!(joined(&answer, &room).is_null());
        assert_eq!(bodies(told), ["before", "m.room.member"]);
        assert_eq!(events(told, "timeline")[1]["unsigned"]["membership"], "leave");
        assert!(no_state(told));

        ward.say(&alice, &room, "later").await;
        assert!(ward.sync(&bob, Some(&answer)).await["rooms"].is_null());
        assert!(ward.sync(&bob, None).await["rooms"].is_null(), "a first sync leaves left rooms out");
        let filter = json!({ "room": { "include_leave": true } });
        let archive = ward.sync_with(&bob, None, filter.clone()).await;
        let bodies = bodies(left(&archive, &room));
        assert_eq!(bodies[bodies.len() - 2..], ["before", "m.room.member"]);
        let again = ward.sync_with(&bob, Some(&archive), filter.clone()).await;
        assert!(again["rooms"].is_null());

        ward.rooms.forget(bob.actor(), &room).await.unwrap();
        assert!(ward.sync_with(&bob, None, filter).await["rooms"].is_null(), "forgotten");
        assert!(ward.sync(&bob, Some(&token)).await["rooms"].is_null(), "forgotten");
    });
}

#[test]
fn a_ban_after_leaving_is_told_alone() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        ward.leave(&bob, &room).await;
        let token = ward.token(&bob).await;
        ward.say(&alice, &room, "not for bob").await;
        ward.rooms.ban(alice.actor(), &room, bob.id(), Some("noise".to_owned())).await.unwrap();
        let answer = ward.sync(&bob, Some(&token)).await;
        let told = left(&answer, &room);
        assert_eq!(events(told, "timeline").len(), 1, "{told}");
        assert_eq!(events(told, "timeline")[0]["content"], json!({ "membership": "ban", "reason": "noise" }));
    });
}

#[test]
fn the_end_of_an_invitation_is_told() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        invite(&ward, &alice, &room, &bob).await;
        let token = ward.token(&bob).await;
        ward.say(&alice, &room, "not for bob").await;
        ward.leave(&bob, &room).await;
        let answer = ward.sync(&bob, Some(&token)).await;
        let told = left(&answer, &room);
        assert_eq!(members(told, "timeline"), [bob.id().as_str()]);
        assert_eq!(events(told, "timeline").len(), 1);
        assert!(no_state(told));
    });
}

#[test]
fn a_knock_is_told_until_it_is_answered() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let mut new = new_room(Some("Knock"));
        new.preset = Preset::PrivateChat;
        let rule = serde_json::value::to_raw_value(&json!({ "join_rule": "knock" })).unwrap();
        new.initial_state = vec![("m.room.join_rules".to_owned(), String::new(), rule)];
        let room = ward.rooms.create(alice.actor(), new).await.unwrap();
        let token = ward.token(&bob).await;
        ward.rooms.knock(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        let answer = ward.sync(&bob, Some(&token)).await;
        let state = &answer["rooms"]["knock"][room.as_str()]["knock_state"]["events"];
        assert!(state.as_array().unwrap().iter().any(|event| event["type"] == "m.room.create"));
        ward.rooms.kick(alice.actor(), &room, bob.id(), None).await.unwrap();
        let refused = ward.sync(&bob, Some(&answer)).await;
        assert_eq!(members(left(&refused, &room), "timeline"), [bob.id().as_str()]);
    });
}

#[test]
fn who_leaves_and_comes_back_between_two_syncs_misses_nothing() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        ward.say(&alice, &room, "told before").await;
        let token = ward.token(&bob).await;
        ward.leave(&bob, &room).await;
        ward.set(&alice, &room, "m.room.name", "", json!({ "name": "New" })).await;
        ward.join(&bob, &room).await;
        let answer = ward.sync(&bob, Some(&token)).await;
        let told = joined(&answer, &room);
        assert_eq!(bodies(told), ["m.room.member", "m.room.name", "m.room.member"], "each once");
        assert!(types(told, "state").contains(&"m.room.create".to_owned()), "and the whole state");
    });
}

#[test]
fn rooms_without_a_name_come_with_heroes() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob, carol) = (ward.person("alice").await, ward.person("bob").await, ward.person("carol").await);
        let room = ward.rooms.create(alice.actor(), new_room(None)).await.unwrap();
        ward.join(&carol, &room).await;
        let token = ward.token(&alice).await;
        assert_eq!(joined(&token, &room)["summary"]["m.heroes"], json!([carol.id()]));
        invite(&ward, &alice, &room, &bob).await;
        let asked = ward.sync(&alice, Some(&token)).await;
        let summary = json!({
            "m.heroes": [carol.id(), bob.id()], "m.joined_member_count": 2, "m.invited_member_count": 1,
        });
        assert_eq!(joined(&asked, &room)["summary"], summary);

        let profile = MemberProfile { displayname: Some("Carol".to_owned()), avatar_url: None };
        ward.rooms.update_profile(carol.actor(), &profile).await.unwrap();
        let renamed = ward.sync(&alice, Some(&asked)).await;
        assert_eq!(members(joined(&renamed, &room), "timeline"), [carol.id().as_str()]);
        assert!(joined(&renamed, &room)["summary"].is_null(), "a new display name is none of its news");

        ward.leave(&carol, &room).await;
        ward.leave(&bob, &room).await;
        let alone = ward.sync(&alice, Some(&renamed)).await;
        let heroes = &joined(&alone, &room)["summary"]["m.heroes"];
        assert_eq!(*heroes, json!([carol.id(), bob.id()]), "those who were");
    });
}

#[test]
fn a_wide_open_token_is_no_error() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        ward.room(&alice, &[]).await;
        let future = json!({ "next_batch": format!("s{}", u64::MAX) });
        let answer = ward.ask(&alice, asking(Some(&future), None)).await.unwrap();
        assert!(answer["rooms"].is_null());
        let start = json!({ "next_batch": "s0" });
        let answer = ward.ask(&alice, asking(Some(&start), None)).await.unwrap();
        assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), 1);
    });
}
