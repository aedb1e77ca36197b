//! How fast a Wardroom is with other servers: joining a large room of a partner, taking a partner's events, and sending
//! an event to many partners. Prints a line for each measure with its target.
//!
//!     cargo run --release -p wardroom-testkit --example federation_speed -- target/release/wardroom
//!
//! The partners are played by this program, which takes its part of the processor.
#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a program to measure")]

use std::{
    env, fs, thread,
    time::{Duration, Instant},
};

use wardroom_testkit::{
    Actor as _, Config, Peer, Server, User, Value, json,
    peer::{Answer, PeerRoom},
    text, v3, wait_until,
};

/// Members of the room that is joined.
const MEMBERS: usize = 20_000;
/// Events of a transaction, as many as one may have.
const EVENTS_PER_TRANSACTION: usize = 50;
/// Transactions of each kind of load.
const TRANSACTIONS: usize = 80;
/// Rooms over which the second kind of load spreads.
const ROOMS: usize = 8;
/// Partners to whom one event is sent.
const PARTNERS: usize = 100;
/// How often that is measured.
const SENDS: usize = 10;
/// Nothing here may take longer.
const LIMIT: Duration = Duration::from_secs(120);

fn main() {
    let binary = env::args().nth(1).expect("the path of the binary");
    let only = env::args().nth(2).unwrap_or_default();
    for (name, run) in [("join", join as fn(&Server)), ("ingest", ingest), ("fan-out", fan_out)] {
        if only.is_empty() || only == name {
            run(&Server::start_with(&binary, Config::default().federating_as("127.0.0.1")));
        }
    }
}

fn report(what: &str, measured: f64, unit: &str, target: &str) {
    println!("{what}: {measured:.1} {unit} (target: {target})");
}

/// A number of `/proc/PID/status`, in megabytes.
fn memory_mb(server: &Server, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// A room with many members, all of the partner.
fn large_room(peer: &Peer) -> String {
    let owner = peer.user("owner");
    let id = peer.create_room(&owner, "11", "public");
    peer.room(&id, |room| {
        for number in 0..MEMBERS {
            let user = peer.user(&format!("member{number}"));
            let content = json!({ "membership": "join", "displayname": format!("Member {number}") });
            let mut event = room.draft(&user, "m.room.member", Some(&user), &content);
            peer.key().sign_event(peer.name(), &mut event, "11");
            room.append_bare(&event);
        }
    });
    id
}

fn join(server: &Server) {
    let peer = Peer::start();
    let room = large_room(&peer);
    let (state, chain) = peer.room(&room, |room: &mut PeerRoom| {
        let ids: Vec<String> = room.state.values().cloned().collect();
        (json!(room.list(&ids)).to_string(), json!(room.list(&room.auth_chain(&ids))).to_string())
    });
    let name = peer.name().to_owned();
    peer.on("/send_join/", move |asked| {
        let event = String::from_utf8_lossy(&asked.bytes);
        let body = format!(
            r#"{{"origin":"{name}","members_omitted":false,"event":{event},"state":{state},"auth_chain":{chain}}}"#
        );
        Answer::bytes(200, "application/json", body.into_bytes())
    });
    let alice = server.user("alice");
    let before = memory_mb(server, "VmRSS:");
    let start = Instant::now();
    alice.post(v3(&["join", &room]).query("via", peer.name()), json!({})).ok();
    let joined = start.elapsed().as_secs_f64();
    alice.say(&room, "hello");
    report("join of 20,000 members, until joined", joined, "s", "15 s until the first message is sent");
    report("join of 20,000 members, until the first message is sent", start.elapsed().as_secs_f64(), "s", "15 s");
    report("memory before", before, "MB", "none");
    report("memory at its highest", memory_mb(server, "VmHWM:"), "MB", "300 MB");
    report("memory afterwards", memory_mb(server, "VmRSS:"), "MB", "300 MB");
}

/// Rooms of this server in which a user of the partner is.
fn shared_rooms(alice: &User, peer: &Peer, server: &Server, count: usize) -> Vec<String> {
    let user = peer.user("speaker");
    let make = |_| {
        let room = alice.create_public_room(&[]);
        peer.join(server, &room, &user);
        room
    };
    (0..count).map(make).collect()
}

fn ingest(server: &Server) {
    let (alice, peer) = (server.user("alice"), Peer::start());
    let speaker = peer.user("speaker");
    for rooms in [1, ROOMS] {
        let rooms = shared_rooms(&alice, &peer, server, rooms);
        let transactions: Vec<Vec<Value>> = (0..TRANSACTIONS)
            .map(|number| {
                let room = &rooms[number % rooms.len()];
                peer.room(room, |room| {
                    (0..EVENTS_PER_TRANSACTION)
                        .map(|index| {
                            let content = text(&format!("message {number} {index}"));
                            let mut event = room.draft(&speaker, "m.room.message", None, &content);
                            let version = room.version.clone();
                            peer.key().sign_event(peer.name(), &mut event, &version);
                            room.append_bare(&event);
                            event
                        })
                        .collect()
                })
            })
            .collect();
        let start = Instant::now();
        for events in &transactions {
            peer.send(server, events, &[]).ok();
        }
        for (number, events) in transactions.iter().enumerate().rev().take(rooms.len()) {
            let room = &rooms[number % rooms.len()];
            let id = peer.id_of(room, events.last().unwrap());
            wait_until("the last event is seen", LIMIT, || (alice.try_event(room, &id).status == 200).then_some(()));
        }
        let per_s = (TRANSACTIONS * EVENTS_PER_TRANSACTION) as f64 / start.elapsed().as_secs_f64();
        report(&format!("events of a partner taken, rooms: {}", rooms.len()), per_s, "events/s", "2,000 events/s");
    }
}

fn fan_out(server: &Server) {
    let alice = server.user("alice");
    let room = alice.create_public_room(&[]);
    let peers: Vec<Peer> = (0..PARTNERS).map(|_| Peer::start()).collect();
    for peer in &peers {
        peer.join(server, &room, &peer.user("listener"));
    }
    let mut took = Vec::new();
    for number in 0..SENDS {
        let start = Instant::now();
        let body = format!("to everybody {number}");
        alice.say(&room, &body);
        thread::scope(|scope| {
            for peer in &peers {
                scope.spawn(|| peer.until_pdu("the message", LIMIT, |pdu| pdu["content"]["body"] == json!(body)));
            }
        });
        took.push(start.elapsed().as_secs_f64());
    }
    took.sort_by(f64::total_cmp);
    report("an event to 100 partners, median", took[took.len() / 2], "s", "1 s");
    report("an event to 100 partners, slowest", took[took.len() - 1], "s", "1 s");
}
