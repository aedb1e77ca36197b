//! What ends besides messages: state that was superseded, and what files of the store still have of what was shredded.

use std::time::Duration;

use ruma::OwnedEventId;
use serde_json::{Value, json, value::to_raw_value};
use wardroom_store::Scan;

use super::{DAY_MS, Ward};
use crate::tests::run;

#[test]
fn what_was_superseded_says_nothing_after_its_time_and_what_counts_stays() {
    run(async {
        let ward = Ward::keeping("12", |settings| settings.state_kept = Some(Duration::from_millis(30 * DAY_MS))).await;
        let set = async |kind: &str, content: Value| {
            let content = to_raw_value(&content).unwrap();
            ward.world.rooms.set_state(ward.alice.actor(), &ward.room, &kind.into(), "", content).await.unwrap()
        };
        let content = async |event: &OwnedEventId| {
            let event = ward.world.rooms.event(ward.alice.actor(), &ward.room, event).await.unwrap();
            event.pdu.content().get().to_owned()
        };
        let name = set("m.room.name", json!({ "name": "Mr Smith" })).await;
        let topic = set("m.room.topic", json!({ "topic": "his pneumonia" })).await;
        let own = set("org.example.bed", json!({ "patient": "Smith" })).await;
        let rules = set("m.room.join_rules", json!({ "join_rule": "invite" })).await;
        let retention = ward.set_policy(json!({ "max_lifetime": 9 * DAY_MS })).await.unwrap();
        set("m.room.name", json!({ "name": "Ward 7" })).await;
        set("org.example.bed", json!({})).await;
        set("m.room.join_rules", json!({ "join_rule": "public" })).await;
        ward.set_policy(json!({ "max_lifetime": 8 * DAY_MS })).await.unwrap();
        ward.pass(30 * DAY_MS - 1);
        assert_eq!(ward.purge().await.states, 0);
        assert!(content(&name).await.contains("Smith") && ward.found("Smith").await.0 > 0);
        ward.pass(1);
        // The name with which the room began, and two.
        assert_eq!(ward.purge().await.states, 3);
        assert_eq!((content(&name).await, content(&own).await), ("{}".to_owned(), "{}".to_owned()));
        assert_eq!(ward.found("Smith").await, (0, 0));
        assert!(content(&topic).await.contains("pneumonia"), "it is the room's topic");
        assert!(content(&rules).await.contains("invite") && content(&retention).await.contains("max_lifetime"));
        assert_eq!(ward.purge().await.states, 0, "once");
        assert!(ward.readable().await);
    });
}

#[test]
fn what_went_with_a_key_leaves_the_files_whatever_a_crash_interrupts() {
    run(async {
        let ward = Ward::new("12").await;
        let view = ward.world.rooms.view(&ward.room).await.unwrap().unwrap();
        let marks = async || {
            let store = ward.world.store.latest();
            let ranges = store.scan(&crate::retention::PRUNED_RANGES, Scan::all()).await.unwrap();
            (ranges.len(), store.scan_keys(&crate::retention::COMPACT_DUE, Scan::all()).await.unwrap().len())
        };
        ward.say("one").await;
        ward.say("two").await;
        ward.pass(20 * DAY_MS);
        assert_eq!(ward.purge().await.events, 2);
        assert_eq!(marks().await, (1, 0), "its key is still there");
        assert_eq!(ward.purge().await.keys, 1);
        assert_eq!(marks().await, (0, 0));
        // The key was destroyed, and the files were not rewritten: as after a crash between the two.
        let mut batch = wardroom_store::Batch::default();
        batch.put(&crate::retention::COMPACT_DUE, &view.nid, &());
        ward.world.store.commit(batch).await.unwrap();
        ward.purge().await;
        assert_eq!(marks().await, (0, 0));
    });
}
