//! Making and closing accounts.

use ruma::{device_id, user_id};
use wardroom_accounts::{AccountError, DataScope, LoginRequest, NewUser, SharedSecretRegistration, TABLES};
use wardroom_store::{Catalogue, Store};

use crate::world::{PASSWORD, SERVER, world, world_with};

#[tokio::test]
async fn a_name_is_given_out_once() {
    let world = world().await;
    world.accounts.check_username("alice").await.unwrap();
    let alice = world.accounts.create_user("Alice", Some(PASSWORD), true).await.unwrap();
    assert_eq!(alice.id, user_id!("@alice:hospital-a.example"));
    assert!(alice.admin && !alice.guest && !alice.deactivated);
    assert_eq!(world.accounts.user(&alice.id).await.unwrap().as_ref(), Some(&alice));
    assert_eq!(world.accounts.user_by_nid(alice.nid).await.unwrap().as_ref(), Some(&alice));
    for name in ["alice", "ALICE"] {
        assert!(matches!(world.accounts.check_username(name).await, Err(AccountError::UserInUse)));
        assert!(matches!(world.accounts.create_user(name, None, false).await, Err(AccountError::UserInUse)));
    }
    assert!(matches!(world.accounts.check_username("a b").await, Err(AccountError::InvalidUsername(_))));
    assert_eq!(world.accounts.user(user_id!("@alice:elsewhere.example")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_registrations_at_the_same_time_one_wins() {
    let world = world().await;
    for name in ["a", "b", "c", "d", "e"] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let accounts = world.accounts.clone();
            tasks.spawn(async move { accounts.create_user(name, Some(PASSWORD), false).await });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(AccountError::UserInUse))));
    }
}

#[tokio::test]
async fn registering_can_sign_in_with_the_same_commit() {
    let world = world().await;
    let new = NewUser { password: Some(PASSWORD), display_name: Some("Alice"), ..NewUser::named("alice") };
    let request = LoginRequest { device_id: Some(device_id!("TABLET")), refresh: true, ..LoginRequest::default() };
    let before = world.store.position();
    let registered = world.accounts.register(new, Some(&request)).await.unwrap();
    assert_eq!(world.store.position().get(), before.get() + 1);
    let login = registered.login.unwrap();
    assert_eq!(login.device, "TABLET");
    assert!(login.refresh_token.is_some());
    let session = world.accounts.authenticate(&login.access_token).await.unwrap();
    assert_eq!(session.user, registered.user.id);
    let profile = world.accounts.profile(&session.user).await.unwrap().unwrap();
    assert_eq!(profile.displayname.as_deref(), Some("Alice"));
}

#[tokio::test]
async fn users_without_a_wish_get_a_name() {
    let world = world().await;
    let new = NewUser { localpart: None, password: Some(PASSWORD), ..NewUser::named("") };
    let one = world.accounts.register(new, None).await.unwrap().user;
    let two = world.accounts.register(new, None).await.unwrap().user;
    assert_ne!(one.id, two.id);
    assert!(one.id.validate_strict().is_ok());
}

#[tokio::test]
async fn guests_are_admitted_when_the_operator_says_so() {
    let closed = world().await;
    assert!(matches!(closed.accounts.register(NewUser::guest(), None).await, Err(AccountError::GuestsClosed)));
    let world = world_with(|settings| settings.registration.guests = true).await;
    let request = LoginRequest { device_id: Some(device_id!("CHOSEN")), ..LoginRequest::default() };
    let registered = world.accounts.register(NewUser::guest(), Some(&request)).await.unwrap();
    let login = registered.login.unwrap();
    assert_ne!(login.device, "CHOSEN");
    assert!(world.accounts.authenticate(&login.access_token).await.unwrap().guest);
    let result = world.accounts.set_password(&login.user, "x", wardroom_accounts::LogoutDevices::Keep).await;
    assert!(matches!(result, Err(AccountError::GuestForbidden)));
}

#[tokio::test]
async fn the_flows_follow_the_settings() {
    let flows = async |open, tokens: &[&str]| {
        let world = world_with(|settings| {
            settings.registration.open = open;
            settings.registration.tokens = tokens.iter().map(|&token| token.to_owned()).collect();
        })
        .await;
        world.accounts.registration_flows().map(|flows| serde_json::to_string(&flows).unwrap())
    };
    assert_eq!(flows(false, &[]).await, None);
    assert_eq!(flows(true, &[]).await.unwrap(), r#"[{"stages":["m.login.dummy"]}]"#);
    assert_eq!(flows(false, &["t"]).await.unwrap(), r#"[{"stages":["m.login.registration_token"]}]"#);
    let world = world_with(|settings| settings.registration.tokens = vec!["one".into(), "two".into()]).await;
    assert!(world.accounts.is_registration_token("one") && world.accounts.is_registration_token("two"));
    assert!(!world.accounts.is_registration_token("") && !world.accounts.is_registration_token("one "));
}

#[tokio::test]
async fn a_closed_account_leaves_only_its_name() {
    let world = world_with(|settings| settings.tokens.refresh_ms = None).await;
    let accounts = &world.accounts;
    let alice = world.user("alice").await;
    let login = world.login_refreshable(&alice).await;
    assert!(world.whoami(&login.access_token).await.is_some());
    accounts.set_displayname(&alice.id, Some("Alice")).await.unwrap();
    let content = serde_json::value::to_raw_value(&serde_json::json!({})).unwrap();
    accounts.set_account_data(alice.nid, DataScope::Room(7), "a", &content).await.unwrap();

    accounts.deactivate(&alice.id).await.unwrap();
    assert!(world.whoami(&login.access_token).await.is_none());
    assert!(matches!(
        accounts.refresh(login.refresh_token.as_deref().unwrap()).await,
        Err(AccountError::UnknownRefreshToken)
    ));
    let result = accounts.login_with_password("alice", PASSWORD, &LoginRequest::default()).await;
    assert!(matches!(result, Err(AccountError::Deactivated)));
    assert!(matches!(accounts.login_as(&alice.id, &LoginRequest::default()).await, Err(AccountError::Deactivated)));
    assert!(!accounts.verify_password(&alice.id, PASSWORD).await.unwrap());
    assert!(!accounts.is_active(&alice.id).await.unwrap());
    assert_eq!(accounts.profile(&alice.id).await.unwrap(), None);
    assert!(accounts.devices(alice.nid).await.unwrap().is_empty());
    assert!(accounts.all_account_data(alice.nid).await.unwrap().is_empty());
    assert!(accounts.all_room_account_data(alice.nid, 7).await.unwrap().is_empty());
    assert!(matches!(accounts.create_user("alice", None, false).await, Err(AccountError::UserInUse)));
    assert!(matches!(accounts.deactivate(&alice.id).await, Err(AccountError::Deactivated)));
    assert!(matches!(accounts.set_admin(&alice.id, true).await, Err(AccountError::Deactivated)));
    assert!(matches!(accounts.deactivate(user_id!("@x:hospital-a.example")).await, Err(AccountError::UnknownUser)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_survives_a_deactivation_that_races_with_logins() {
    let world = world().await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let user = world.user(name).await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (accounts, id) = (world.accounts.clone(), user.id.clone());
            tasks.spawn(async move {
                let login = accounts.login_as(&id, &LoginRequest::default()).await.ok()?;
                // Into the cache, if it is in time.
                let _ = accounts.authenticate(&login.access_token).await;
                Some(login.access_token)
            });
        }
        world.accounts.deactivate(&user.id).await.unwrap();
        for token in tasks.join_all().await.into_iter().flatten() {
            assert!(world.whoami(&token).await.is_none());
        }
        assert!(world.accounts.devices(user.nid).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn becoming_an_administrator_reaches_open_sessions() {
    let world = world().await;
    let alice = world.user("alice").await;
    let token = world.login(&alice).await.access_token;
    assert!(!world.accounts.authenticate(&token).await.unwrap().admin);
    world.accounts.set_admin(&alice.id, true).await.unwrap();
    assert!(world.accounts.authenticate(&token).await.unwrap().admin);
    world.accounts.set_admin(&alice.id, false).await.unwrap();
    assert!(!world.accounts.authenticate(&token).await.unwrap().admin);
}

#[tokio::test]
async fn the_shared_secret_makes_administrators() {
    let world = world_with(|settings| settings.registration.shared_secret = Some("s3cret".into())).await;
    let login = LoginRequest::default();
    let request = |nonce, mac| SharedSecretRegistration {
        nonce,
        username: "root",
        password: PASSWORD,
        admin: true,
        user_type: None,
        display_name: None,
        mac,
    };
    let (nonce, zeros) = (world.accounts.shared_secret_nonce().unwrap(), "0".repeat(40));
    let wrong = world.accounts.register_with_shared_secret(&request(&nonce, &zeros), &login).await;
    assert!(matches!(wrong, Err(AccountError::WrongMac)));
    let mac = mac("s3cret", &nonce);
    let spent = world.accounts.register_with_shared_secret(&request(&nonce, &mac), &login).await;
    assert!(matches!(spent, Err(AccountError::UnknownNonce)), "a nonce is for one try");

    let nonce = world.accounts.shared_secret_nonce().unwrap();
    let mac = self::mac("s3cret", &nonce);
    let (user, login_of_root) =
        world.accounts.register_with_shared_secret(&request(&nonce, &mac), &login).await.unwrap();
    assert_eq!(user.id.as_str(), format!("@root:{SERVER}"));
    assert!(world.accounts.authenticate(&login_of_root.access_token).await.unwrap().admin);

    let nonce = world.accounts.shared_secret_nonce().unwrap();
    world.clock.advance_ms(60_000);
    let mac = self::mac("s3cret", &nonce);
    let late = world.accounts.register_with_shared_secret(&request(&nonce, &mac), &login).await;
    assert!(matches!(late, Err(AccountError::UnknownNonce)));
}

fn mac(secret: &str, nonce: &str) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{nonce}\0root\0{PASSWORD}\0admin").as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn without_a_shared_secret_there_is_no_nonce() {
    for secret in [None, Some(String::new())] {
        let world = world_with(|settings| settings.registration.shared_secret = secret).await;
        assert!(matches!(world.accounts.shared_secret_nonce(), Err(AccountError::SharedSecretDisabled)));
    }
}

#[test]
fn the_tables_fit_into_a_catalogue() {
    assert!(TABLES.iter().all(|spec| (0x0100..=0x01FF).contains(&spec.id)));
    let _store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
}
