//! Several engines that share rooms, each over a store of its own: whatever order events come in, they agree.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::{ProptestConfig, any, proptest};
use ruma::{
    CanonicalJsonObject, OwnedEventId, OwnedRoomId, OwnedServerName, UserId, events::StateEventType, owned_server_name,
    signatures::hash_and_sign_event, user_id,
};
use serde_json::{json, value::to_raw_value};
use wardroom_event::{Pdu, RoomVersion, SigningKey};
use wardroom_store::{Catalogue, Store};

use crate::{
    Before, Entry, MemberProfile, Membership, Place, Preset, Received, Related, Standing, StateWhich, TABLES,
    TimelineRange, fsck,
    tests::{Person, World, new_room, run},
};

struct Server {
    name: OwnedServerName,
    world: World,
    user: Person,
}

impl Server {
    async fn new(name: OwnedServerName, user: &UserId) -> Self {
        let world = World::of(name.clone(), Store::in_memory(Catalogue::new(&[TABLES]).unwrap()));
        let user = world.person(user).await;
        Self { name, world, user }
    }

    async fn trio() -> [Self; 3] {
        [
            Self::new(owned_server_name!("a.example"), user_id!("@alice:a.example")).await,
            Self::new(owned_server_name!("b.example"), user_id!("@bob:b.example")).await,
            Self::new(owned_server_name!("c.example"), user_id!("@carol:c.example")).await,
        ]
    }

    /// Signs what another server made for a user of this one.
    fn sign(&self, version: RoomVersion, template: &serde_json::value::RawValue) -> Arc<Pdu> {
        let key = SigningKey::from_seed([7; 32], "1").unwrap();
        let mut object: CanonicalJsonObject = serde_json::from_str(template.get()).unwrap();
        hash_and_sign_event(self.name.as_str(), key.pair(), &mut object, &version.rules().redaction).unwrap();
        Arc::new(Pdu::parse(&serde_json::to_vec(&object).unwrap(), version).unwrap())
    }

    /// Enters a room through a server that is in it.
    async fn enter(&self, room: &OwnedRoomId, through: &Self) {
        let template = through.world.rooms.member_template(room, self.user.actor().user, Membership::Join).await;
        let template = template.unwrap();
        let join = self.sign(template.version, &template.event);
        through.world.rooms.admit(room, Arc::clone(&join), &self.name).await.unwrap();
        let rooms = &through.world.rooms;
        let state = rooms.state_before_event(room, join.event_id()).await.unwrap();
        let view = rooms.view(room).await.unwrap().unwrap();
        let nids: Vec<_> = state.iter().map(|stored| stored.nid).collect();
        let chain = rooms.auth_chain(view.nid, &nids).await.unwrap();
        let chain = rooms.events(view.nid, &chain).await.unwrap();
        let pdus = |events: Vec<Arc<crate::Stored>>| events.iter().map(|stored| Arc::clone(&stored.pdu)).collect();
        let entry =
            Entry { room: room.clone(), version: template.version, join, state: pdus(state), auth_chain: pdus(chain) };
        self.world.rooms.enter(entry).await.unwrap();
    }

    async fn say(&self, room: &OwnedRoomId, body: &str) -> OwnedEventId {
        let content = to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap();
        self.world.rooms.send(self.user.actor(), room, "m.room.message", content, None).await.unwrap()
    }

    async fn name_room(&self, room: &OwnedRoomId, name: &str) -> Result<OwnedEventId, crate::RoomError> {
        let content = to_raw_value(&json!({ "name": name })).unwrap();
        self.world.rooms.set_state(self.user.actor(), room, &StateEventType::RoomName, "", content).await
    }

    async fn events(&self, room: &OwnedRoomId) -> Vec<Arc<Pdu>> {
        let view = self.world.rooms.view(room).await.unwrap().unwrap();
        let range = TimelineRange { from: Place::FIRST, to: Place::LAST, backwards: false, limit: 1_000 };
        let items = self.world.rooms.timeline(view.nid, range).await.unwrap();
        items.into_iter().map(|item| Arc::clone(&item.event.pdu)).collect()
    }

    /// Takes in everything of another server's that can be taken in, in an order that `order` picks.
    async fn hear(&self, room: &OwnedRoomId, other: &Self, mut order: u64) {
        let mut waiting = other.events(room).await;
        loop {
            let before = waiting.len();
            let mut left = Vec::new();
            while !waiting.is_empty() {
                order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let pdu = waiting.remove(usize::try_from(order >> 33).unwrap() % waiting.len());
                let lacking = self.world.rooms.lacking(room, &pdu).await.unwrap();
                if lacking.is_empty() {
                    self.world.rooms.receive(room, pdu, Before::Derived).await.unwrap();
                } else {
                    left.push(pdu);
                }
            }
            waiting = left;
            if waiting.len() == before || waiting.is_empty() {
                return;
            }
        }
    }

    async fn state(&self, room: &OwnedRoomId) -> BTreeMap<(String, String), OwnedEventId> {
        let view = self.world.rooms.view(room).await.unwrap().unwrap();
        let state = self.world.rooms.state(view.nid, view.state, StateWhich::All).await.unwrap();
        let key = |pdu: &Pdu| (pdu.kind().to_string(), pdu.state_key().unwrap().to_owned());
        state.iter().map(|stored| (key(&stored.pdu), stored.pdu.event_id().to_owned())).collect()
    }

    async fn extremities(&self, room: &OwnedRoomId) -> Vec<OwnedEventId> {
        let mut extremities = self.world.rooms.extremities(room).await.unwrap();
        extremities.sort();
        extremities
    }

    async fn check(&self) {
        let report = fsck(&self.world.store).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new(), "{}", self.name);
    }
}

async fn gather(servers: &[Server; 3], version: &str) -> OwnedRoomId {
    let mut new = new_room(version, Preset::PublicChat);
    let users = json!({ "@alice:a.example": 100, "@bob:b.example": 100, "@carol:c.example": 50 });
    if version == "12" {
        new.power_levels.insert("users".to_owned(), json!({ "@bob:b.example": 100, "@carol:c.example": 50 }));
    } else {
        new.power_levels.insert("users".to_owned(), users);
    }
    let room = servers[0].world.rooms.create(servers[0].user.actor(), new).await.unwrap();
    servers[1].enter(&room, &servers[0]).await;
    servers[2].enter(&room, &servers[0]).await;
    servers[1].hear(&room, &servers[0], 1).await;
    room
}

async fn settle(servers: &[Server; 3], room: &OwnedRoomId, order: u64) {
    for round in 0..2 {
        for server in servers {
            for other in servers {
                if server.name != other.name {
                    server.hear(room, other, order ^ round).await;
                }
            }
        }
    }
}

#[test]
fn servers_that_changed_the_same_things_apart_agree_when_they_hear_of_each_other() {
    run(async {
        for version in ["10", "11", "12"] {
            let servers = Server::trio().await;
            let room = gather(&servers, version).await;
            let [a, b, c] = &servers;
            assert_eq!(a.state(&room).await, b.state(&room).await);
            for (number, server) in servers.iter().enumerate() {
                server.name_room(&room, &format!("Ward {number}")).await.unwrap();
                server.say(&room, "meanwhile").await;
            }
            // One of the three bans another meanwhile.
            let carol = c.user.actor().user.to_owned();
            b.world.rooms.ban(b.user.actor(), &room, &carol, None).await.unwrap();
            settle(&servers, &room, 7).await;
            // What a banned user's server sent meanwhile is heard by no one.
            let banned = a.world.rooms.membership(crate::UserNid::new(0), crate::RoomNid::new(0)).await.unwrap();
            assert!(banned.is_none());
            assert_eq!(a.state(&room).await, b.state(&room).await, "version {version}");
            let view = a.world.rooms.view(&room).await.unwrap().unwrap();
            assert_eq!(view.joined, 2, "carol is out");
            a.check().await;
            b.check().await;
            c.check().await;
        }
    });
}

#[test]
fn a_room_that_is_entered_begins_with_a_gap_that_can_be_filled() {
    run(async {
        let servers = Server::trio().await;
        let [a, b, _] = &servers;
        let room = a.world.rooms.create(a.user.actor(), new_room("11", Preset::PublicChat)).await.unwrap();
        for number in 0..5 {
            a.say(&room, &format!("before {number}")).await;
        }
        b.enter(&room, a).await;
        assert_eq!(b.events(&room).await.len(), 1, "the join");
        let view = b.world.rooms.view(&room).await.unwrap().unwrap();
        let gap = b.world.rooms.gap(view.nid, Place::LAST, Place::FIRST).await.unwrap().unwrap();
        assert_eq!(gap.missing.len(), 1);
        let all = a.events(&room).await;
        let past = &all[..all.len() - 1];
        let recent = &past[past.len() - 3..];
        let oldest = a.world.rooms.state_before_event(&room, recent[0].event_id()).await.unwrap();
        let given = Before::Given(oldest.iter().map(|stored| stored.pdu.event_id().to_owned()).collect());
        let unfounded = recent.iter().map(|pdu| (Arc::clone(pdu), Before::Derived)).collect();
        let same = b.world.rooms.fill_gap(&gap, unfounded).await.unwrap();
        assert_eq!(same.as_ref(), Some(&gap), "events without a state before them are left out");
        let page = recent.iter().cloned().zip([given, Before::Derived, Before::Derived]).collect();
        let gap = b.world.rooms.fill_gap(&gap, page).await.unwrap().unwrap();
        let rest: Vec<_> = past[..past.len() - 3].iter().map(|pdu| (Arc::clone(pdu), Before::Derived)).collect();
        assert_eq!(b.world.rooms.fill_gap(&gap, rest).await.unwrap(), None, "the room is whole");
        let ids = |events: &[Arc<Pdu>]| events.iter().map(|pdu| pdu.event_id().to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&b.events(&room).await), ids(&all));
        b.check().await;
    });
}

/// MSC3912, "Redaction of related events": what another server sent meanwhile.
#[test]
fn what_comes_later_is_redacted_with_the_event_that_it_relates_to() {
    run(async {
        let servers = Server::trio().await;
        let [a, b, _] = &servers;
        let room = gather(&servers, "11").await;
        b.hear(&room, a, 1).await;
        let root = a.say(&room, "root").await;
        b.hear(&room, a, 1).await;
        let relate = async |server: &Server, rel_type: &str| {
            let content = json!({ "body": "text", "m.relates_to": { "rel_type": rel_type, "event_id": root } });
            let content = to_raw_value(&content).unwrap();
            server.world.rooms.send(server.user.actor(), &room, "m.room.message", content, None).await.unwrap()
        };
        let rel_types = ["m.thread".to_owned()];
        let related = Related { rel_types: &rel_types, own_only: false };
        a.world.rooms.redact_with(related, a.user.actor(), &room, &root, None, None).await.unwrap();
        a.world.rooms.redact_all_related().await.unwrap();
        // Bob has not heard of it yet; Alice says something that she wants to stay.
        let (reply, reference) = (relate(b, "m.thread").await, relate(b, "m.reference").await);
        let own = relate(a, "m.thread").await;
        a.hear(&room, b, 1).await;
        a.world.rooms.redact_all_related().await.unwrap();
        for (event, is_redacted) in [(&reply, true), (&reference, false), (&own, false)] {
            let (_, _, stored) = a.world.rooms.standing(event).await.unwrap().unwrap();
            assert_eq!(stored.redacted_because.is_some(), is_redacted, "{event}");
        }
        b.hear(&room, a, 1).await;
        let (_, _, stored) = b.world.rooms.standing(&reply).await.unwrap().unwrap();
        assert!(stored.redacted_because.is_some());
        a.check().await;
        b.check().await;
    });
}

#[test]
fn what_the_rules_forbid_is_kept_apart() {
    run(async {
        let servers = Server::trio().await;
        let [a, b, _] = &servers;
        let room = gather(&servers, "11").await;
        b.hear(&room, a, 1).await;
        // Carol may not change the power levels; she signs such an event all the same.
        let template =
            a.world.rooms.member_template(&room, user_id!("@carol:c.example"), Membership::Join).await.unwrap();
        let mut event: serde_json::Value = serde_json::from_str(template.event.get()).unwrap();
        event["type"] = json!("m.room.power_levels");
        event["state_key"] = json!("");
        event["content"] = json!({ "users": { "@carol:c.example": 100 } });
        let forged = servers[2].sign(template.version, &to_raw_value(&event).unwrap());
        let before = a.state(&room).await;
        let received = a.world.rooms.receive(&room, Arc::clone(&forged), Before::Derived).await.unwrap();
        assert_eq!(received, Received::Rejected);
        assert_eq!(a.state(&room).await, before);
        let (_, standing, _) = a.world.rooms.standing(forged.event_id()).await.unwrap().unwrap();
        assert_eq!(standing, Standing::Rejected);
        assert_eq!(a.world.rooms.receive(&room, forged, Before::Derived).await.unwrap(), Received::Known);
        // After a ban, what was sent before it in another line of the graph fails softly.
        let late = servers[2].say(&room, "late").await;
        let late = servers[2].events(&room).await.into_iter().find(|pdu| pdu.event_id() == late).unwrap();
        a.world.rooms.ban(a.user.actor(), &room, user_id!("@carol:c.example"), None).await.unwrap();
        let received = a.world.rooms.receive(&room, late, Before::Derived).await.unwrap();
        assert_eq!(received, Received::SoftFailed);
        a.check().await;
        let _ = MemberProfile::default();
    });
}

/// Each act: whose, which one, and whether that server hears another one afterwards.
fn all_agree_after(acts: Vec<(usize, u8, bool)>, order: u64) {
    run(async {
        let servers = Server::trio().await;
        let room = gather(&servers, if order.is_multiple_of(2) { "11" } else { "12" }).await;
        for (who, what, hears) in acts {
            let server = &servers[who];
            let rooms = &server.world.rooms;
            let other = servers[(who + 1) % 3].user.actor().user.to_owned();
            let actor = server.user.actor();
            // Whatever the rules forbid at that moment is simply not done.
            match what {
                0 => drop(server.name_room(&room, &format!("n{who}{order}")).await),
                1 => drop(rooms.kick(actor, &room, &other, None).await),
                2 => drop(rooms.ban(actor, &room, &other, None).await),
                3 => drop(rooms.unban(actor, &room, &other, None).await),
                _ => {
                    let content = to_raw_value(&json!({ "topic": format!("t{who}") })).unwrap();
                    let kind = StateEventType::RoomTopic;
                    drop(rooms.set_state(actor, &room, &kind, "", content).await);
                }
            }
            if hears {
                server.hear(&room, &servers[(who + 2) % 3], order).await;
            }
        }
        settle(&servers, &room, order).await;
        let [a, b, _] = &servers;
        // Servers whose users are in the room hear everything, and so agree.
        let (here, there) = (a.state(&room).await, b.state(&room).await);
        if a.extremities(&room).await == b.extremities(&room).await {
            assert_eq!(here, there);
        }
        for server in &servers {
            server.check().await;
        }
    });
}

#[test]
fn who_is_dropped_by_the_state_has_left_as_far_as_the_index_is_concerned() {
    let acts = vec![(1, 1, false), (2, 0, true), (0, 0, true), (1, 2, false), (0, 1, false)];
    all_agree_after(acts, 1_158_089_877_123_050_053);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_order_of_any_changes_ends_in_the_same_state(
        acts in proptest::collection::vec((0_usize..3, 0_u8..5, any::<bool>()), 1..14),
        order: u64,
    ) {
        all_agree_after(acts, order);
    }
}
