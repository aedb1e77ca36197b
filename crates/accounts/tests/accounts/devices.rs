//! Devices and when they were seen.

use std::net::{IpAddr, Ipv4Addr};

use ruma::{device_id, owned_device_id};
use wardroom_accounts::{AccountError, LoginRequest};

use crate::world::world;

const WARD: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)));
const HOME: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)));

#[tokio::test]
async fn devices_are_listed_renamed_and_deleted() {
    let world = world().await;
    let alice = world.user("alice").await;
    for name in ["A", "B", "C"] {
        world.login_on(&alice, name.into()).await;
        world.clock.advance_ms(1);
    }
    let ids = |devices: &[wardroom_accounts::Device]| devices.iter().map(|d| d.id.to_string()).collect::<Vec<_>>();
    let devices = world.accounts.devices(alice.nid).await.unwrap();
    assert_eq!(ids(&devices), ["A", "B", "C"]);
    assert_eq!(world.accounts.device(alice.nid, device_id!("B")).await.unwrap().as_ref(), Some(&devices[1]));
    assert_eq!(world.accounts.device(alice.nid, device_id!("X")).await.unwrap(), None);

    world.accounts.rename_device(alice.nid, device_id!("B"), Some("Ward tablet")).await.unwrap();
    let device = world.accounts.device(alice.nid, device_id!("B")).await.unwrap().unwrap();
    assert_eq!(device.display_name.as_deref(), Some("Ward tablet"));
    let long = "x".repeat(101);
    let result = world.accounts.rename_device(alice.nid, device_id!("B"), Some(&long)).await;
    assert!(matches!(result, Err(AccountError::Limit { .. })));

    let some = [owned_device_id!("C"), owned_device_id!("A"), owned_device_id!("A"), owned_device_id!("X")];
    world.accounts.delete_devices(alice.nid, &some).await.unwrap();
    assert_eq!(ids(&world.accounts.devices(alice.nid).await.unwrap()), ["B"]);
    world.accounts.delete_devices(alice.nid, &[]).await.unwrap();
}

#[tokio::test]
async fn being_seen_is_noted_at_once_and_written_rarely() {
    let world = world().await;
    let alice = world.user("alice").await;
    let login = world.login(&alice).await;
    let session = world.accounts.authenticate(&login.access_token).await.unwrap();
    assert_eq!(world.accounts.devices(alice.nid).await.unwrap()[0].last_seen_ms, None);

    world.accounts.note_seen(&session, WARD, true);
    let seen = || async {
        let device = world.accounts.device(alice.nid, &login.device).await.unwrap().unwrap();
        (device.last_seen_ms, device.last_seen_ip)
    };
    let first = seen().await;
    assert_eq!(first.1, WARD);
    world.accounts.flush_seen().await.unwrap();
    assert_eq!(seen().await, first, "from the store now");

    let position = world.store.position();
    world.clock.advance_ms(60_000);
    world.accounts.note_seen(&session, HOME, true);
    world.accounts.flush_seen().await.unwrap();
    assert_eq!(seen().await, first, "a minute later is not worth a write");
    assert_eq!(world.store.position(), position);

    world.clock.advance_ms(4 * 60_000);
    world.accounts.note_seen(&session, HOME, true);
    assert_eq!(seen().await, (first.0.map(|ms| ms + 5 * 60_000), HOME));
}

#[tokio::test]
async fn a_deleted_device_leaves_no_sighting() {
    let world = world().await;
    let alice = world.user("alice").await;
    let request = LoginRequest { device_id: Some(device_id!("TABLET")), ..LoginRequest::default() };
    let login = world.accounts.login_as(&alice.id, &request).await.unwrap();
    let session = world.accounts.authenticate(&login.access_token).await.unwrap();
    world.accounts.note_seen(&session, WARD, true);
    world.accounts.logout(&session).await.unwrap();
    world.accounts.flush_seen().await.unwrap();
    world.accounts.login_as(&alice.id, &request).await.unwrap();
    assert_eq!(world.accounts.devices(alice.nid).await.unwrap()[0].last_seen_ms, None);
}
