//! Account data, tags, filters, and how a sync learns of changes.

use std::time::Duration;

use ruma::{api::client::filter::FilterDefinition, event_id};
use serde_json::{json, value::RawValue};
use wardroom_accounts::{
    ACCOUNT_DATA_BYTES_MAX, ACCOUNT_DATA_TYPES_MAX, AccountDatum, AccountError, DataScope, FILTERS_PER_USER_MAX,
    TAGS_PER_ROOM_MAX,
};
use wardroom_store::Position;

use crate::world::{World, world};

const WARD: u64 = 7;
const LAB: u64 = 8;

fn raw(value: &serde_json::Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn shown(data: &[AccountDatum]) -> Vec<(DataScope, &str, &str)> {
    data.iter().map(|datum| (datum.scope, datum.event_type.as_str(), datum.content.get())).collect()
}

#[tokio::test]
async fn what_is_set_is_read_back_as_written() {
    let world = world().await;
    let alice = world.user("alice").await;
    let accounts = &world.accounts;
    let content = RawValue::from_string(r#"{ "b": 1.50,  "a": [] }"#.to_owned()).unwrap();
    accounts.set_account_data(alice.nid, DataScope::Global, "org.example", &content).await.unwrap();
    let read = accounts.account_data(alice.nid, DataScope::Global, "org.example").await.unwrap().unwrap();
    assert_eq!(read.get(), content.get());
    for (scope, kind) in [(DataScope::Room(WARD), "org.example"), (DataScope::Global, "org.other")] {
        assert!(accounts.account_data(alice.nid, scope, kind).await.unwrap().is_none());
    }
    let bob = world.user("bob").await;
    assert!(accounts.account_data(bob.nid, DataScope::Global, "org.example").await.unwrap().is_none());
}

#[tokio::test]
async fn a_sync_sees_each_change_once_and_only_the_newest() {
    let world = world().await;
    let accounts = &world.accounts;
    let alice = world.user("alice").await;
    let start = world.store.position();
    let set = async |scope, kind: &str, n: u64| {
        accounts.set_account_data(alice.nid, scope, kind, &raw(&json!({ "n": n }))).await.unwrap()
    };
    set(DataScope::Global, "a", 1).await;
    let two = set(DataScope::Room(WARD), "b", 2).await;
    let three = set(DataScope::Global, "a", 3).await;
    let now = world.store.position();
    let changes = accounts.account_data_since(alice.nid, start, now).await.unwrap();
    let b = (DataScope::Room(WARD), "b", r#"{"n":2}"#);
    let a = (DataScope::Global, "a", r#"{"n":3}"#);
    assert_eq!(shown(&changes), [b, a]);
    assert_eq!(shown(&accounts.account_data_since(alice.nid, start, two).await.unwrap()), [b]);
    assert_eq!(shown(&accounts.account_data_since(alice.nid, two, now).await.unwrap()), [a]);
    for (since, up_to) in [(three, now), (now, now), (now, start)] {
        assert!(accounts.account_data_since(alice.nid, since, up_to).await.unwrap().is_empty());
    }
    let max = Position::new(u64::MAX - 1);
    assert_eq!(accounts.account_data_since(alice.nid, Position::ZERO, max).await.unwrap().len(), 3, "and push rules");
    assert_eq!(shown(&accounts.all_room_account_data(alice.nid, WARD).await.unwrap()), [b]);
    let all = accounts.all_account_data(alice.nid).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(shown(&all).contains(&a));
}

#[tokio::test]
async fn a_change_wakes_its_user_and_nobody_else() {
    let world = world().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let mut for_alice = world.store.watches().waiter([alice.nid.watch_key()]);
    let mut for_bob = world.store.watches().waiter([bob.nid.watch_key()]);
    let content = raw(&json!({}));
    let set = world.accounts.set_account_data(alice.nid, DataScope::Global, "a", &content);
    let position = set.await.unwrap();
    for_alice.changed().await;
    assert_eq!(world.store.watches().last(alice.nid.watch_key()), position);
    assert!(tokio::time::timeout(Duration::ZERO, for_bob.changed()).await.is_err());
}

#[tokio::test]
async fn the_server_keeps_its_types_and_limits() {
    let world = world().await;
    let accounts = &world.accounts;
    let alice = world.user("alice").await;
    let empty = raw(&json!({}));
    for kind in ["m.push_rules", "m.fully_read"] {
        let result = accounts.set_account_data(alice.nid, DataScope::Global, kind, &empty).await;
        assert!(matches!(result, Err(AccountError::ReservedAccountData)));
    }
    for bad in [json!([]), json!("x"), json!(null), json!(1)] {
        let result = accounts.set_account_data(alice.nid, DataScope::Global, "a", &raw(&bad)).await;
        assert!(matches!(result, Err(AccountError::Invalid { field: "content", .. })));
    }
    let large = raw(&json!({ "x": "x".repeat(ACCOUNT_DATA_BYTES_MAX) }));
    let result = accounts.set_account_data(alice.nid, DataScope::Global, "a", &large).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
    let result = accounts.set_account_data(alice.nid, DataScope::Global, &"x".repeat(256), &empty).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
    for n in 0..ACCOUNT_DATA_TYPES_MAX {
        accounts.set_account_data(alice.nid, DataScope::Room(WARD), &n.to_string(), &empty).await.unwrap();
    }
    let result = accounts.set_account_data(alice.nid, DataScope::Room(WARD), "more", &empty).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
    accounts.set_account_data(alice.nid, DataScope::Room(WARD), "0", &empty).await.unwrap();
    accounts.set_account_data(alice.nid, DataScope::Room(LAB), "more", &empty).await.unwrap();
    // More than one page of changes.
    let changes = accounts.account_data_since(alice.nid, Position::ZERO, world.store.position()).await.unwrap();
    assert_eq!(changes.len(), ACCOUNT_DATA_TYPES_MAX + 2, "and push rules");
}

#[tokio::test]
async fn a_read_marker_is_account_data_of_the_room() {
    let world = world().await;
    let alice = world.user("alice").await;
    for event in [event_id!("$one"), event_id!("$two")] {
        world.accounts.set_fully_read(alice.nid, WARD, event).await.unwrap();
    }
    let data = world.accounts.all_room_account_data(alice.nid, WARD).await.unwrap();
    assert_eq!(shown(&data), [(DataScope::Room(WARD), "m.fully_read", r#"{"event_id":"$two"}"#)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_at_the_same_time_leave_one_change() {
    let world = world().await;
    let alice = world.user("alice").await;
    let start = world.store.position();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..8 {
        let accounts = world.accounts.clone();
        tasks.spawn(async move {
            accounts.set_account_data(alice.nid, DataScope::Global, "a", &raw(&json!({ "n": n }))).await.unwrap()
        });
    }
    let newest = tasks.join_all().await.into_iter().max().unwrap();
    let changes = world.accounts.account_data_since(alice.nid, start, newest).await.unwrap();
    assert_eq!(changes.len(), 1);
    let before = Position::new(newest.get() - 1);
    assert!(world.accounts.account_data_since(alice.nid, start, before).await.unwrap().is_empty());
}

#[tokio::test]
async fn tags_are_set_listed_and_removed() {
    let world = world().await;
    let alice = world.user("alice").await;
    let names = async |world: &World| {
        let tags = world.accounts.tags(alice.nid, WARD).await.unwrap();
        tags.into_iter().map(|(name, info)| format!("{name}={}", info.get())).collect::<Vec<_>>()
    };
    assert!(names(&world).await.is_empty());
    world.accounts.set_tag(alice.nid, WARD, "u.work", &raw(&json!({ "order": 0.5 }))).await.unwrap();
    world.accounts.set_tag(alice.nid, WARD, "m.favourite", &raw(&json!({}))).await.unwrap();
    assert_eq!(names(&world).await, ["m.favourite={}", r#"u.work={"order":0.5}"#]);
    world.accounts.remove_tag(alice.nid, WARD, "u.work").await.unwrap();
    let position = world.store.position();
    world.accounts.remove_tag(alice.nid, WARD, "u.work").await.unwrap();
    assert_eq!(world.store.position(), position, "nothing to write");
    let data = world.accounts.all_room_account_data(alice.nid, WARD).await.unwrap();
    assert_eq!(shown(&data), [(DataScope::Room(WARD), "m.tag", r#"{"tags":{"m.favourite":{}}}"#)]);
    let content = raw(&json!({ "tags": "junk" }));
    world.accounts.set_account_data(alice.nid, DataScope::Room(WARD), "m.tag", &content).await.unwrap();
    assert!(names(&world).await.is_empty());
}

#[tokio::test]
async fn tags_have_limits() {
    let world = world().await;
    let alice = world.user("alice").await;
    let info = raw(&json!({}));
    for n in 0..TAGS_PER_ROOM_MAX {
        world.accounts.set_tag(alice.nid, WARD, &n.to_string(), &info).await.unwrap();
    }
    for tag in ["more", &"x".repeat(256)] {
        let result = world.accounts.set_tag(alice.nid, WARD, tag, &info).await;
        assert!(matches!(result, Err(AccountError::Limit { .. })));
    }
    world.accounts.set_tag(alice.nid, WARD, "0", &info).await.unwrap();
}

#[tokio::test]
async fn the_same_filter_is_stored_once() {
    let world = world().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let mut filter = FilterDefinition::default();
    filter.room.include_leave = true;
    let id = world.accounts.create_filter(alice.nid, &filter).await.unwrap();
    assert!(!id.starts_with('{'));
    let position = world.store.position();
    assert_eq!(world.accounts.create_filter(alice.nid, &filter).await.unwrap(), id);
    assert_eq!(world.store.position(), position);
    for _ in 0..2 {
        assert!(world.accounts.filter(alice.nid, &id).await.unwrap().unwrap().room.include_leave);
    }
    assert!(world.accounts.filter(bob.nid, &id).await.unwrap().is_none());
    for junk in ["", "0", "AAAAAAAAAAAAAAAAAAAAAA", &format!("{id}AAAA"), "ä", &"A".repeat(10_000)] {
        assert!(world.accounts.filter(alice.nid, junk).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn filters_have_limits() {
    let world = world().await;
    let alice = world.user("alice").await;
    let filter = |limit: u32| {
        let mut filter = FilterDefinition::default();
        filter.room.timeline.limit = Some(limit.into());
        filter
    };
    for n in 0..u32::try_from(FILTERS_PER_USER_MAX).unwrap() {
        world.accounts.create_filter(alice.nid, &filter(n)).await.unwrap();
    }
    let result = world.accounts.create_filter(alice.nid, &filter(1_000_000)).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
    world.accounts.create_filter(alice.nid, &filter(0)).await.unwrap();
    let mut large = FilterDefinition::default();
    large.event_fields = Some(vec!["x".repeat(100_000)]);
    let result = world.accounts.create_filter(alice.nid, &large).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));
}
