//! Refreshing access tokens.

use std::collections::HashSet;

use ruma::device_id;
use wardroom_accounts::{AccountError, REFRESHABLE_ACCESS_MS_DEFAULT, TokenError};

use crate::world::{World, world, world_with};

async fn is_unknown(world: &World, refresh_token: &str) -> bool {
    matches!(world.accounts.refresh(refresh_token).await, Err(AccountError::UnknownRefreshToken))
}

#[tokio::test]
async fn the_old_pair_lasts_until_the_new_one_is_used() {
    let world = world().await;
    let alice = world.user("alice").await;
    let login = world.login_refreshable(&alice).await;
    assert_eq!(login.expires_in_ms, Some(REFRESHABLE_ACCESS_MS_DEFAULT));
    let old_refresh = login.refresh_token.unwrap();
    assert_eq!(world.whoami(&login.access_token).await.as_ref(), Some(&alice.id));

    let new = world.accounts.refresh(&old_refresh).await.unwrap();
    assert!(world.whoami(&login.access_token).await.is_some(), "the new pair may not have arrived");
    assert_eq!(world.whoami(&new.access_token).await, Some(alice.id));
    assert!(world.whoami(&login.access_token).await.is_none());
    assert!(is_unknown(&world, &old_refresh).await);
    assert!(world.whoami(&new.access_token).await.is_some());
    assert_eq!(world.accounts.devices(alice.nid).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_can_be_asked_for_again() {
    let world = world().await;
    let alice = world.user("alice").await;
    let refresh = world.login_refreshable(&alice).await.refresh_token.unwrap();
    let lost = world.accounts.refresh(&refresh).await.unwrap();
    let got = world.accounts.refresh(&refresh).await.unwrap();
    assert!(world.whoami(&lost.access_token).await.is_none());
    assert!(is_unknown(&world, lost.refresh_token.as_deref().unwrap()).await);
    assert!(world.whoami(&got.access_token).await.is_some());
    assert!(is_unknown(&world, &refresh).await);
}

#[tokio::test]
async fn using_the_new_refresh_token_ends_the_old_one() {
    let world = world().await;
    let alice = world.user("alice").await;
    let first = world.login_refreshable(&alice).await.refresh_token.unwrap();
    let second = world.accounts.refresh(&first).await.unwrap().refresh_token.unwrap();
    let third = world.accounts.refresh(&second).await.unwrap();
    assert!(is_unknown(&world, &first).await);
    assert!(world.whoami(&third.access_token).await.is_some());
    assert!(is_unknown(&world, &second).await);
}

#[tokio::test]
async fn refreshing_goes_on_after_the_access_token_has_expired() {
    let world = world().await;
    let alice = world.user("alice").await;
    let login = world.login_refreshable(&alice).await;
    world.clock.advance_ms(REFRESHABLE_ACCESS_MS_DEFAULT);
    assert!(matches!(world.accounts.authenticate(&login.access_token).await, Err(TokenError::Expired)));
    let new = world.accounts.refresh(login.refresh_token.as_deref().unwrap()).await.unwrap();
    assert!(world.whoami(&new.access_token).await.is_some());
}

#[tokio::test]
async fn an_expired_refresh_token_is_said_to_be_that() {
    let world = world_with(|settings| settings.tokens.refresh_ms = Some(10_000)).await;
    let alice = world.user("alice").await;
    let refresh = world.login_refreshable(&alice).await.refresh_token.unwrap();
    world.clock.advance_ms(10_000);
    assert!(matches!(world.accounts.refresh(&refresh).await, Err(AccountError::ExpiredRefreshToken)));
}

#[tokio::test]
async fn logout_ends_refresh_tokens_too() {
    let world = world().await;
    let alice = world.user("alice").await;
    let login = world.login_refreshable(&alice).await;
    let first = login.refresh_token.unwrap();
    let second = world.accounts.refresh(&first).await.unwrap();
    let session = world.accounts.authenticate(&login.access_token).await.unwrap();
    world.accounts.logout(&session).await.unwrap();
    for token in [&first, second.refresh_token.as_ref().unwrap()] {
        assert!(is_unknown(&world, token).await);
    }
    assert!(world.whoami(&second.access_token).await.is_none());
    for junk in ["", "wdr_x", &"x".repeat(10_000)] {
        assert!(is_unknown(&world, junk).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_refreshes_at_the_same_time_exactly_one_pair_counts() {
    let world = world().await;
    let alice = world.user("alice").await;
    for _ in 0..20 {
        let refresh = world.login_refreshable(&alice).await.refresh_token.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (accounts, refresh) = (world.accounts.clone(), refresh.clone());
            tasks.spawn(async move { accounts.refresh(&refresh).await.unwrap() });
        }
        let pairs = tasks.join_all().await;
        let different: HashSet<_> = pairs.iter().map(|pair| &pair.access_token).collect();
        assert_eq!(different.len(), 8);
        let mut good = 0;
        for pair in &pairs {
            good += usize::from(world.whoami(&pair.access_token).await.is_some());
        }
        assert_eq!(good, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_survives_a_deletion_that_races_with_a_refresh() {
    let world = world().await;
    let alice = world.user("alice").await;
    for _ in 0..50 {
        let login = world.login_refreshable(&alice).await;
        let refresh = login.refresh_token.unwrap();
        let refreshing = tokio::spawn({
            let accounts = world.accounts.clone();
            let refresh = refresh.clone();
            async move { accounts.refresh(&refresh).await }
        });
        world.accounts.delete_devices(alice.nid, &[login.device]).await.unwrap();
        if let Ok(pair) = refreshing.await.unwrap() {
            assert!(world.whoami(&pair.access_token).await.is_none());
            assert!(is_unknown(&world, pair.refresh_token.as_deref().unwrap()).await);
        }
        assert!(is_unknown(&world, &refresh).await);
    }
}

#[tokio::test]
async fn renaming_a_refreshed_device_keeps_its_tokens() {
    let world = world().await;
    let alice = world.user("alice").await;
    let login = world.login_refreshable(&alice).await;
    let new = world.accounts.refresh(login.refresh_token.as_deref().unwrap()).await.unwrap();
    world.accounts.rename_device(alice.nid, &login.device, Some("Tablet")).await.unwrap();
    assert!(world.whoami(&new.access_token).await.is_some());
    let unknown = world.accounts.rename_device(alice.nid, device_id!("NONE"), None).await;
    assert!(matches!(unknown, Err(AccountError::UnknownDevice)));
}
