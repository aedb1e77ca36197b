//! Signing in, tokens and signing out.

use ruma::device_id;
use wardroom_accounts::{AccountError, DEVICE_DISPLAY_NAME_CHARS_MAX, LoginRequest, LogoutDevices, TokenError};

use crate::world::{PASSWORD, SERVER, world, world_with};

#[tokio::test]
async fn a_password_opens_a_session() {
    let world = world().await;
    let alice = world.user("alice").await;
    for name in ["alice", "Alice", &format!("@alice:{SERVER}")] {
        let login = world.accounts.login_with_password(name, PASSWORD, &LoginRequest::default()).await.unwrap();
        assert_eq!(login.user, alice.id);
        assert_eq!(login.refresh_token, None);
        assert_eq!(login.expires_in_ms, None);
        let session = world.accounts.authenticate(&login.access_token).await.unwrap();
        assert_eq!((&session.user, session.nid, &session.device), (&alice.id, alice.nid, &login.device));
        assert!(!session.admin && !session.guest);
    }
}

#[tokio::test]
async fn wrong_names_and_passwords_look_the_same() {
    let world = world().await;
    world.user("alice").await;
    world.accounts.create_user("robot", None, false).await.unwrap();
    let tries = [
        ("alice", "wrong"),
        ("alice", ""),
        ("nobody", PASSWORD),
        ("@alice:elsewhere.example", PASSWORD),
        ("not a name!", PASSWORD),
        ("", PASSWORD),
        ("robot", ""),
        ("robot", "nobody has this password"),
    ];
    for (name, password) in tries {
        let result = world.accounts.login_with_password(name, password, &LoginRequest::default()).await;
        assert!(matches!(result, Err(AccountError::WrongPassword)), "{name:?} {password:?}");
    }
}

#[tokio::test]
async fn junk_tokens_open_nothing() {
    let world = world().await;
    let alice = world.user("alice").await;
    let login = world.login(&alice).await;
    let token = login.access_token;
    let long = "x".repeat(100_000);
    for junk in ["", "x", &token[1..], &format!("{token}x"), long.as_str(), "\0", "ä"] {
        assert!(matches!(world.accounts.authenticate(junk).await, Err(TokenError::Unknown)), "{junk:.10}");
    }
    assert_eq!(world.whoami(&token).await, Some(alice.id));
}

#[tokio::test]
async fn signing_in_on_a_known_device_ends_its_old_token() {
    let world = world().await;
    let alice = world.user("alice").await;
    let first =
        LoginRequest { device_id: Some(device_id!("TABLET")), display_name: Some("Ward 3 tablet"), refresh: true };
    let first = world.accounts.login_as(&alice.id, &first).await.unwrap();
    let nid = world.accounts.authenticate(&first.access_token).await.unwrap().device_nid;
    let second = LoginRequest {
        device_id: Some(device_id!("TABLET")),
        display_name: Some("Another name"),
        ..LoginRequest::default()
    };
    let second = world.accounts.login_as(&alice.id, &second).await.unwrap();
    assert_eq!(second.device, "TABLET");
    assert_eq!(world.whoami(&first.access_token).await, None);
    let refreshed = world.accounts.refresh(first.refresh_token.as_deref().unwrap()).await;
    assert!(matches!(refreshed, Err(AccountError::UnknownRefreshToken)));
    assert_eq!(world.accounts.authenticate(&second.access_token).await.unwrap().device_nid, nid);
    let devices = world.accounts.devices(alice.nid).await.unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0].display_name.as_deref(), Some("Ward 3 tablet"), "ignored for a known device");
}

#[tokio::test]
async fn the_same_device_id_of_two_users_is_two_devices() {
    let world = world().await;
    let (alice, bob) = (world.user("alice").await, world.user("bob").await);
    let a = world.login_on(&alice, device_id!("TABLET")).await;
    let b = world.login_on(&bob, device_id!("TABLET")).await;
    let a = world.accounts.authenticate(&a.access_token).await.unwrap();
    let b = world.accounts.authenticate(&b.access_token).await.unwrap();
    assert_ne!(a.device_nid, b.device_nid);
    world.accounts.logout(&a).await.unwrap();
    assert_eq!(world.accounts.devices(bob.nid).await.unwrap().len(), 1);
}

#[tokio::test]
async fn logout_ends_a_cached_session_at_once() {
    let world = world().await;
    let alice = world.user("alice").await;
    let (one, two) = (world.login(&alice).await, world.login(&alice).await);
    let session = world.accounts.authenticate(&one.access_token).await.unwrap();
    world.accounts.authenticate(&one.access_token).await.unwrap();
    world.accounts.logout(&session).await.unwrap();
    assert_eq!(world.whoami(&one.access_token).await, None);
    assert_eq!(world.whoami(&two.access_token).await, Some(alice.id.clone()));
    world.accounts.logout(&session).await.unwrap();
    world.accounts.logout_all(alice.nid).await.unwrap();
    assert_eq!(world.whoami(&two.access_token).await, None);
    assert_eq!(world.accounts.devices(alice.nid).await.unwrap(), []);
}

#[tokio::test]
async fn a_new_device_of_the_same_id_has_a_new_number() {
    let world = world().await;
    let alice = world.user("alice").await;
    let first = world.login_on(&alice, device_id!("TABLET")).await;
    let first = world.accounts.authenticate(&first.access_token).await.unwrap();
    world.accounts.logout(&first).await.unwrap();
    let second = world.login_on(&alice, device_id!("TABLET")).await;
    let second = world.accounts.authenticate(&second.access_token).await.unwrap();
    assert_ne!(first.device_nid, second.device_nid);
}

#[tokio::test]
async fn an_expired_token_is_a_soft_logout_until_the_device_signs_in_again() {
    let world = world_with(|settings| settings.tokens.access_ms = Some(1_000)).await;
    let alice = world.user("alice").await;
    let login = world.login_on(&alice, device_id!("TABLET")).await;
    assert_eq!(login.expires_in_ms, Some(1_000));
    world.accounts.authenticate(&login.access_token).await.unwrap();
    world.clock.advance_ms(1_000);
    assert!(matches!(world.accounts.authenticate(&login.access_token).await, Err(TokenError::Expired)), "cached");
    let again = world.login_on(&alice, device_id!("TABLET")).await;
    assert!(matches!(world.accounts.authenticate(&login.access_token).await, Err(TokenError::Unknown)));
    world.clock.advance_ms(1_000);
    assert!(matches!(world.accounts.authenticate(&again.access_token).await, Err(TokenError::Expired)), "not cached");
}

#[tokio::test]
async fn device_ids_and_names_have_limits() {
    let world = world().await;
    let alice = world.user("alice").await;
    let long_id = "x".repeat(256);
    let long_name = "ä".repeat(DEVICE_DISPLAY_NAME_CHARS_MAX + 1);
    let requests = [
        LoginRequest { device_id: Some(long_id.as_str().into()), ..LoginRequest::default() },
        LoginRequest { device_id: Some("".into()), ..LoginRequest::default() },
        LoginRequest { display_name: Some(&long_name), ..LoginRequest::default() },
    ];
    for request in requests {
        let result = world.accounts.login_as(&alice.id, &request).await;
        assert!(matches!(result, Err(AccountError::Limit { .. } | AccountError::Invalid { .. })));
    }
    let longest = "ä".repeat(DEVICE_DISPLAY_NAME_CHARS_MAX);
    let request = LoginRequest { display_name: Some(&longest), ..LoginRequest::default() };
    world.accounts.login_as(&alice.id, &request).await.unwrap();
}

#[tokio::test]
async fn a_new_password_replaces_the_old_one_and_logs_out_as_told() {
    let world = world().await;
    let alice = world.user("alice").await;
    let (kept, other) = (world.login(&alice).await, world.login(&alice).await);
    world.accounts.set_password(&alice.id, "tr0ub4dor&3", LogoutDevices::Keep).await.unwrap();
    assert!(world.whoami(&other.access_token).await.is_some());
    let old = world.accounts.login_with_password("alice", PASSWORD, &LoginRequest::default()).await;
    assert!(matches!(old, Err(AccountError::WrongPassword)));
    assert!(world.accounts.verify_password(&alice.id, "tr0ub4dor&3").await.unwrap());
    let logout = LogoutDevices::AllBut(Some(&kept.device));
    world.accounts.set_password(&alice.id, "third", logout).await.unwrap();
    assert!(world.whoami(&kept.access_token).await.is_some());
    assert!(world.whoami(&other.access_token).await.is_none());
    world.accounts.set_password(&alice.id, "fourth", LogoutDevices::AllBut(None)).await.unwrap();
    assert!(world.whoami(&kept.access_token).await.is_none());
    assert!(matches!(
        world.accounts.set_password(&alice.id, "", LogoutDevices::Keep).await,
        Err(AccountError::UnusablePassword(_))
    ));
}

#[tokio::test]
async fn many_logins_at_once_all_work() {
    let world = world().await;
    let alice = world.user("alice").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let accounts = world.accounts.clone();
        tasks.spawn(async move { accounts.login_with_password("alice", PASSWORD, &LoginRequest::default()).await });
    }
    while let Some(login) = tasks.join_next().await {
        let login = login.unwrap().unwrap();
        assert_eq!(world.whoami(&login.access_token).await.as_ref(), Some(&alice.id));
    }
    assert_eq!(world.accounts.devices(alice.nid).await.unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_survives_a_logout_that_races_with_its_use() {
    let world = world().await;
    let alice = world.user("alice").await;
    for _ in 0..100 {
        let login = world.login(&alice).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let (accounts, token) = (world.accounts.clone(), login.access_token.clone());
            tasks.spawn(async move {
                // Either answer is right while the logout runs.
                let _ = accounts.authenticate(&token).await;
            });
        }
        let (accounts, device, nid) = (world.accounts.clone(), login.device.clone(), alice.nid);
        tasks.spawn(async move { accounts.delete_devices(nid, &[device]).await.unwrap() });
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(world.whoami(&login.access_token).await, None);
    }
}
