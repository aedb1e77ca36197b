//! Scheduling, sending, cancelling.

use std::time::Duration;

use ruma::{OwnedRoomId, events::StateEventType, user_id};
use serde_json::{json, value::to_raw_value};

use super::{DelayedError, NewDelayed, Outcome, Scheduled};
use crate::{
    Preset, RoomError,
    tests::{Person, World, new_room, run},
};

const LONG: Duration = Duration::from_secs(1_000);

async fn ward(world: &World) -> (Person, OwnedRoomId) {
    let alice = world.person(user_id!("@alice:a.example")).await;
    let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
    (alice, room)
}

async fn later(world: &World, who: &Person, room: &OwnedRoomId, body: &str, state_key: Option<&str>) -> String {
    let content = to_raw_value(&json!({ "body": body })).unwrap();
    let new = NewDelayed {
        kind: "org.example.note",
        state_key,
        content: &content,
        delay: LONG,
        transaction: None,
        waiting_max: 3,
    };
    match world.rooms.schedule(who.actor(), room, new).await.unwrap() {
        Scheduled::As(id) => id,
        Scheduled::Full(_) => panic!("full"),
    }
}

#[test]
fn what_is_scheduled_waits_and_is_sent_once() {
    run(async {
        let world = World::new();
        let (alice, room) = ward(&world).await;
        let id = later(&world, &alice, &room, "hello", None).await;
        let waiting = world.rooms.delayed_events(alice.actor().nid, 10).await.unwrap();
        assert_eq!((waiting.len(), waiting[0].id.as_str(), waiting[0].delay_ms), (1, id.as_str(), 1_000_000));
        world.rooms.send_delayed(&id).await.unwrap();
        world.rooms.send_delayed(&id).await.unwrap();
        assert!(world.rooms.delayed_events(alice.actor().nid, 10).await.unwrap().is_empty());
        let sent = world.rooms.delayed_event(alice.actor().nid, &id).await.unwrap();
        let Some((_, Outcome::Sent(event))) = sent.outcome else { panic!("{sent:?}") };
        let event = world.rooms.event(alice.actor(), &room, &event).await.unwrap();
        assert_eq!(event.pdu.content().get(), r#"{"body":"hello"}"#);
        for refused in [world.rooms.cancel_delayed(&id).await, world.rooms.restart_delayed(&id).await] {
            assert!(matches!(refused, Err(DelayedError::Conflict(_))));
        }
    });
}

#[test]
fn what_is_cancelled_is_never_sent() {
    run(async {
        let world = World::new();
        let (alice, room) = ward(&world).await;
        let id = later(&world, &alice, &room, "x", Some("key")).await;
        world.rooms.restart_delayed(&id).await.unwrap();
        world.rooms.cancel_delayed(&id).await.unwrap();
        world.rooms.cancel_delayed(&id).await.unwrap();
        assert!(matches!(world.rooms.send_delayed(&id).await, Err(DelayedError::Conflict(_))));
        let bob = world.person(user_id!("@bob:a.example")).await;
        assert!(matches!(world.rooms.delayed_event(bob.actor().nid, &id).await, Err(DelayedError::NotFound)));
        assert!(matches!(world.rooms.cancel_delayed("nothing").await, Err(DelayedError::NotFound)));
        let view = world.rooms.view(&room).await.unwrap().unwrap();
        let kind = StateEventType::from("org.example.note");
        assert!(world.rooms.state_event(view.nid, view.state, &kind, "key").await.unwrap().is_none());
    });
}

#[test]
fn a_user_has_so_many_at_most() {
    run(async {
        let world = World::new();
        let (alice, room) = ward(&world).await;
        let mut ids = Vec::new();
        for body in ["a", "b", "c"] {
            ids.push(later(&world, &alice, &room, body, None).await);
        }
        let content = to_raw_value(&json!({})).unwrap();
        let new = |waiting_max| NewDelayed {
            kind: "m.x",
            state_key: None,
            content: &content,
            delay: LONG,
            transaction: Some("t".into()),
            waiting_max,
        };
        let full = world.rooms.schedule(alice.actor(), &room, new(3)).await.unwrap();
        assert_eq!(full, Scheduled::Full(LONG));
        world.rooms.cancel_delayed(&ids[1]).await.unwrap();
        let first = world.rooms.schedule(alice.actor(), &room, new(3)).await.unwrap();
        assert!(matches!(first, Scheduled::As(_)));
        assert_eq!(world.rooms.schedule(alice.actor(), &room, new(3)).await.unwrap(), first, "the same transaction");
    });
}

#[test]
fn strangers_and_bad_contents_are_refused() {
    run(async {
        let world = World::new();
        let (alice, room) = ward(&world).await;
        let eve = world.person(user_id!("@eve:a.example")).await;
        let try_content = async |who: &Person, content: serde_json::Value| {
            let content = to_raw_value(&content).unwrap();
            let new = NewDelayed {
                kind: "m.x",
                state_key: None,
                content: &content,
                delay: LONG,
                transaction: None,
                waiting_max: 3,
            };
            world.rooms.schedule(who.actor(), &room, new).await
        };
        assert!(matches!(try_content(&eve, json!({})).await, Err(RoomError::Forbidden(_))));
        assert!(matches!(try_content(&alice, json!([])).await, Err(RoomError::BadContent(_))));
        assert!(matches!(try_content(&alice, json!({ "a": 1.5 })).await, Err(RoomError::BadContent(_))));
        let large = json!({ "a": "x".repeat(70_000) });
        assert!(matches!(try_content(&alice, large).await, Err(RoomError::TooLarge { .. })));
    });
}
