//! Typing and receipts.

use std::time::Duration;

use ruma::{
    EventId, RoomId,
    events::receipt::{ReceiptThread, ReceiptType},
};
use serde_json::json;

use crate::ward::{Person, START_MS, Ward, events, joined, run, types};

async fn read(ward: &Ward, who: &Person, room: &RoomId, kind: ReceiptType, event: &EventId, thread: ReceiptThread) {
    ward.rooms.set_receipt(who.actor(), room, &kind, event, &thread).await.unwrap();
}

#[test]
fn typing_is_told_while_it_lasts() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let token = ward.token(&bob).await;
        assert!(events(joined(&token, &room), "ephemeral").is_empty());
        ward.rooms.set_typing(alice.actor(), &room, Some(Duration::from_secs(30))).await.unwrap();
        let answer = ward.sync(&bob, Some(&token)).await;
        let typing = [json!({ "type": "m.typing", "content": { "user_ids": [alice.id()] } })];
        assert_eq!(events(joined(&answer, &room), "ephemeral"), typing);
        assert_eq!(events(joined(&ward.sync(&bob, None).await, &room), "ephemeral"), typing);
        assert!(ward.sync(&bob, Some(&answer)).await["rooms"].is_null());
        ward.rooms.set_typing(alice.actor(), &room, None).await.unwrap();
        let ended = ward.sync(&bob, Some(&answer)).await;
        let nobody = json!({ "type": "m.typing", "content": { "user_ids": [] } });
        assert_eq!(events(joined(&ended, &room), "ephemeral"), [nobody]);
        let filter = json!({ "room": { "ephemeral": { "not_types": ["m.typing"] } } });
        assert!(ward.sync_with(&bob, Some(&answer), filter).await["rooms"].is_null());
    });
}

#[test]
fn receipts_are_told_and_private_ones_to_their_user_alone() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let (first, second) = (ward.say(&alice, &room, "1").await, ward.say(&alice, &room, "2").await);
        let token = ward.token(&bob).await;
        read(&ward, &bob, &room, ReceiptType::Read, &first, ReceiptThread::Unthreaded).await;
        read(&ward, &bob, &room, ReceiptType::Read, &first, ReceiptThread::Main).await;
        read(&ward, &bob, &room, ReceiptType::ReadPrivate, &second, ReceiptThread::Unthreaded).await;

        let own = ward.sync(&bob, Some(&token)).await;
        let unthreaded = json!({ "type": "m.receipt", "content": {
            first.as_str(): { "m.read": { bob.id(): { "ts": START_MS + 1 } } },
            second.as_str(): { "m.read.private": { bob.id(): { "ts": START_MS + 1 } } },
        } });
        let main = json!({ "type": "m.receipt", "content": {
            first.as_str(): { "m.read": { bob.id(): { "ts": START_MS + 1, "thread_id": "main" } } },
        } });
        assert_eq!(events(joined(&own, &room), "ephemeral"), [unthreaded, main], "an event for each thread");

        let seen = ward.sync(&alice, Some(&token)).await;
        let text = joined(&seen, &room).to_string();
        assert!(text.contains("m.read") && !text.contains("m.read.private") && !text.contains(second.as_str()));
        let seen = ward.sync(&alice, None).await;
        assert!(!joined(&seen, &room)["ephemeral"].to_string().contains("m.read.private"));
        assert_eq!(types(joined(&ward.sync(&bob, None).await, &room), "ephemeral").len(), 2);
    });
}

#[test]
fn a_private_receipt_wakes_no_one_elses_news() {
    run(async {
        let ward = Ward::new().await;
        let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
        let room = ward.room(&alice, &[&bob]).await;
        let event = ward.say(&alice, &room, "1").await;
        let token = ward.token(&alice).await;
        read(&ward, &bob, &room, ReceiptType::ReadPrivate, &event, ReceiptThread::Unthreaded).await;
        assert!(ward.sync(&alice, Some(&token)).await["rooms"].is_null());
    });
}
