//! What is redacted with an event, by whom, and what stays.

use ruma::{OwnedEventId, OwnedRoomId, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_store::Scan;

use super::{RELATED_DUE, RELATED_TYPES_MAX, RELATED_WISHES, Related};
use crate::{
    MemberProfile, Preset, RoomError, fsck,
    tests::{Person, World, new_room, run},
};

struct Ward {
    world: World,
    alice: Person,
    bob: Person,
    room: OwnedRoomId,
}

impl Ward {
    async fn new() -> Self {
        let world = World::new();
        let alice = world.person(user_id!("@alice:a.example")).await;
        let bob = world.person(user_id!("@bob:a.example")).await;
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        Self { world, alice, bob, room }
    }

    async fn send(&self, by: &Person, content: Value) -> OwnedEventId {
        let content = to_raw_value(&content).unwrap();
        self.world.rooms.send(by.actor(), &self.room, "m.room.message", content, None).await.unwrap()
    }

    async fn relate(&self, by: &Person, rel_type: &str, parent: &OwnedEventId) -> OwnedEventId {
        let relation = json!({ "rel_type": rel_type, "event_id": parent, "key": "+1" });
        let new_content = json!({ "msgtype": "m.text", "body": "changed" });
        self.send(by, json!({ "body": "text", "m.new_content": new_content, "m.relates_to": relation })).await
    }

    /// Asks for it; nothing is done of it yet.
    async fn ask(
        &self,
        by: &Person,
        event: &OwnedEventId,
        rel_types: &[&str],
        own_only: bool,
    ) -> Result<(), RoomError> {
        let rel_types: Vec<String> = rel_types.iter().map(|rel_type| (*rel_type).to_owned()).collect();
        let related = Related { rel_types: &rel_types, own_only };
        let reason = Some("a mistake".to_owned());
        self.world.rooms.redact_with(related, by.actor(), &self.room, event, reason, None).await.map(drop)
    }

    async fn redact(&self, by: &Person, event: &OwnedEventId, rel_types: &[&str]) {
        self.ask(by, event, rel_types, false).await.unwrap();
        self.world.rooms.redact_all_related().await.unwrap();
        assert_eq!(self.due().await, 0);
    }

    async fn due(&self) -> usize {
        self.world.store.latest().scan_keys(&RELATED_DUE, Scan::all()).await.unwrap().len()
    }

    /// Why an event was redacted, and by whom; none where it was not.
    async fn why(&self, event: &OwnedEventId) -> Option<(String, String)> {
        let rooms = &self.world.rooms;
        let stored = rooms.event(self.alice.actor(), &self.room, event).await.unwrap();
        let redaction = stored.redacted_because.clone()?;
        let content: Value = serde_json::from_str(redaction.content().get()).unwrap();
        Some((redaction.sender().to_string(), content["reason"].as_str().unwrap_or_default().to_owned()))
    }

    async fn is_whole(&self, event: &OwnedEventId) -> bool {
        self.why(event).await.is_none()
    }
}

#[test]
fn edits_go_with_what_they_edit_and_the_rest_stays() {
    run(async {
        let ward = Ward::new().await;
        let said = ward.send(&ward.alice, json!({ "body": "said" })).await;
        let edits =
            [ward.relate(&ward.alice, "m.replace", &said).await, ward.relate(&ward.alice, "m.replace", &said).await];
        let foreign = ward.relate(&ward.bob, "m.replace", &said).await;
        let of_edit = ward.relate(&ward.alice, "m.replace", &edits[0]).await;
        let stays = [
            ward.relate(&ward.bob, "m.thread", &said).await,
            ward.relate(&ward.bob, "m.reference", &said).await,
            ward.relate(&ward.bob, "org.example.other", &said).await,
            foreign,
            of_edit,
        ];
        ward.redact(&ward.alice, &said, &["m.replace", "m.annotation"]).await;
        let by_alice = Some(("@alice:a.example".to_owned(), "a mistake".to_owned()));
        for event in edits.iter().chain([&said]) {
            assert_eq!(ward.why(event).await, by_alice, "with the reason of the first");
        }
        for event in &stays {
            assert!(ward.is_whole(event).await, "{event}");
        }
        assert_eq!(fsck(&ward.world.store).await.unwrap().problems, Vec::<String>::new());

        // What is wished later is added to what was wished before.
        ward.redact(&ward.alice, &said, &["org.example.other"]).await;
        assert!(!ward.is_whole(&stays[2]).await && ward.is_whole(&stays[1]).await);
        ward.redact(&ward.alice, &said, &["*"]).await;
        for event in &stays[..3] {
            assert!(!ward.is_whole(event).await);
        }
        assert!(ward.is_whole(&stays[3]).await, "what somebody else calls an edit is none");
    });
}

#[test]
fn an_edit_takes_with_it_what_is_valid_for_an_edit() {
    run(async {
        let ward = Ward::new().await;
        let said = ward.send(&ward.alice, json!({ "body": "said" })).await;
        let edit = ward.relate(&ward.alice, "m.replace", &said).await;
        let [of_edit, thread, annotation] = [
            ward.relate(&ward.alice, "m.replace", &edit).await,
            said.clone(),
            ward.relate(&ward.bob, "m.annotation", &edit).await,
        ];
        ward.redact(&ward.alice, &edit, &["*"]).await;
        // By now its own relation is not to be seen any more, and what it was still counts.
        ward.redact(&ward.alice, &edit, &["m.replace"]).await;
        assert!(!ward.is_whole(&annotation).await);
        assert!(ward.is_whole(&of_edit).await, "no edit can be edited");
        assert!(ward.is_whole(&thread).await, "what it edits stays");
    });
}

#[test]
fn what_one_may_not_redact_stays() {
    run(async {
        let ward = Ward::new().await;
        let said = ward.send(&ward.bob, json!({ "body": "said" })).await;
        let own = ward.relate(&ward.bob, "m.thread", &said).await;
        let others = ward.relate(&ward.alice, "m.thread", &said).await;
        ward.redact(&ward.bob, &said, &["*"]).await;
        assert!(!ward.is_whole(&own).await && ward.is_whole(&others).await);
        ward.redact(&ward.alice, &said, &["m.thread"]).await;
        assert!(!ward.is_whole(&others).await);

        // Somebody who may only take back what they said themselves, whatever power they have.
        let said = ward.send(&ward.alice, json!({ "body": "said" })).await;
        let own = ward.relate(&ward.alice, "m.thread", &said).await;
        let others = ward.relate(&ward.bob, "m.thread", &said).await;
        ward.ask(&ward.alice, &said, &["m.thread"], true).await.unwrap();
        ward.world.rooms.redact_all_related().await.unwrap();
        assert!(!ward.is_whole(&own).await && ward.is_whole(&others).await);

        // Who has left meanwhile redacts nothing more.
        let said = ward.send(&ward.bob, json!({ "body": "said" })).await;
        let reply = ward.relate(&ward.bob, "m.thread", &said).await;
        ward.ask(&ward.bob, &said, &["*"], false).await.unwrap();
        ward.world.rooms.leave(ward.bob.actor(), &ward.room, None).await.unwrap();
        ward.world.rooms.redact_all_related().await.unwrap();
        assert!(ward.is_whole(&reply).await);
        assert_eq!(ward.due().await, 0);
    });
}

#[test]
fn nothing_more_is_wished_than_is_said() {
    run(async {
        let ward = Ward::new().await;
        let said = ward.send(&ward.alice, json!({ "body": "said" })).await;
        let edit = ward.relate(&ward.alice, "m.replace", &said).await;
        let many = ["m.replace"; RELATED_TYPES_MAX + 1];
        assert!(matches!(ward.ask(&ward.alice, &said, &many, false).await, Err(RoomError::InvalidParam(_))));
        assert!(ward.is_whole(&said).await, "what is refused is not begun");
        assert!(matches!(ward.ask(&ward.bob, &said, &["*"], false).await, Err(RoomError::Forbidden(_))));
        ward.redact(&ward.alice, &said, &[]).await;
        assert!(!ward.is_whole(&said).await && ward.is_whole(&edit).await);
        let wishes = ward.world.store.latest().scan_keys(&RELATED_WISHES, Scan::all()).await.unwrap();
        assert!(wishes.is_empty());
    });
}

#[test]
fn what_is_due_is_done_after_a_crash() {
    run(async {
        let ward = Ward::new().await;
        let said = ward.send(&ward.alice, json!({ "body": "said" })).await;
        let mut replies = Vec::new();
        for _ in 0..450 {
            replies.push(ward.relate(&ward.bob, "m.thread", &said).await);
        }
        ward.ask(&ward.alice, &said, &["m.thread"], false).await.unwrap();
        assert_eq!(ward.due().await, 1);
        assert!(ward.is_whole(&replies[0]).await);
        // Nothing is in memory after a start.
        let Ward { world, alice, bob, room } = ward;
        let settings = world.rooms.engine.retention.clone();
        let world = World::keeping(ruma::owned_server_name!("a.example"), world.store, settings);
        let ward = Ward { world, alice, bob, room };
        let running = tokio::spawn(ward.world.rooms.clone().run_related());
        let done = async {
            while ward.due().await > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), done).await.expect("it is done");
        running.abort();
        for reply in &replies {
            assert!(!ward.is_whole(reply).await);
        }
        assert_eq!(fsck(&ward.world.store).await.unwrap().problems, Vec::<String>::new());
    });
}
