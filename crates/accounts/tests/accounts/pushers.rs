//! Pushers.

use serde_json::value::RawValue;
use wardroom_accounts::{AccountError, LoginRequest, NewPusher, PUSHERS_PER_USER_MAX, Session, User};

use crate::world::{World, world};

fn pusher(key: &str) -> NewPusher {
    NewPusher {
        pushkey: key.to_owned(),
        app_id: "example.ward".to_owned(),
        app_display_name: "Ward".to_owned(),
        device_display_name: "Phone".to_owned(),
        profile_tag: None,
        lang: "en".to_owned(),
        data: RawValue::from_string(r#"{"url":"https://gateway.example/"}"#.to_owned()).unwrap(),
    }
}

async fn device(world: &World, user: &User) -> Session {
    let login = world.accounts.login_as(&user.id, &LoginRequest::default()).await.unwrap();
    world.accounts.authenticate(&login.access_token).await.unwrap()
}

async fn keys(world: &World, user: &User) -> Vec<String> {
    let pushers = world.accounts.pushers(user.nid).await.unwrap();
    assert_eq!(pushers.len(), world.accounts.pusher_nids(user.nid).len(), "memory says the same");
    assert_eq!(world.accounts.has_pushers(user.nid), !pushers.is_empty());
    pushers.into_iter().map(|pusher| pusher.is.pushkey).collect()
}

#[tokio::test]
async fn a_pusher_keeps_its_number_while_it_is_changed() {
    let world = world().await;
    let alice = world.user("alice").await;
    let phone = device(&world, &alice).await;
    world.accounts.set_pusher(&phone, pusher("a"), false).await.unwrap();
    let nids = world.accounts.pusher_nids(alice.nid);
    let generation = world.accounts.pushers_generation();
    world.accounts.set_pusher(&phone, NewPusher { lang: "de".to_owned(), ..pusher("a") }, false).await.unwrap();
    assert_eq!(
        (world.accounts.pusher_nids(alice.nid), world.accounts.pushers_generation()),
        (nids.clone(), generation)
    );
    let changed = world.accounts.pusher(alice.nid, nids[0]).await.unwrap().unwrap();
    assert_eq!(changed.is.lang, "de");
    world.accounts.delete_pusher(alice.nid, "example.ward", "a").await.unwrap();
    assert!(keys(&world, &alice).await.is_empty());
    world.accounts.set_pusher(&phone, pusher("a"), false).await.unwrap();
    assert_ne!(world.accounts.pusher_nids(alice.nid), nids, "another one");
    world.accounts.delete_pusher_by_nid(alice.nid, nids[0]).await.unwrap();
    assert_eq!(keys(&world, &alice).await, ["a"], "the old number ends nothing");
}

#[tokio::test]
async fn pushers_end_with_devices_and_accounts() {
    let world = world().await;
    let alice = world.user("alice").await;
    let (phone, tablet) = (device(&world, &alice).await, device(&world, &alice).await);
    world.accounts.set_pusher(&phone, pusher("phone"), false).await.unwrap();
    world.accounts.set_pusher(&tablet, pusher("tablet"), false).await.unwrap();
    world.accounts.logout(&phone).await.unwrap();
    assert_eq!(keys(&world, &alice).await, ["tablet"]);
    let late = world.accounts.set_pusher(&phone, pusher("late"), false).await;
    assert!(matches!(late, Err(AccountError::UnknownDevice)), "{late:?}");
    world.accounts.deactivate(&alice.id).await.unwrap();
    assert!(keys(&world, &alice).await.is_empty());
}

#[tokio::test]
async fn a_pusher_set_while_its_device_ends_ends_with_it() {
    for _ in 0..20 {
        let world = world().await;
        let alice = world.user("alice").await;
        let phone = device(&world, &alice).await;
        let (set, ended) =
            tokio::join!(world.accounts.set_pusher(&phone, pusher("a"), false), world.accounts.logout(&phone));
        ended.unwrap();
        assert!(matches!(set, Ok(()) | Err(AccountError::UnknownDevice)), "{set:?}");
        assert!(keys(&world, &alice).await.is_empty());
    }
}

#[tokio::test]
async fn impossible_pushers_are_refused() {
    let world = world().await;
    let alice = world.user("alice").await;
    let phone = device(&world, &alice).await;
    for (field, impossible) in [
        ("pushkey", NewPusher { pushkey: "x".repeat(513), ..pusher("a") }),
        ("app_id", NewPusher { app_id: "x".repeat(65), ..pusher("a") }),
        ("lang", NewPusher { lang: "x".repeat(257), ..pusher("a") }),
        ("data", NewPusher { data: RawValue::from_string("7".to_owned()).unwrap(), ..pusher("a") }),
    ] {
        let refused = world.accounts.set_pusher(&phone, impossible, false).await;
        assert!(matches!(refused, Err(AccountError::Invalid { field: named, .. }) if named == field), "{refused:?}");
    }
    for number in 0..PUSHERS_PER_USER_MAX {
        world.accounts.set_pusher(&phone, pusher(&number.to_string()), false).await.unwrap();
    }
    let refused = world.accounts.set_pusher(&phone, pusher("more"), false).await;
    assert!(matches!(refused, Err(AccountError::Limit { limit: PUSHERS_PER_USER_MAX, .. })), "{refused:?}");
}
