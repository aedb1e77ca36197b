//! What a server sees of a history.

use std::sync::Arc;

use ruma::{EventId, OwnedRoomId, events::StateEventType, server_name, user_id};
use serde_json::{json, value::to_raw_value};

use super::ServerReader;
use crate::{
    MemberProfile, Preset, RoomError,
    tests::{Person, World, new_room, run},
};

async fn say(world: &World, by: &Person, room: &OwnedRoomId, body: &str) -> ruma::OwnedEventId {
    let content = to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap();
    world.rooms.send(by.actor(), room, "m.room.message", content, None).await.unwrap()
}

async fn sees(world: &World, room: &OwnedRoomId, event: &EventId, server: &str) -> bool {
    let view = world.rooms.view(room).await.unwrap().unwrap();
    let mut reader = ServerReader::new(view, server.try_into().unwrap());
    let nid = world.rooms.engine.event_nid(event).await.unwrap().unwrap();
    let stored = world.rooms.engine.event(reader.room.nid, nid).await.unwrap().unwrap();
    let seen = world.rooms.server_sees(&mut reader, &stored).await.unwrap();
    let served = world.rooms.served(&mut reader, vec![Arc::clone(&stored)]).await.unwrap();
    assert_eq!(served[0].event_id(), event);
    assert_eq!(seen, served[0].content().get() == stored.pdu.content().get(), "whole or redacted");
    seen
}

#[test]
fn a_server_sees_what_one_of_its_users_may_see() {
    run(async {
        for visibility in ["joined", "invited", "shared", "world_readable"] {
            let world = World::new();
            let alice = world.person(user_id!("@alice:a.example")).await;
            let bob = world.person(user_id!("@bob:b.example")).await;
            let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
            let content = to_raw_value(&json!({ "history_visibility": visibility })).unwrap();
            let kind = StateEventType::RoomHistoryVisibility;
            world.rooms.set_state(alice.actor(), &room, &kind, "", content).await.unwrap();
            let before = say(&world, &alice, &room, "before").await;
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let joined = say(&world, &alice, &room, "joined").await;
            let own = say(&world, &bob, &room, "own").await;
            world.rooms.leave(bob.actor(), &room, None).await.unwrap();
            let after = say(&world, &alice, &room, "after").await;
            world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
            let again = say(&world, &alice, &room, "again").await;

            let open = matches!(visibility, "shared" | "world_readable");
            for (event, expected) in [(&before, open), (&joined, true), (&own, true), (&after, open), (&again, true)] {
                assert_eq!(sees(&world, &room, event, "b.example").await, expected, "{visibility}: {event}");
                assert_eq!(sees(&world, &room, event, "c.example").await, open, "{visibility}: {event}");
            }
        }
    });
}

#[test]
fn times_are_searched_among_what_the_server_sees() {
    run(async {
        let world = World::new();
        let alice = world.person(user_id!("@alice:a.example")).await;
        let bob = world.person(user_id!("@bob:b.example")).await;
        let room = world.rooms.create(alice.actor(), new_room("11", Preset::PublicChat)).await.unwrap();
        let content = to_raw_value(&json!({ "history_visibility": "joined" })).unwrap();
        let kind = StateEventType::RoomHistoryVisibility;
        world.rooms.set_state(alice.actor(), &room, &kind, "", content).await.unwrap();
        say(&world, &alice, &room, "unseen").await;
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        let view = world.rooms.view(&room).await.unwrap().unwrap();
        let mut reader = ServerReader::new(Arc::clone(&view), server_name!("b.example"));
        // All events have the same time: of those, the places decide.
        let newest = world.rooms.event_near_for_server(&mut reader, u64::MAX, true).await.unwrap();
        assert_eq!(newest.pdu.state_key(), Some("@bob:b.example"));
        let later = world.rooms.event_near_for_server(&mut reader, u64::MAX, false).await;
        assert!(matches!(later, Err(RoomError::NotFound(_))));
        let mut stranger = ServerReader::new(view, server_name!("c.example"));
        let seen = world.rooms.event_near_for_server(&mut stranger, u64::MAX, true).await.unwrap();
        assert_eq!(seen.pdu.kind().to_string(), "m.room.history_visibility", "the change is still seen as before");
    });
}
