//! Devices of users of other servers, and messages to and from them.

use std::collections::BTreeMap;

use ruma::{OwnedDeviceId, OwnedUserId, UserId, owned_user_id, server_name, user_id};
use serde_json::{Value, json, value::to_raw_value};
use wardroom_accounts::{
    AccountError, DeviceSnapshot, DeviceUpdate, ListState, NS_USER, RemoteDevice, ToDeviceMessages, ToDeviceTarget,
    Updated, UserNid,
};
use wardroom_store::{Batch, Position};

use crate::world::{World, world, world_with};

fn bob() -> &'static UserId {
    user_id!("@bob:hospital-b.example")
}

/// Somebody of another server who shares a room.
async fn meet(world: &World, user: &UserId) -> UserNid {
    let mut batch = Batch::default();
    let nid = world.store.interner().intern(&mut batch, NS_USER, user.as_str()).await.unwrap();
    world.store.commit(batch).await.unwrap();
    UserNid::new(nid)
}

fn device(id: &str, keys: &Value) -> RemoteDevice {
    RemoteDevice { id: OwnedDeviceId::from(id), display_name: None, keys: Some(to_raw_value(keys).unwrap()) }
}

fn keys(device: &str, version: u64) -> Value {
    json!({ "user_id": bob(), "device_id": device, "version": version, "unsigned": { "x": 1 } })
}

fn snapshot(stream_id: u64, devices: &[&str]) -> DeviceSnapshot {
    let devices = devices.iter().map(|id| device(id, &keys(id, stream_id))).collect();
    DeviceSnapshot { stream_id, devices, master: None, self_signing: None }
}

fn update(stream_id: u64, prev_ids: &[u64], id: &str) -> DeviceUpdate {
    let device = device(id, &keys(id, stream_id));
    DeviceUpdate { stream_id, prev_ids: prev_ids.to_vec(), device, deleted: false }
}

async fn known(world: &World, nid: UserNid) -> Vec<(String, u64)> {
    let devices = world.accounts.remote_device_keys(nid, &[]).await.unwrap();
    let mut known: Vec<_> = devices
        .iter()
        .map(|device| {
            let keys: Value = serde_json::from_str(device.keys.get()).unwrap();
            assert_eq!(keys["unsigned"], json!({}), "what the other server adds is not passed on");
            (device.id.to_string(), keys["version"].as_u64().unwrap())
        })
        .collect();
    known.sort();
    known
}

async fn announced(world: &World, since: Position, nid: UserNid) -> bool {
    let changes = world.accounts.device_list_changes(since, world.store.position()).await.unwrap();
    changes.contains(&nid)
}

#[tokio::test]
async fn changes_are_followed_and_a_gap_is_noticed() {
    let world = world().await;
    let (accounts, nid) = (&world.accounts, meet(&world, bob()).await);
    assert_eq!(accounts.remote_list(nid).await.unwrap(), ListState::Unknown);
    let start = world.store.position();
    accounts.keep_remote_list(bob(), &snapshot(5, &["A", "B"]), 0).await.unwrap();
    assert_eq!(accounts.remote_list(nid).await.unwrap(), ListState::Fresh);
    assert!(announced(&world, start, nid).await);

    // The next change names one that the list holds.
    let before = world.store.position();
    assert_eq!(accounts.update_remote_device(bob(), &update(7, &[5], "C")).await.unwrap(), Updated::Done);
    assert!(announced(&world, before, nid).await);
    assert_eq!(known(&world, nid).await, [("A".into(), 5), ("B".into(), 5), ("C".into(), 7)]);
    let before = world.store.position();
    assert_eq!(accounts.update_remote_device(bob(), &update(7, &[5], "C")).await.unwrap(), Updated::Done);
    assert_eq!(world.store.position(), before, "the same again changes nothing");

    // One that names a change that was never heard of.
    assert_eq!(accounts.update_remote_device(bob(), &update(9, &[8], "D")).await.unwrap(), Updated::Stale);
    assert_eq!(accounts.remote_list(nid).await.unwrap(), ListState::Stale(9));
    assert_eq!(accounts.stale_remote_lists(10).await.unwrap(), [bob()]);
    assert_eq!(known(&world, nid).await.len(), 3, "until it is fetched, the list stays as it was");
    accounts.keep_remote_list(bob(), &snapshot(9, &["B", "D"]), 9).await.unwrap();
    assert_eq!(known(&world, nid).await, [("B".into(), 9), ("D".into(), 9)]);
    assert!(accounts.stale_remote_lists(10).await.unwrap().is_empty());

    // A device that ends.
    let gone = DeviceUpdate { deleted: true, ..update(10, &[9], "B") };
    assert_eq!(accounts.update_remote_device(bob(), &gone).await.unwrap(), Updated::Done);
    assert_eq!(known(&world, nid).await, [("D".into(), 9)]);

    accounts.drop_remote_lists(&[nid]).await.unwrap();
    assert_eq!(accounts.remote_list(nid).await.unwrap(), ListState::Unknown);
    assert!(known(&world, nid).await.is_empty());
}

#[tokio::test]
async fn a_change_that_overtakes_the_fetching_is_not_lost() {
    let world = world().await;
    let (accounts, nid) = (&world.accounts, meet(&world, bob()).await);
    assert_eq!(accounts.update_remote_device(bob(), &update(3, &[], "A")).await.unwrap(), Updated::Stale);
    // While the list is fetched, one more change comes that it does not hold yet.
    assert_eq!(accounts.update_remote_device(bob(), &update(4, &[3], "B")).await.unwrap(), Updated::Stale);
    accounts.keep_remote_list(bob(), &snapshot(3, &["A"]), 3).await.unwrap();
    assert_eq!(accounts.remote_list(nid).await.unwrap(), ListState::Stale(4));
    accounts.keep_remote_list(bob(), &snapshot(4, &["A", "B"]), 4).await.unwrap();
    assert_eq!(accounts.remote_list(nid).await.unwrap(), ListState::Fresh);
}

#[tokio::test]
async fn attempts_that_fail_are_put_off_longer_and_longer() {
    let world = world().await;
    let (accounts, nid) = (&world.accounts, meet(&world, bob()).await);
    accounts.follow_remote_lists(&[nid]).await.unwrap();
    let mut last = 0;
    for _ in 0..70 {
        let due = accounts.next_stale_remote_list().await.unwrap().unwrap();
        assert!(due >= last);
        last = due;
        accounts.put_off_remote_list(bob()).await.unwrap();
        assert!(accounts.stale_remote_lists(10).await.unwrap().is_empty());
    }
    let wait = last - accounts.now_ms();
    assert_eq!(wait, 60 * 60 * 1_000);
    // A change meanwhile shows that the server is there, which is not asked at once and as often as it likes all the same.
    accounts.update_remote_device(bob(), &update(3, &[], "A")).await.unwrap();
    assert!(accounts.stale_remote_lists(10).await.unwrap().is_empty());
    assert_eq!(accounts.next_stale_remote_list().await.unwrap().unwrap() - accounts.now_ms(), 5_000);
}

#[tokio::test]
async fn keys_that_say_to_be_anothers_are_not_kept() {
    let world = world().await;
    let nid = meet(&world, bob()).await;
    let mut list = snapshot(1, &["A"]);
    list.devices.push(device("B", &keys("A", 1)));
    list.devices.push(device("C", &json!({ "user_id": "@eve:hospital-b.example", "device_id": "C", "version": 1 })));
    list.devices.push(device("D", &json!({ "version": 1 })));
    world.accounts.keep_remote_list(bob(), &list, 0).await.unwrap();
    assert_eq!(known(&world, nid).await, [("A".into(), 1), ("D".into(), 1)]);
}

fn messages(user: &OwnedUserId, device: &str, content: &Value) -> ToDeviceMessages {
    let target = ToDeviceTarget::Device(OwnedDeviceId::from(device));
    BTreeMap::from([(user.clone(), BTreeMap::from([(target, to_raw_value(content).unwrap())]))])
}

#[tokio::test]
async fn a_message_of_another_server_is_delivered_once() {
    let world = world().await;
    let alice = world.user("alice").await;
    let session = world.accounts.authenticate(&world.login(&alice).await.access_token).await.unwrap();
    let origin = server_name!("hospital-b.example");
    let receive = async |id: &str, origin| {
        let messages = messages(&alice.id, session.device.as_str(), &json!({ "n": 1 }));
        world.accounts.receive_to_device(origin, bob(), "m.x", id, &messages).await
    };
    for _ in 0..3 {
        receive("one", origin).await.unwrap();
    }
    receive("one", server_name!("hospital-c.example")).await.unwrap();
    receive("two", origin).await.unwrap();
    let now = world.store.position();
    let waiting = world.accounts.to_device_events(session.device_nid, Position::ZERO, now, 10).await.unwrap();
    assert_eq!(waiting.len(), 3, "ids are those of one server");
    assert!(matches!(receive(&"i".repeat(256), origin).await, Err(AccountError::Limit { .. })));
}

#[tokio::test]
async fn what_is_for_other_servers_waits_in_pieces() {
    let world = world_with(|settings| settings.federation = true).await;
    let alice = world.user("alice").await;
    let session = world.accounts.authenticate(&world.login(&alice).await.access_token).await.unwrap();
    let (bob, carol) = (owned_user_id!("@bob:hospital-b.example"), owned_user_id!("@carol:hospital-c.example"));
    let large = to_raw_value(&json!({ "x": "x".repeat(30_000) })).unwrap();
    let devices = |n: usize| -> BTreeMap<_, _> {
        (0..n).map(|n| (ToDeviceTarget::Device(OwnedDeviceId::from(n.to_string())), large.clone())).collect()
    };
    let messages = BTreeMap::from([(bob, devices(3)), (carol, devices(1))]);
    for _ in 0..2 {
        world.accounts.send_to_device(&session, "m.x", "txn", &messages).await.unwrap();
    }
    let waiting = world.accounts.outgoing_to_device(100).await.unwrap();
    let contents: Vec<Value> = waiting.iter().map(|row| serde_json::from_str(row.content.get()).unwrap()).collect();
    let servers: Vec<&str> = waiting.iter().map(|row| row.server.as_str()).collect();
    assert_eq!(servers, ["hospital-b.example", "hospital-b.example", "hospital-b.example", "hospital-c.example"]);
    let ids: std::collections::BTreeSet<_> = contents.iter().map(|content| content["message_id"].to_string()).collect();
    assert_eq!(ids.len(), 4);
    for content in &contents {
        assert_eq!((&content["sender"], &content["type"]), (&json!(alice.id), &json!("m.x")));
        assert!(content["message_id"].as_str().unwrap().len() <= 32);
    }
    let mut batch = Batch::default();
    world.accounts.handed_over(&mut batch, &waiting[0]);
    world.store.commit(batch).await.unwrap();
    assert_eq!(world.accounts.outgoing_to_device(100).await.unwrap().len(), 3);
}
