//! Timelines, the state before them, and how events look.

use serde_json::json;

use crate::ward::{START_MS, Ward, asking, bodies, events, joined, no_state, run, types};

#[test]
fn a_first_sync_tells_rooms_with_their_state_and_account_data() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let nothing = ward.sync(&alice, None).await;
        assert_eq!(nothing["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
        assert_eq!(nothing["device_unused_fallback_key_types"], json!([]));
        assert!(nothing["rooms"].is_null() && nothing["presence"].is_null());
        assert_eq!(types(&nothing, "account_data"), ["m.push_rules"]);

        let room = ward.room(&alice, &[]).await;
        let answer = ward.sync(&alice, None).await;
        let told = joined(&answer, &room);
        let all = [
            "m.room.create",
            "m.room.member",
            "m.room.power_levels",
            "m.room.join_rules",
            "m.room.history_visibility",
            "m.room.guest_access",
            "m.room.name",
        ];
        assert_eq!(types(told, "timeline"), all, "the whole room fits in the timeline");
        assert!(no_state(told), "so there is no state before it");
        assert_eq!(told["timeline"]["limited"], false);
        assert_eq!(told["summary"], json!({ "m.joined_member_count": 1, "m.invited_member_count": 0 }));
        assert_eq!(told["unread_notifications"], json!({ "highlight_count": 0, "notification_count": 0 }));

        for number in 0..12 {
            ward.say(&alice, &room, &number.to_string()).await;
        }
        let again = ward.sync(&alice, None).await;
        let told = joined(&again, &room);
        assert_eq!(bodies(told), ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
        assert_eq!(told["timeline"]["limited"], true);
        assert_eq!(types(told, "state"), all);
    });
}

#[test]
fn a_sync_with_a_token_tells_what_came_since() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let (room, other) = (ward.room(&alice, &[&bob]).await, ward.room(&alice, &[&bob]).await);
        let token = ward.token(&bob).await;
        let idle = ward.sync(&bob, Some(&token)).await;
        assert_eq!(idle["next_batch"], token["next_batch"]);
        assert!(idle["rooms"].is_null() && idle["account_data"].is_null());

        ward.say(&alice, &room, "one").await;
        ward.clock_ms(5_000);
        ward.say(&alice, &room, "two").await;
        let answer = ward.sync(&bob, Some(&token)).await;
        let told = joined(&answer, &room);
        assert!(joined(&answer, &other).is_null());
        assert_eq!(bodies(told), ["one", "two"]);
        assert_eq!(told["timeline"]["limited"], false);
        assert!(no_state(told) && told["summary"].is_null() && events(told, "ephemeral").is_empty());
        let event = &events(told, "timeline")[0];
        assert_eq!(event["unsigned"], json!({ "age": 5_000, "membership": "join" }));
        assert_eq!(event["sender"], "@alice:a.example");
        assert_eq!(event["origin_server_ts"], START_MS + 2, "two rooms were made");
        assert!(event["room_id"].is_null(), "the room is known");
        assert!(event["event_id"].as_str().unwrap().starts_with('$'));

        assert_eq!(bodies(joined(&ward.sync(&bob, Some(&token)).await, &room)), ["one", "two"], "a retry is answered");
        assert!(ward.sync(&bob, Some(&answer)).await["rooms"].is_null());
    });
}

#[test]
fn a_gap_comes_with_the_state_that_changed_in_it() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&bob).await;
        ward.set(&alice, &room, "m.room.topic", "", json!({ "topic": "old" })).await;
        ward.set(&alice, &room, "m.room.topic", "", json!({ "topic": "new" })).await;
        ward.set(&alice, &room, "m.room.name", "", json!({ "name": "Ward 8" })).await;
        ward.say(&alice, &room, "one").await;
        ward.set(&alice, &room, "m.room.name", "", json!({ "name": "Ward 9" })).await;

        let filter = json!({ "room": { "timeline": { "limit": 2 } } });
        let answer = ward.sync_with(&bob, Some(&token), filter.clone()).await;
        let told = joined(&answer, &room);
        assert_eq!(bodies(told), ["one", "m.room.name"]);
        assert_eq!(told["timeline"]["limited"], true);
        let state: Vec<_> = events(told, "state").iter().map(|event| event["content"].clone()).collect();
        assert_eq!(state, [json!({ "topic": "new" }), json!({ "name": "Ward 8" })]);
        let name = &events(told, "timeline")[1];
        assert_eq!(name["unsigned"]["prev_content"], json!({ "name": "Ward 8" }));
        assert_eq!(told["summary"]["m.joined_member_count"], 2, "a new name is news of the summary");
        assert!(told["summary"]["m.heroes"].is_null());

        // From `prev_batch`, pagination goes on where the timeline stops.
        let from = told["timeline"]["prev_batch"].as_str().unwrap().parse().unwrap();
        let filter = ruma::api::client::filter::RoomEventFilter::default();
        let page = wardroom_rooms::Page { from: Some(from), to: None, backwards: true, limit: 2, filter: &filter };
        let page = ward.rooms.messages(bob.actor(), &room, page).await.unwrap();
        let kinds: Vec<_> = page.chunk.iter().map(|event| event.pdu.kind().to_string()).collect();
        assert_eq!(kinds, ["m.room.name", "m.room.topic"]);
    });
}

#[test]
fn the_full_state_is_told_when_asked_for() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&bob).await;
        let mut request = asking(Some(&token), None);
        request.full_state = true;
        let quiet = ward.ask(&bob, request.clone()).await.unwrap();
        assert_eq!(types(joined(&quiet, &room), "timeline"), [""; 0]);
        assert_eq!(events(joined(&quiet, &room), "state").len(), 8);

        ward.say(&alice, &room, "one").await;
        let answer = ward.ask(&bob, request).await.unwrap();
        assert_eq!(bodies(joined(&answer, &room)), ["one"]);
        assert_eq!(events(joined(&answer, &room), "state").len(), 8);
    });
}

#[test]
fn senders_get_their_transaction_ids_back_and_nobody_else_does() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let (tablet, bob) = (ward.device_of(alice.id()).await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&alice).await;
        let content = serde_json::value::to_raw_value(&json!({ "msgtype": "m.text", "body": "hi" })).unwrap();
        let transaction = Some("m1".into());
        ward.rooms.send(alice.actor(), &room, "m.room.message", content, transaction).await.unwrap();
        for (device, expected) in [(&alice, json!("m1")), (&tablet, json!(null)), (&bob, json!(null))] {
            let answer = ward.sync(device, Some(&token)).await;
            assert_eq!(events(joined(&answer, &room), "timeline")[0]["unsigned"]["transaction_id"], expected);
        }
    });
}

#[test]
fn a_redacted_event_says_by_what() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&bob).await;
        let event = ward.say(&alice, &room, "a secret").await;
        let before = ward.sync(&bob, Some(&token)).await;
        assert_eq!(bodies(joined(&before, &room)), ["a secret"]);
        ward.rooms.redact(alice.actor(), &room, &event, Some("wrong room".to_owned()), None).await.unwrap();
        let answer = ward.sync(&bob, Some(&token)).await;
        let told = events(joined(&answer, &room), "timeline");
        assert_eq!(told[0]["content"], json!({}));
        assert_eq!(told[0]["unsigned"]["redacted_because"]["content"]["reason"], "wrong room");
        assert_eq!((&told[1]["type"], &told[1]["redacts"]), (&json!("m.room.redaction"), &json!(event)));
    });
}

#[test]
fn history_is_told_as_far_as_it_is_visible() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        ward.say(&alice, &room, "shared").await;
        ward.set(&alice, &room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" })).await;
        ward.say(&alice, &room, "hidden").await;
        ward.join(&bob, &room).await;
        ward.say(&alice, &room, "seen").await;
        let answer = ward.sync(&bob, None).await;
        let told = joined(&answer, &room);
        let bodies = bodies(told);
        assert!(bodies.iter().any(|body| body == "shared") && bodies.iter().all(|body| body != "hidden"), "{bodies:?}");
        assert_eq!(bodies[bodies.len() - 2..], ["m.room.member", "seen"]);
        let shared = events(told, "timeline").iter().find(|event| event["content"]["body"] == "shared").unwrap();
        assert_eq!(shared["unsigned"]["membership"], "leave");
    });
}
