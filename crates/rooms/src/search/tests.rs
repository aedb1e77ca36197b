//! The index of words over the in-memory store.

use ruma::{OwnedEventId, OwnedRoomId, api::client::filter::RoomEventFilter, events::StateEventType, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_store::{Batch, Scan};

use super::{SEARCH_WORDS, SearchKey, SearchOrder, SearchQuery};
use crate::{
    MemberProfile, Preset, Viewer, fsck,
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
        let (alice, bob) =
            (world.person(user_id!("@alice:a.example")).await, world.person(user_id!("@bob:a.example")).await);
        let room = world.rooms.create(alice.actor(), new_room("12", Preset::PublicChat)).await.unwrap();
        world.rooms.join(bob.actor(), &room, MemberProfile::default(), None).await.unwrap();
        Self { world, alice, bob, room }
    }

    async fn say(&self, body: &str) -> OwnedEventId {
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap();
        self.world.rooms.send(self.alice.actor(), &self.room, "m.room.message", content, None).await.unwrap()
    }

    async fn set(&self, kind: StateEventType, content: Value) {
        let content = to_raw_value(&content).unwrap();
        self.world.rooms.set_state(self.alice.actor(), &self.room, &kind, "", content).await.unwrap();
    }

    async fn find(&self, by: &Person, term: &str, order: SearchOrder, keys: &[SearchKey]) -> Vec<OwnedEventId> {
        let filter = RoomEventFilter::default();
        let query = SearchQuery { term, keys, filter: &filter, order, limit: 10, from: None };
        let page = self.world.rooms.search(Viewer::new(by.actor()), query).await.unwrap();
        assert!(page.count >= page.hits.len() && (page.count == page.hits.len() || !keys.is_empty()));
        page.hits.iter().map(|hit| hit.item.event.pdu.event_id().to_owned()).collect()
    }

    async fn is_sound(&self) {
        assert_eq!(fsck(&self.world.store).await.unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn events_with_all_the_words_are_found_in_either_order() {
    run(async {
        let ward = Ward::new().await;
        let long = ward.say("The patient in room seven of the ward on the left needs an x-ray today").await;
        let short = ward.say("X-ray: patient 9").await;
        ward.say("patient").await;
        let (alice, all) = (&ward.alice, &[][..]);
        assert_eq!(ward.find(alice, "x-ray PATIENT", SearchOrder::Recent, all).await, [&*short, &*long]);
        let later = ward.say("x ray of one more patient, who will need many more words than that one before").await;
        let ranked = ward.find(alice, "x-ray patient", SearchOrder::Rank, all).await;
        assert_eq!(ranked[0], short, "short texts are closer");
        assert_eq!(ranked.len(), 3);
        assert_eq!(ward.find(alice, "x-ray patient", SearchOrder::Recent, all).await[0], later);
        for nothing in ["patients", "patient surgeon", "", "…"] {
            assert!(ward.find(alice, nothing, SearchOrder::Rank, all).await.is_empty(), "{nothing}");
        }
        ward.is_sound().await;
    });
}

#[test]
fn names_and_topics_are_found_by_their_keys() {
    run(async {
        let ward = Ward::new().await;
        ward.set(StateEventType::RoomTopic, json!({ "topic": "Cardiology" })).await;
        ward.set(StateEventType::RoomName, json!({ "name": "Cardiology" })).await;
        let said = ward.say("cardiology").await;
        let find = |keys: &'static [SearchKey]| ward.find(&ward.bob, "cardiology", SearchOrder::Recent, keys);
        assert_eq!(find(&[]).await.len(), 3);
        assert_eq!(find(&[SearchKey::Body]).await, [&*said]);
        assert_eq!(find(&[SearchKey::Name]).await.len(), 1);
        assert_eq!(find(&[SearchKey::Topic, SearchKey::Name]).await.len(), 2);
    });
}

#[test]
fn redacted_encrypted_and_foreign_text_is_not_found() {
    run(async {
        let ward = Ward::new().await;
        let eve = ward.world.person(user_id!("@eve:a.example")).await;
        let said = ward.say("needle").await;
        let all = &[][..];
        assert!(ward.find(&eve, "needle", SearchOrder::Recent, all).await.is_empty());
        ward.world.rooms.leave(ward.bob.actor(), &ward.room, None).await.unwrap();
        let later = ward.say("needle").await;
        assert_eq!(ward.find(&ward.bob, "needle", SearchOrder::Recent, all).await, [&*said], "nothing after leaving");
        assert_eq!(ward.find(&ward.alice, "needle", SearchOrder::Recent, all).await, [&*later, &*said]);
        ward.world.rooms.redact(ward.alice.actor(), &ward.room, &said, None, None).await.unwrap();
        assert_eq!(ward.find(&ward.alice, "needle", SearchOrder::Recent, all).await, [&*later]);
        ward.is_sound().await;
        ward.set(StateEventType::RoomEncryption, json!({ "algorithm": "m.megolm.v1.aes-sha2" })).await;
        assert!(ward.find(&ward.alice, "needle", SearchOrder::Recent, all).await.is_empty());
    });
}

#[test]
fn damage_to_the_words_is_found() {
    run(async {
        let ward = Ward::new().await;
        ward.say("needle in a haystack").await;
        ward.is_sound().await;
        let store = &ward.world.store;
        let (key, row) = store.latest().scan(&SEARCH_WORDS, Scan::all()).await.unwrap().pop().unwrap();
        let mut batch = Batch::default();
        batch.delete(&SEARCH_WORDS, &key);
        store.commit(batch).await.unwrap();
        assert_eq!(fsck(store).await.unwrap().problems.len(), 1);
        let mut batch = Batch::default();
        batch.put(&SEARCH_WORDS, &key, &row);
        batch.put(&SEARCH_WORDS, &(key.0, 1, key.2, key.3), &row);
        store.commit(batch).await.unwrap();
        assert_eq!(fsck(store).await.unwrap().problems.len(), 1);
    });
}
