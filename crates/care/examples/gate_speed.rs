//! What access policies cost: a decision of the gate with and without one, and looking whether 10,000 users in 1,000 rooms
//! still may be there. Without HTTP, on a real store.
//!
//! `cargo run --release -p wardroom-care --example gate_speed`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::{collections::HashMap, error::Error, hint::black_box, sync::Arc, time::Instant};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ruma::{OwnedRoomId, OwnedUserId, UserId, owned_server_name, owned_user_id, room_version_id};
use serde_json::{Map, json, value::to_raw_value};
use wardroom_accounts::Accounts;
use wardroom_audit::AuditLog;
use wardroom_care::{ACCESS_POLICY, Attestations, Binding, Care, CareGate, Judge, Role, Said, Source};
use wardroom_clock::{SharedClock, SystemClock};
use wardroom_event::SigningKey;
use wardroom_rooms::{
    Action, Actor, Asker, Gate, MemberProfile, Membership, NS_USER, NewRoom, Preset, RoomError, Rooms, StandardGate,
    UserNid,
};
use wardroom_store::{Batch, Catalogue, MasterKey, Options, Store};

const USERS: usize = 10_000;
const ROOMS: usize = 1_000;
/// Rooms that each user is in.
const ROOMS_OF_USER: usize = 10;
const DECISIONS: u32 = 1_000_000;
const ROLE: &str = "physician@h1/cardiology";

type Failure = Box<dyn Error>;
type User = (OwnedUserId, UserNid);

fn actor((id, nid): &User) -> Actor<'_> {
    Actor { user: id, nid: *nid, device: None, guest: false }
}

async fn users(store: &Store, judge: &Judge) -> Result<Vec<User>, Failure> {
    let (mut users, mut said) = (Vec::with_capacity(USERS), Vec::with_capacity(USERS));
    let role = Role::parse(ROLE)?;
    let binding = || Binding {
        role: role.clone(),
        from_ms: None,
        until_ms: None,
        reason: String::new(),
        set_by: "bench".to_owned(),
        set_ms: 0,
    };
    for number in 0..USERS {
        let id = UserId::parse(format!("@user{number}:a.example"))?;
        let mut batch = Batch::default();
        let nid = store.interner().intern(&mut batch, NS_USER, id.as_str()).await?;
        store.commit(batch).await?;
        said.push((id.clone(), Said { active: Some(true), bindings: vec![binding()] }));
        users.push((id, UserNid::new(nid)));
    }
    judge.roles().say_all(Source::Scim, said).await?;
    Ok(users)
}

fn gated_room() -> Result<NewRoom, serde_json::Error> {
    let any_of = json!([{ "all_of": ["charge-nurse@h1", "unit:icu@h1"] }, { "all_of": [ROLE] }]);
    let policy = json!({ "version": 1, "require": { "any_of": any_of } });
    Ok(NewRoom {
        version: None,
        preset: Preset::PublicChat,
        creation_content: Map::new(),
        initial_state: vec![(ACCESS_POLICY.to_owned(), String::new(), to_raw_value(&policy)?)],
        power_levels: Map::new(),
        name: None,
        topic: None,
        alias: None,
        invite: Vec::new(),
        is_direct: false,
        listed: false,
        profile: MemberProfile::default(),
    })
}

/// A thousand rooms, and ten of them for each user.
async fn fill(rooms: &Rooms, users: &[User]) -> Result<Vec<OwnedRoomId>, Failure> {
    let mut made = Vec::with_capacity(ROOMS);
    for creator in users.iter().take(ROOMS) {
        made.push(rooms.create(actor(creator), gated_room()?).await?);
    }
    let joins = users.iter().enumerate().flat_map(|(number, user)| {
        let made = &made;
        (0..ROOMS_OF_USER).map(move |step| (user, &made[(number + step * 97) % ROOMS]))
    });
    let join = |(user, room): (_, &OwnedRoomId)| {
        let room = room.clone();
        async move { rooms.join(actor(user), &room, MemberProfile::default(), None).await }
    };
    stream::iter(joins).map(join).buffer_unordered(64).try_collect::<Vec<()>>().await?;
    Ok(made)
}

/// Nanoseconds of a decision.
fn decide(gate: &dyn Gate, user: &User, room: &wardroom_rooms::RoomView) -> f64 {
    let asker = Asker { user: &user.0, membership: Some(Membership::Join), was_joined: true };
    let started = Instant::now();
    for _ in 0..DECISIONS {
        black_box(gate.may(black_box(&asker), Action::Read, black_box(room)));
    }
    started.elapsed().as_secs_f64() * 1e9 / f64::from(DECISIONS)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let tables = [wardroom_rooms::TABLES, wardroom_accounts::TABLES, wardroom_care::TABLES];
    let options = Options { sync: false, ..Options::default() };
    let store = Store::open(dir.path(), &MasterKey::generate(), Catalogue::new(&tables)?, options).await?;
    let clock: SharedClock = Arc::new(SystemClock);
    let service = owned_user_id!("@_access:a.example");
    let judge = Judge::load(&store, Arc::clone(&clock), AuditLog::silent(), service.clone()).await?;
    let settings = wardroom_rooms::Settings {
        server_name: owned_server_name!("a.example"),
        default_version: room_version_id!("11"),
        signing_key: SigningKey::from_seed([7; 32], "1")?.into(),
        holds: Default::default(),
        retention: wardroom_rooms::RetentionSettings::default(),
    };
    let attestations = Attestations::new(store.clone(), Arc::clone(&clock), judge.clone(), Vec::new());
    let gate = Arc::new(CareGate::new(judge.clone(), attestations.clone()));
    let rooms = Rooms::new(store.clone(), Arc::clone(&clock), Arc::clone(&gate) as _, AuditLog::silent(), settings);
    let accounts = wardroom_accounts::Settings::new(owned_server_name!("a.example"));
    let accounts = Accounts::new(store.clone(), Arc::clone(&clock), AuditLog::silent(), accounts).await?;
    let settings = wardroom_care::Settings {
        service_user: service,
        display_name: "Access".to_owned(),
        recheck_ms: u64::MAX,
        removal_percent_max: 100,
        attest_to: Vec::new(),
    };
    let care = Care::new(
        store.clone(),
        clock,
        (rooms.clone(), accounts),
        (judge.clone(), attestations),
        AuditLog::silent(),
        settings,
    );
    let users = users(&store, &judge).await?;
    let made = fill(&rooms, &users).await?;

    let first = rooms.view(&made[0]).await?.ok_or(RoomError::NoSuchRoom)?;
    let (with, without) = (decide(&*gate, &users[0], &first), decide(&StandardGate, &users[0], &first));
    println!("a decision: {with:.0} ns with a policy, {without:.0} ns without (target: at most 5,000 ns more)");

    // The first look lets the server's own user in everywhere.
    care.revalidate_all().await?;
    let started = Instant::now();
    let found = care.revalidate_all().await?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "looking at {} memberships of {USERS} users in {} rooms: {seconds:.2} s (target: at most 10 s)",
        found.members, found.rooms
    );

    let none: HashMap<OwnedUserId, Said> = HashMap::new();
    let started = Instant::now();
    care.take_list(Source::Scim, none).await?;
    care.revalidate_all().await?;
    println!("putting all of them out: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}
