//! Sliding sync: whatever happens, and whichever windows a client asks for, its picture of the rooms becomes true.

use std::collections::HashMap;

use proptest::prelude::*;
use ruma::{OwnedRoomId, RoomId, events::StateEventType};
use serde_json::{Value, json};
use wardroom_rooms::{Membership, Place, TimelineRange};
use wardroom_sync::{SlidingRequest, SyncError};

use crate::ward::{Person, Ward, run};

const ROOMS: usize = 4;
/// Answers after which a client must be told that there is no more.
const ANSWERS_MAX: usize = 12;
/// Events that the client wants in the end.
const TIMELINE_LIMIT: usize = 5;

#[derive(Clone, Debug)]
enum Act {
    Say(usize),
    Topic(usize),
    Join(usize),
    Leave(usize),
    Kick(usize),
    Invite(usize),
    /// Asks for the rooms up to an index, for so many events, with or without topics; the answer may be lost.
    Ask {
        last: usize,
        limit: usize,
        topics: bool,
        lost: bool,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let room = || 0..ROOMS;
    let ask = (0..ROOMS, 0..4_usize, any::<bool>(), any::<bool>());
    let act = prop_oneof![
        4 => room().prop_map(Act::Say),
        2 => room().prop_map(Act::Topic),
        1 => room().prop_map(Act::Join),
        1 => room().prop_map(Act::Leave),
        1 => room().prop_map(Act::Kick),
        1 => room().prop_map(Act::Invite),
        5 => ask.prop_map(|(last, limit, topics, lost)| Act::Ask { last, limit, topics, lost }),
    ];
    prop::collection::vec(act, 1..40)
}

/// A room as the client has it.
#[derive(Debug, Default)]
struct Picture {
    membership: String,
    topic: Option<String>,
    /// The newest events, without a gap.
    timeline: Vec<String>,
}

/// A client with one connection.
struct Client<'a> {
    ward: &'a Ward,
    who: &'a Person,
    pos: Option<String>,
    rooms: HashMap<String, Picture>,
}

impl Client<'_> {
    async fn ask(&self, last: usize, limit: usize, topics: bool) -> Value {
        let required = if topics { json!([["m.room.topic", ""]]) } else { json!([]) };
        let list = json!({ "ranges": [[0, last]], "timeline_limit": limit, "required_state": required });
        let body = json!({ "lists": { "a": list } }).to_string();
        let request = SlidingRequest::new(self.pos.as_deref(), None, body.as_bytes()).unwrap();
        let answer = self.ward.syncer.sliding_sync(&self.who.0, &request, std::future::pending()).await.unwrap().body;
        serde_json::from_slice(&answer).unwrap()
    }

    /// Takes an answer in; says whether it told anything.
    fn take(&mut self, answer: &Value) -> bool {
        self.pos = Some(answer["pos"].as_str().unwrap().to_owned());
        let rooms = answer["rooms"].as_object().unwrap();
        for (id, told) in rooms {
            let picture = self.rooms.entry(id.clone()).or_default();
            if told["initial"] == true {
                *picture = Picture::default();
            }
            told["membership"].as_str().unwrap().clone_into(&mut picture.membership);
            for event in told["required_state"].as_array().into_iter().flatten() {
                if event["type"] == "m.room.topic" {
                    picture.topic = event["content"]["topic"].as_str().map(str::to_owned);
                }
            }
            let events = told["timeline"].as_array().into_iter().flatten();
            let events = events.map(|event| event["event_id"].as_str().unwrap().to_owned());
            if told["limited"] == true || told["expanded_timeline"] == true {
                picture.timeline.clear();
            }
            picture.timeline.extend(events);
        }
        !rooms.is_empty()
    }
}

/// A room as it is: the places and ids of its events, and its topic.
async fn truth(ward: &Ward, room: &RoomId) -> (Vec<(Place, String)>, Option<String>) {
    let view = ward.rooms.view(room).await.unwrap().unwrap();
    let range = TimelineRange { from: Place::FIRST, to: Place::LAST, backwards: false, limit: 10_000 };
    let items = ward.rooms.timeline(view.nid, range).await.unwrap();
    let events = items.iter().map(|item| (item.place, item.event.pdu.event_id().to_string())).collect();
    let topic = ward.rooms.state_event(view.nid, view.state, &StateEventType::RoomTopic, "").await.unwrap();
    let topic = topic.map(|event| serde_json::from_str::<Value>(event.pdu.content().get()).unwrap());
    (events, topic.and_then(|content| content["topic"].as_str().map(str::to_owned)))
}

async fn act(ward: &Ward, bob: &Person, alice: &Person, room: &RoomId, number: usize, act: &Act) {
    // What the rules forbid at the time does not happen.
    match act {
        Act::Say(_) => drop(ward.say(bob, room, &number.to_string()).await),
        Act::Topic(_) => ward.set(bob, room, "m.room.topic", "", json!({ "topic": number.to_string() })).await,
        Act::Join(_) => drop(ward.rooms.join(alice.actor(), room, Default::default(), None).await),
        Act::Leave(_) => drop(ward.rooms.leave(alice.actor(), room, None).await),
        Act::Kick(_) => drop(ward.rooms.kick(bob.actor(), room, alice.id(), None).await),
        Act::Invite(_) => drop(ward.rooms.invite(bob.actor(), room, alice.id(), Default::default(), None).await),
        Act::Ask { .. } => {}
    }
}

async fn play(acts: &[Act]) {
    let ward = Ward::new().await;
    let (alice, bob) = (ward.person("alice").await, ward.person("bob").await);
    let mut rooms: Vec<OwnedRoomId> = Vec::new();
    for number in 0..ROOMS {
        let members: &[&Person] = if number % 2 == 0 { &[&alice] } else { &[] };
        rooms.push(ward.room(&bob, members).await);
    }
    let mut client = Client { ward: &ward, who: &alice, pos: None, rooms: HashMap::new() };
    for (number, what) in acts.iter().enumerate() {
        match what {
            Act::Ask { last, limit, topics, lost } => {
                let answer = client.ask(*last, *limit, *topics).await;
                if !lost {
                    client.take(&answer);
                }
            }
            Act::Say(room)
            | Act::Topic(room)
            | Act::Join(room)
            | Act::Leave(room)
            | Act::Kick(room)
            | Act::Invite(room) => act(&ward, &bob, &alice, &rooms[*room], number, what).await,
        }
    }
    let mut answers = 0;
    while {
        let answer = client.ask(ROOMS, TIMELINE_LIMIT, true).await;
        client.take(&answer)
    } {
        answers += 1;
        assert!(answers < ANSWERS_MAX, "it never ends");
    }
    for room in &rooms {
        check(&client, room).await;
    }
}

/// Compares a client's picture of a room with the room.
async fn check(client: &Client<'_>, room: &RoomId) {
    let (events, topic) = truth(client.ward, room).await;
    let nid = client.ward.rooms.view(room).await.unwrap().unwrap().nid;
    let entry = client.ward.rooms.membership(client.who.actor().nid, nid).await.unwrap();
    let (Some(entry), picture) = (entry, client.rooms.get(room.as_str())) else {
        assert!(!client.rooms.contains_key(room.as_str()), "a room to which the user has no relation");
        return;
    };
    let now = match entry.membership {
        Membership::Join => "join",
        Membership::Invite => "invite",
        Membership::Knock => "knock",
        Membership::Leave => "leave",
        Membership::Ban => "ban",
    };
    match entry.membership {
        Membership::Join => {
            let picture = picture.unwrap_or_else(|| panic!("{room} is not told"));
            assert_eq!((picture.membership.as_str(), &picture.topic), (now, &topic));
            let ids: Vec<&String> = events.iter().map(|(_, id)| id).collect();
            let told: Vec<&String> = picture.timeline.iter().collect();
            assert!(told.len() >= TIMELINE_LIMIT.min(ids.len()), "{} of {} events", told.len(), ids.len());
            assert_eq!(told, ids[ids.len() - told.len()..], "the newest events, each once, in order");
        }
        Membership::Invite | Membership::Knock => {
            let picture = picture.unwrap_or_else(|| panic!("{room} is not told"));
            assert_eq!((picture.membership.as_str(), picture.timeline.len()), (now, 0));
        }
        // A room that was left behind the client's back need not be told of.
        Membership::Leave | Membership::Ban => {
            let Some(picture) = picture else { return };
            assert_eq!(picture.membership, now);
            let behind = events.iter().filter(|(place, _)| *place > entry.place);
            assert!(behind.into_iter().all(|(_, id)| !picture.timeline.contains(id)), "events behind the leaving");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_picture_becomes_true(acts in acts()) {
        run(play(&acts));
    }
}

#[test]
fn a_connection_that_nobody_knows_is_refused() {
    run(async {
        let ward = Ward::new().await;
        let alice = ward.person("alice").await;
        let request = SlidingRequest::new(Some("c1_1_1"), None, b"{}").unwrap();
        let refused = ward.syncer.sliding_sync(&alice.0, &request, std::future::pending()).await;
        assert!(matches!(refused, Err(SyncError::UnknownPos)));
    });
}
