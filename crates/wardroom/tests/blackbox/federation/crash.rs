//! SIGKILL in the middle of joins and transactions loses and duplicates nothing.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{Actor as _, Peer, User, event_ids, json, peer::Answer, text, unique, wait_until};

use super::sites::{Site, VERSIONS, agree, join_via, public_room, sees};
use crate::SOON;

/// No acknowledgement for this long means that the server hangs.
const STALLED: Duration = Duration::from_secs(30);

/// Says something until the server is gone, and tells the id of each message that was acknowledged.
fn speak(user: &User, rooms: &[String], acknowledged: &mpsc::Sender<(usize, String)>) {
    for number in 0.. {
        let index = number % rooms.len();
        let target = wardroom_testkit::v3(&["rooms", &rooms[index], "send", "m.room.message", &unique("txn")]);
        let Ok(reply) = user.http().try_put(&target, Some(&user.token), text(&number.to_string())) else { return };
        if reply.status != 200
            || acknowledged.send((index, reply.ok()["event_id"].as_str().unwrap().to_owned())).is_err()
        {
            return;
        }
    }
}

/// Waits for so many acknowledgements.
fn wait_for(heard: &mpsc::Receiver<(usize, String)>, count: usize, said: &mut [Vec<String>]) {
    for _ in 0..count {
        let (index, event) = heard.recv_timeout(STALLED).expect("the server acknowledges messages");
        said[index].push(event);
    }
}

/// Everything is there, once and in the order in which it was said.
#[track_caller]
fn complete(user: &User, room: &str, said: &[String]) {
    sees(user, room, said.last().unwrap());
    let history = event_ids(&user.history(room));
    for event in said {
        assert_eq!(history.iter().filter(|id| *id == event).count(), 1, "{event} of {room} for {}", user.id);
    }
    let heard: Vec<&String> = history.iter().filter(|id| said.contains(id)).collect();
    assert_eq!(heard, said.iter().collect::<Vec<_>>(), "another order in {room} for {}", user.id);
}

#[test]
fn a_receiver_that_is_killed_gets_everything_once() {
    const ROUNDS: usize = 4;
    const ACKNOWLEDGED: usize = 40;
    let (here, mut there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let rooms: Vec<String> = VERSIONS.iter().map(|version| public_room(&alice, version)).collect();
    for room in &rooms {
        join_via(&bob, room, &here);
    }
    let mut said = vec![Vec::new(); rooms.len()];
    for round in 0..ROUNDS {
        let (acknowledged, heard) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| speak(&alice, &rooms, &acknowledged));
            wait_for(&heard, ACKNOWLEDGED + 7 * round, &mut said);
            there.server.kill9();
            wait_for(&heard, ACKNOWLEDGED, &mut said);
            // Dropped: the speaker ends with its next message, which is acknowledged and not counted.
            drop(heard);
        });
        there.start_again();
    }
    for (room, said) in rooms.iter().zip(&mut said) {
        said.push(alice.say(room, "the last"));
        sees(&bob, room, said.last().unwrap());
        agree(room, &[&here, &there]);
        complete(&bob, room, said);
    }
}

#[test]
fn a_sender_that_is_killed_sends_what_it_acknowledged() {
    const ROUNDS: usize = 4;
    const ACKNOWLEDGED: usize = 30;
    let (mut here, there) = (Site::start(), Site::named());
    let (alice, bob) = (here.user("alice"), there.user("bob"));
    let rooms: Vec<String> = VERSIONS.iter().map(|version| public_room(&alice, version)).collect();
    for room in &rooms {
        join_via(&bob, room, &here);
    }
    let mut said = vec![Vec::new(); rooms.len()];
    for round in 0..ROUNDS {
        let (acknowledged, heard) = mpsc::channel();
        thread::scope(|scope| {
            let (alice, rooms) = (&alice, &rooms);
            scope.spawn(move || speak(alice, rooms, &acknowledged));
            wait_for(&heard, ACKNOWLEDGED + 7 * round, &mut said);
            here.server.kill9();
            for (index, event) in &heard {
                said[index].push(event);
            }
        });
        here.start_again();
    }
    for (room, said) in rooms.iter().zip(&mut said) {
        said.push(alice.say(room, "the last"));
        sees(&bob, room, said.last().unwrap());
        agree(room, &[&here, &there]);
        complete(&bob, room, said);
    }
}

#[test]
fn a_join_that_is_cut_by_a_kill_can_be_made_again() {
    let mut site = Site::start();
    for version in VERSIONS {
        let peer = Peer::start();
        let owner = peer.user("owner");
        for moment in 0..4_u64 {
            let alice = site.user("alice");
            let room = peer.create_room(&owner, version, "public");
            let (teller, id) = (peer.clone(), room.clone());
            let (asked, was_asked) = mpsc::channel();
            // The other server has the join, and this one is killed at some moment from there on.
            peer.on("/send_join/", move |request| {
                asked.send(()).ok();
                teller.room(&id, |room| {
                    let ids: Vec<String> = room.state.values().cloned().collect();
                    let answer = json!({
                        "origin": teller.name(), "event": request.json(), "members_omitted": false,
                        "state": room.list(&ids), "auth_chain": room.list(&room.auth_chain(&ids)),
                    });
                    room.append(&request.json());
                    Answer::ok(&answer)
                })
            });
            thread::scope(|scope| {
                let (alice, room, peer) = (&alice, &room, &peer);
                scope.spawn(move || {
                    let target = wardroom_testkit::v3(&["join", room]).query("via", peer.name());
                    drop(alice.http().try_post(&target, Some(&alice.token), json!({})));
                });
                was_asked.recv_timeout(STALLED).expect("the join is sent");
                let until = Instant::now() + Duration::from_millis(8 * moment);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                site.server.kill9();
            });
            peer.honest();
            site.start_again();
            let target = wardroom_testkit::v3(&["join", &room]).query("via", peer.name());
            alice.post(target, json!({})).ok();
            let said = peer.say(&site.server, &room, &owner, "welcome");
            sees(&alice, &room, &said);
            let own = alice.say(&room, "thank you");
            peer.until_pdu("the answer", SOON, |pdu| peer.id_of(&room, pdu) == own);
            let joins = alice.history(&room).iter().filter(|event| event["state_key"] == json!(alice.id)).count();
            assert!(joins >= 1, "the join is part of the history");
            wait_until("the graph is there", SOON, || site.graph(&room));
        }
    }
}
