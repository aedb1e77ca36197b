//! Prints what the hot paths of one small message cost: `cargo run --release -p wardroom-event --example sign_speed`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for the terminal")]

use std::{collections::HashMap, hint::black_box, sync::Arc, time::Instant};

use ruma::{
    OwnedEventId, OwnedUserId,
    events::{StateEventType, TimelineEventType},
    owned_user_id, server_name,
};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_event::{
    ClientFormat, Draft, Pdu, RoomVersion, SigningKey, authorize, client_json, redact, write_client_json,
};

const VERSION: RoomVersion = RoomVersion::V12;
const WARM_UP_RUNS: u32 = 2_000;
const RUNS: u32 = 20_000;

fn measure<T>(what: &str, mut work: impl FnMut() -> T) {
    for _ in 0..WARM_UP_RUNS {
        black_box(work());
    }
    let start = Instant::now();
    for _ in 0..RUNS {
        black_box(work());
    }
    let each = start.elapsed() / RUNS;
    println!("{what:<24} {:>8.2} us", each.as_secs_f64() * 1e6);
}

fn main() {
    let key = SigningKey::from_seed([7; 32], "a_1").unwrap();
    let alice = owned_user_id!("@alice:hospital-a.example");
    let create = sign(draft(&alice, "m.room.create", Some(""), &json!({"room_version": "12"}), None), &key);
    let room = Some(Arc::clone(&create));
    let member = json!({"membership": "join", "displayname": "Alice"});
    let join = sign(draft(&alice, "m.room.member", Some(alice.as_str()), &member, room.as_ref()), &key);
    let users: HashMap<String, i64> = (0..10).map(|n| (format!("@user{n}:hospital-a.example"), 50)).collect();
    let levels = json!({"users": users, "events": {"m.room.name": 50}, "state_default": 50});
    let levels = sign(draft(&alice, "m.room.power_levels", Some(""), &levels, room.as_ref()), &key);

    let body = json!({"msgtype": "m.text", "body": "Patient in room 4 has been moved to radiology."});
    let mut message = draft(&alice, "m.room.message", None, &body, room.as_ref());
    message.prev_events = vec![levels.event_id().to_owned()];
    message.auth_events = vec![levels.event_id().to_owned(), join.event_id().to_owned()];
    let pdu = sign(message.clone(), &key);
    println!("a message of {} bytes", pdu.json().len());

    measure("sign", || message.clone().sign(VERSION, server_name!("hospital-a.example"), &key).unwrap());
    measure("  of it ed25519", || key.sign(pdu.json()));
    measure("authorize", || {
        authorize(&pdu, |kind, _| match kind {
            StateEventType::RoomCreate => Some(Arc::clone(&create)),
            StateEventType::RoomMember => Some(Arc::clone(&join)),
            StateEventType::RoomPowerLevels => Some(Arc::clone(&levels)),
            _ => None,
        })
        .unwrap();
    });
    measure("from_stored", || stored(&pdu));
    measure("client_json", || client_json(&pdu, &format()));
    let mut body = Vec::new();
    measure("write_client_json", || {
        body.clear();
        write_client_json(&pdu, &format(), &mut body);
    });
    measure("parse", || Pdu::parse(pdu.json(), VERSION).unwrap());
    measure("redact", || redact(&pdu, None).unwrap());
}

fn stored(pdu: &Pdu) -> Pdu {
    let id: OwnedEventId = pdu.event_id().to_owned();
    Pdu::from_stored(pdu.json().clone(), id, VERSION).unwrap()
}

fn format() -> ClientFormat<'static> {
    ClientFormat { room_id: true, age_ms: Some(1234), ..ClientFormat::default() }
}

fn sign(draft: Draft, key: &SigningKey) -> Arc<Pdu> {
    Arc::new(draft.sign(VERSION, server_name!("hospital-a.example"), key).unwrap())
}

fn draft(
    sender: &OwnedUserId,
    kind: &str,
    state_key: Option<&str>,
    content: &Value,
    create: Option<&Arc<Pdu>>,
) -> Draft {
    Draft {
        room_id: create.map(|create| create.room_id().to_owned()),
        sender: sender.clone(),
        kind: TimelineEventType::from(kind),
        state_key: state_key.map(str::to_owned),
        content: to_raw_value(content).unwrap(),
        redacts: None,
        prev_events: vec![],
        auth_events: vec![],
        depth: 4,
        origin_server_ts: 1_700_000_000_000,
    }
}
