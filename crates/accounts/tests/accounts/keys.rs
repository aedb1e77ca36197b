//! Keys of devices, where the black-box tests cannot look.

use std::collections::BTreeSet;

use ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::{json, value::to_raw_value};
use wardroom_accounts::{KeyUpload, LoginRequest, Session};
use wardroom_store::Position;

use crate::world::{World, world};

const KIND: &str = "signed_curve25519";

async fn session(world: &World, name: &str) -> Session {
    let user = world.user(name).await;
    let login = world.login(&user).await;
    world.accounts.authenticate(&login.access_token).await.unwrap()
}

async fn upload(world: &World, session: &Session, names: impl Iterator<Item = u32>) -> u64 {
    let key = |name: u32| {
        let key = json!({ "key": format!("{name:0>43}"), "signatures": {} });
        (format!("{KIND}:{name}"), to_raw_value(&key).unwrap())
    };
    let upload = KeyUpload { one_time_keys: names.map(key).collect(), ..KeyUpload::default() };
    let device = session.device_ref();
    world.accounts.upload_keys(&session.user, &session.device, device, &upload).await.unwrap()[KIND]
}

fn wish(session: &Session) -> (OwnedUserId, OwnedDeviceId, String) {
    (session.user.clone(), session.device.clone(), KIND.to_owned())
}

#[tokio::test]
async fn a_claimed_key_is_not_taken_again_until_long_after() {
    let world = world().await;
    let alice = session(&world, "alice").await;
    let mut given = BTreeSet::new();
    for first in [0, 600] {
        assert_eq!(upload(&world, &alice, first..first + 600).await, 600);
        for claimed in world.accounts.claim_keys(vec![wish(&alice); 600]).await.unwrap() {
            assert!(given.insert(claimed.id), "each once");
        }
    }
    assert_eq!(given.len(), 1_200);
    assert!(world.accounts.claim_keys(vec![wish(&alice)]).await.unwrap().is_empty());
    // The newest thousand are remembered, those before need not be.
    assert_eq!(upload(&world, &alice, 600..1_200).await, 0);
    let again = upload(&world, &alice, 0..600).await;
    assert!(again <= 200, "{again} of those that were given out first are forgotten");
}

#[tokio::test]
async fn many_can_sign_in_and_out_at_the_same_time_on_one_account() {
    let world = world().await;
    let user = world.user("ward").await;
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (accounts, id) = (world.accounts.clone(), user.id.clone());
        logins.spawn(async move {
            let login = accounts.login_as(&id, &LoginRequest::default()).await.unwrap();
            let session = accounts.authenticate(&login.access_token).await.unwrap();
            accounts.logout(&session).await.unwrap();
        });
    }
    while let Some(login) = logins.join_next().await {
        login.unwrap();
    }
    assert!(world.accounts.devices(user.nid).await.unwrap().is_empty());
    let changes = world.accounts.device_list_changes(Position::ZERO, world.store.position()).await.unwrap();
    assert_eq!(changes, [user.nid], "one row, however often the devices changed");
}
