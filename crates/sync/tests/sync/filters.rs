//! What filters let through.

use std::time::Duration;

use ruma::events::room::message::RoomMessageEventContent;
use serde_json::{Value, json, value::to_raw_value};
use wardroom_accounts::DataScope;
use wardroom_sync::{FilterChoice, SyncError, SyncRequest};

use crate::ward::{Ward, bodies, events, joined, run, types};

#[test]
fn rooms_senders_and_types_are_chosen() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let (room, other) = (ward.room(&alice, &[&bob]).await, ward.room(&alice, &[&bob]).await);
        let token = ward.token(&bob).await;
        for room in [&room, &other] {
            ward.say(&alice, room, "by alice").await;
            ward.say(&bob, room, "by bob").await;
            ward.set(&alice, room, "m.room.topic", "", json!({ "topic": "t" })).await;
        }
        let only = ward.sync_with(&bob, Some(&token), json!({ "room": { "rooms": [room] } })).await;
        assert!(!joined(&only, &room).is_null() && joined(&only, &other).is_null());
        let not = ward.sync_with(&bob, Some(&token), json!({ "room": { "not_rooms": [room] } })).await;
        assert!(joined(&not, &room).is_null() && !joined(&not, &other).is_null());

        let timeline = |filter: Value| json!({ "room": { "timeline": filter } });
        let by_bob = ward.sync_with(&bob, Some(&token), timeline(json!({ "senders": [bob.id()] }))).await;
        assert_eq!(bodies(joined(&by_bob, &room)), ["by bob"]);
        assert_eq!(types(joined(&by_bob, &room), "state"), ["m.room.topic"], "state is told one way or the other");
        let messages = ward.sync_with(&bob, Some(&token), timeline(json!({ "types": ["m.room.mess*"] }))).await;
        assert_eq!(bodies(joined(&messages, &room)), ["by alice", "by bob"]);
        let none = json!({ "room": { "timeline": { "types": [] }, "state": { "types": [] } } });
        let none = ward.sync_with(&bob, Some(&token), none).await;
        assert!(none["rooms"].is_null(), "{none}");
        let elsewhere = ward.sync_with(&bob, Some(&token), timeline(json!({ "not_rooms": [room] }))).await;
        assert_eq!(bodies(joined(&elsewhere, &room)), [""; 0]);
        assert_eq!(bodies(joined(&elsewhere, &other)).len(), 3);
    });
}

#[test]
fn a_stored_filter_is_found_by_its_id() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[]).await;
        let definition = serde_json::from_value(json!({ "room": { "timeline": { "limit": 1 } } })).unwrap();
        let id = ward.accounts.create_filter(alice.0.nid, &definition).await.unwrap();
        let ask = |id: String| SyncRequest { filter: Some(FilterChoice::Stored(id)), ..SyncRequest::default() };
        let answer = ward.ask(&alice, ask(id.clone())).await.unwrap();
        assert_eq!(bodies(joined(&answer, &room)), ["m.room.name"]);
        assert!(matches!(ward.ask(&bob, ask(id)).await, Err(SyncError::UnknownFilter)), "of others");
        assert!(matches!(ward.ask(&bob, ask("x".to_owned())).await, Err(SyncError::UnknownFilter)));
        assert!(matches!(ward.ask(&bob, ask("{\"room\":1}".to_owned())).await, Err(SyncError::BadFilter(_))));
    });
}

#[test]
fn fields_and_format_are_chosen() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let room = ward.room(&alice, &[]).await;
        let token = ward.token(&alice).await;
        let content = to_raw_value(&RoomMessageEventContent::text_plain("hi")).unwrap();
        ward.rooms.send(alice.actor(), &room, "m.room.message", content, None).await.unwrap();
        let fields = json!({ "event_fields": ["content.body", "type"] });
        let answer = ward.sync_with(&alice, Some(&token), fields).await;
        let expected = json!({ "type": "m.room.message", "content": { "body": "hi" } });
        assert_eq!(events(joined(&answer, &room), "timeline"), [expected]);
        let answer = ward.sync_with(&alice, Some(&token), json!({ "event_format": "federation" })).await;
        let event = &events(joined(&answer, &room), "timeline")[0];
        assert!(event["hashes"].is_object() && event["room_id"] == room.as_str());
        assert!(event["event_id"].as_str().is_some_and(|id| id.starts_with('$')), "{event}");
    });
}

#[test]
fn account_data_is_told_when_it_changes() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let (tablet, room) = (ward.device_of(alice.id()).await, ward.room(&alice, &[]).await);
        let view = ward.rooms.view(&room).await.unwrap().unwrap();
        let token = ward.token(&tablet).await;
        let content = to_raw_value(&json!({ "a": 1 })).unwrap();
        let scope = DataScope::Room(view.nid.get());
        ward.accounts.set_account_data(alice.0.nid, DataScope::Global, "org.example.x", &content).await.unwrap();
        ward.accounts.set_account_data(alice.0.nid, scope, "org.example.y", &content).await.unwrap();
        ward.accounts.set_tag(alice.0.nid, view.nid.get(), "m.favourite", &content).await.unwrap();
        let answer = ward.sync(&tablet, Some(&token)).await;
        assert_eq!(events(&answer, "account_data"), [json!({ "type": "org.example.x", "content": { "a": 1 } })]);
        assert_eq!(types(joined(&answer, &room), "account_data"), ["org.example.y", "m.tag"]);
        assert_eq!(bodies(joined(&answer, &room)), [""; 0]);
        assert!(ward.sync(&tablet, Some(&answer)).await["account_data"].is_null());

        let first = ward.sync(&tablet, None).await;
        assert_eq!(types(joined(&first, &room), "account_data").len(), 2);
        assert_eq!(types(&first, "account_data").len(), 2);
        let filter = json!({
            "account_data": { "not_types": ["org.*"] }, "room": { "account_data": { "types": ["m.tag"] } },
        });
        let chosen = ward.sync_with(&tablet, Some(&token), filter).await;
        assert!(chosen["account_data"].is_null());
        assert_eq!(types(joined(&chosen, &room), "account_data"), ["m.tag"]);
    });
}

#[test]
fn a_first_sync_does_not_wait() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let filter = json!({ "account_data": { "types": [] } });
        let filter = Some(FilterChoice::Inline(Box::new(serde_json::from_value(filter).unwrap())));
        let request = SyncRequest { filter, timeout: Duration::from_secs(600), ..SyncRequest::default() };
        assert!(ward.ask(&alice, request).await.unwrap()["rooms"].is_null());
    });
}
