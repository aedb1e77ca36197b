//! Nothing is lost between two syncs, and nothing is told twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use ruma::{OwnedRoomId, api::client::filter::RoomEventFilter};
use serde_json::{Value, json};
use wardroom_rooms::{Page, RoomError};

use crate::ward::{Person, Ward, asking, events, run};

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Say { who: usize, room: usize },
    Name { who: usize, room: usize },
    Leave { who: usize, room: usize },
    Join { who: usize, room: usize },
    Sync { who: usize, limit: u8 },
}

const PEOPLE: usize = 3;
const ROOMS: usize = 2;

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (who, room) = (0..PEOPLE, 0..ROOMS);
    let pair = (who.clone(), room);
    let act = prop_oneof![
        6 => pair.clone().prop_map(|(who, room)| Act::Say { who, room }),
        2 => pair.clone().prop_map(|(who, room)| Act::Name { who, room }),
        1 => pair.clone().prop_map(|(who, room)| Act::Leave { who, room }),
        2 => pair.prop_map(|(who, room)| Act::Join { who, room }),
        5 => (who, 1..20_u8).prop_map(|(who, limit)| Act::Sync { who, limit }),
    ];
    prop::collection::vec(act, 1..60)
}

/// A client that keeps what it is told, and fills gaps by pagination.
struct Client {
    person: Person,
    token: Option<Value>,
    timelines: BTreeMap<OwnedRoomId, Vec<String>>,
    state: BTreeMap<OwnedRoomId, BTreeMap<(String, String), String>>,
    left: BTreeSet<OwnedRoomId>,
}

impl Client {
    fn new(person: Person) -> Self {
        Self { person, token: None, timelines: BTreeMap::new(), state: BTreeMap::new(), left: BTreeSet::new() }
    }

    async fn sync(&mut self, ward: &Ward, limit: u8) {
        let filter = json!({ "room": { "timeline": { "limit": limit } } });
        let answer = ward.sync_with(&self.person, self.token.as_ref(), filter).await;
        self.take(ward, &answer).await;
        self.token = Some(answer);
    }

    async fn take(&mut self, ward: &Ward, answer: &Value) {
        for section in ["join", "leave"] {
            let Some(rooms) = answer["rooms"][section].as_object() else { continue };
            for (room, told) in rooms {
                let room = OwnedRoomId::try_from(room.as_str()).unwrap();
                if self.left.remove(&room) {
                    // Who comes back starts anew.
                    self.timelines.remove(&room);
                    self.state.remove(&room);
                }
                if section == "leave" {
                    self.left.insert(room.clone());
                }
                if told["timeline"]["limited"] == true {
                    let missed = self.page(ward, &room, told["timeline"]["prev_batch"].as_str().unwrap()).await;
                    self.timelines.entry(room.clone()).or_default().extend(missed);
                }
                let state = self.state.entry(room.clone()).or_default();
                for event in events(told, "state").iter().chain(events(told, "timeline")) {
                    if let Some(key) = event["state_key"].as_str() {
                        let slot = (event["type"].as_str().unwrap().to_owned(), key.to_owned());
                        state.insert(slot, event["event_id"].as_str().unwrap().to_owned());
                    }
                }
                let timeline = self.timelines.entry(room).or_default();
                timeline.extend(
                    events(told, "timeline").iter().map(|event| event["event_id"].as_str().unwrap().to_owned()),
                );
            }
        }
    }

    /// The events between what the client has and a `prev_batch`, oldest first.
    async fn page(&self, ward: &Ward, room: &OwnedRoomId, prev_batch: &str) -> Vec<String> {
        let known = self.timelines.get(room).and_then(|timeline| timeline.last());
        let filter = RoomEventFilter::default();
        let from = Some(prev_batch.parse().unwrap());
        let page = Page { from, to: None, backwards: true, limit: 1_000, filter: &filter };
        let page = ward.rooms.messages(self.person.actor(), room, page).await.unwrap();
        let ids = page.chunk.iter().map(|event| event.pdu.event_id().as_str().to_owned());
        let mut missed: Vec<String> = ids.take_while(|id| Some(id) != known).collect();
        missed.reverse();
        missed
    }
}

/// The room as its members can read it, oldest first.
async fn timeline(ward: &Ward, who: &Person, room: &OwnedRoomId) -> Vec<String> {
    let filter = RoomEventFilter::default();
    let page = Page { from: None, to: None, backwards: false, limit: 1_000, filter: &filter };
    let page = ward.rooms.messages(who.actor(), room, page).await.unwrap();
    page.chunk.iter().map(|event| event.pdu.event_id().as_str().to_owned()).collect()
}

async fn play(acts: &[Act]) {
    let ward = Ward::new().await;
    let mut clients = Vec::new();
    for name in ["alice", "bob", "carol"] {
        clients.push(Client::new(ward.person(name).await));
    }
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        rooms.push(ward.room(&clients[0].person, &[&clients[1].person]).await);
    }
    for (number, act) in acts.iter().enumerate() {
        let done = match *act {
            Act::Say { who, room } => {
                let content = serde_json::value::to_raw_value(&json!({ "body": number.to_string() })).unwrap();
                let who = clients[who].person.actor();
                ward.rooms.send(who, &rooms[room], "m.room.message", content, None).await.map(drop)
            }
            Act::Name { who, room } => {
                let content = serde_json::value::to_raw_value(&json!({ "name": number.to_string() })).unwrap();
                let who = clients[who].person.actor();
                ward.rooms.set_state(who, &rooms[room], &"m.room.name".into(), "", content).await.map(drop)
            }
            Act::Leave { who, room } => ward.rooms.leave(clients[who].person.actor(), &rooms[room], None).await,
            Act::Join { who, room } => {
                let who = clients[who].person.actor();
                ward.rooms.join(who, &rooms[room], wardroom_rooms::MemberProfile::default(), None).await
            }
            Act::Sync { who, limit } => {
                clients[who].sync(&ward, limit).await;
                Ok(())
            }
        };
        // Who is not in the room cannot act there.
        assert!(matches!(done, Ok(()) | Err(RoomError::Forbidden(_) | RoomError::NoSuchRoom)), "{act:?} {done:?}");
    }
    for client in &mut clients {
        client.sync(&ward, 10).await;
        for room in &rooms {
            let view = ward.rooms.view(room).await.unwrap().unwrap();
            let readable = match ward.rooms.reader(client.person.actor(), &view).await {
                Ok(reader) => reader.is_joined(),
                Err(_) => false,
            };
            let told = client.timelines.remove(room).unwrap_or_default();
            let mut once = told.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), told.len(), "told twice");
            if !readable {
                continue;
            }
            let whole = timeline(&ward, &client.person, room).await;
            assert_eq!(told, whole, "told in order, and nothing left out");
            let state = ward.rooms.state(view.nid, view.state, wardroom_rooms::StateWhich::All).await.unwrap();
            let slot = |event: &wardroom_rooms::Stored| {
                let pdu = &event.pdu;
                let slot = (pdu.kind().to_string(), pdu.state_key().unwrap().to_owned());
                (slot, pdu.event_id().as_str().to_owned())
            };
            let state: BTreeMap<_, _> = state.iter().map(|event| slot(event)).collect();
            assert_eq!(client.state[room], state, "the state adds up");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn consecutive_syncs_add_up_to_the_timeline(acts in acts()) {
        run(play(&acts));
    }
}

#[test]
fn a_follower_misses_nothing_while_others_write() {
    const MESSAGES: usize = 150;
    run(async {
        let ward = Arc::new(Ward::new().await);
        let alice = ward.person("alice").await;
        let (bob, carol) = (ward.person("bob").await, ward.person("carol").await);
        let room = ward.room(&alice, &[&bob, &carol]).await;
        let done = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = [alice, bob]
            .into_iter()
            .map(|who| {
                let (ward, room) = (Arc::clone(&ward), room.clone());
                tokio::spawn(async move {
                    for number in 0..MESSAGES {
                        if number % 10 == 0 && who.id().localpart() == "alice" {
                            ward.set(&who, &room, "org.example.state", who.id().as_str(), json!({ "n": number })).await;
                        }
                        ward.say(&who, &room, &number.to_string()).await;
                    }
                })
            })
            .collect();
        let follower = {
            let (ward, room, done, carol) = (Arc::clone(&ward), room.clone(), Arc::clone(&done), carol.clone());
            tokio::spawn(async move {
                let mut client = Client::new(carol);
                loop {
                    let last = done.load(Ordering::SeqCst);
                    let mut request = asking(client.token.as_ref(), None);
                    request.timeout = if last { Duration::ZERO } else { Duration::from_millis(50) };
                    let answer = ward.ask(&client.person, request).await.unwrap();
                    client.take(&ward, &answer).await;
                    let ended = last && answer["rooms"].is_null();
                    client.token = Some(answer);
                    if ended {
                        return client.timelines.remove(&room).unwrap();
                    }
                }
            })
        };
        for writer in writers {
            writer.await.unwrap();
        }
        done.store(true, Ordering::SeqCst);
        let told = follower.await.unwrap();
        assert_eq!(told, timeline(&ward, &carol, &room).await);
    });
}
