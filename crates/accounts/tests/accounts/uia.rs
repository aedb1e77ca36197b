//! User-interactive authentication.

use ruma::api::client::uiaa::{AuthData, AuthFlow, AuthType, UiaaInfo};
use serde_json::json;
use wardroom_accounts::{AccountError, UIA_SESSION_LIFETIME_MS, UiaBinding, UiaOutcome, User};

use crate::world::{PASSWORD, SERVER, World, world, world_with};

fn auth(value: serde_json::Value) -> AuthData {
    serde_json::from_value(value).unwrap()
}

fn password_of(user: &str, password: &str, session: Option<&str>) -> AuthData {
    auth(json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": user },
        "password": password,
        "session": session,
    }))
}

fn dummy(session: &str) -> AuthData {
    auth(json!({ "type": "m.login.dummy", "session": session }))
}

fn token(token: &str, session: &str) -> AuthData {
    auth(json!({ "type": "m.login.registration_token", "token": token, "session": session }))
}

fn challenge(outcome: UiaOutcome) -> UiaaInfo {
    match outcome {
        UiaOutcome::Challenge(info) => *info,
        UiaOutcome::Complete => panic!("complete"),
    }
}

fn code(info: &UiaaInfo) -> Option<String> {
    info.auth_error.as_ref().map(|error| error.kind.errcode().to_string())
}

/// Deleting a device as alice.
async fn step(world: &World, user: &User, device: &str, auth: Option<&AuthData>) -> UiaOutcome {
    try_step(world, user, device, auth).await.unwrap()
}

async fn try_step(
    world: &World,
    user: &User,
    device: &str,
    auth: Option<&AuthData>,
) -> Result<UiaOutcome, AccountError> {
    let binding = UiaBinding::new("DELETE /devices", Some(user.nid), &device);
    let flows = world.accounts.password_flows();
    world.accounts.interactive_auth(binding, flows, Some(&user.id), auth).await
}

#[tokio::test]
async fn a_password_completes_the_dialogue_once() {
    let world = world().await;
    let alice = world.user("alice").await;
    let info = challenge(step(&world, &alice, "A", None).await);
    assert_eq!(serde_json::to_value(&info.flows).unwrap(), json!([{ "stages": ["m.login.password"] }]));
    assert!(info.auth_error.is_none() && info.completed.is_empty());
    let session = info.session.as_deref();

    let wrong = challenge(step(&world, &alice, "A", Some(&password_of("alice", "wrong", session))).await);
    assert_eq!(code(&wrong).as_deref(), Some("M_FORBIDDEN"));
    assert_eq!(wrong.session.as_deref(), session, "another try in the same session");

    let right = password_of("alice", PASSWORD, session);
    assert!(matches!(step(&world, &alice, "A", Some(&right)).await, UiaOutcome::Complete));
    let again = challenge(step(&world, &alice, "A", Some(&right)).await);
    assert_eq!(code(&again).as_deref(), Some("M_FORBIDDEN"));
    assert_ne!(again.session.as_deref(), session);
}

#[tokio::test]
async fn stages_without_a_session_are_taken_at_once() {
    let world = world().await;
    let alice = world.user("alice").await;
    let right = password_of(&format!("@alice:{SERVER}"), PASSWORD, None);
    assert!(matches!(step(&world, &alice, "A", Some(&right)).await, UiaOutcome::Complete));
    let info = challenge(step(&world, &alice, "A", Some(&password_of("alice", "wrong", None))).await);
    assert!(info.session.is_some());
}

#[tokio::test]
async fn somebody_elses_password_does_not_count() {
    let world = world().await;
    let alice = world.user("alice").await;
    world.accounts.create_user("bob", Some("bobs"), false).await.unwrap();
    for auth in [
        password_of("bob", "bobs", None),
        password_of("bob", PASSWORD, None),
        password_of("@alice:elsewhere.example", PASSWORD, None),
        auth(json!({
            "type": "m.login.password",
            "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "alice@example.org" },
            "password": PASSWORD,
        })),
    ] {
        let refused = try_step(&world, &alice, "A", Some(&auth)).await;
        assert!(matches!(refused, Err(AccountError::AuthenticatedOtherwise(_))), "{refused:?}");
    }
    let info = challenge(step(&world, &alice, "A", Some(&password_of("alice", "bobs", None))).await);
    assert_eq!(code(&info).as_deref(), Some("M_FORBIDDEN"));
}

#[tokio::test]
async fn a_session_is_good_for_its_request_and_user_only() {
    let world = world().await;
    let alice = world.user("alice").await;
    let bob = world.user("bob").await;
    let session = challenge(step(&world, &alice, "A", None).await).session;
    let right = password_of("alice", PASSWORD, session.as_deref());
    let other_device = try_step(&world, &alice, "B", Some(&right)).await;
    assert!(matches!(other_device, Err(AccountError::AuthenticatedOtherwise(_))), "{other_device:?}");
    let bobs = password_of("bob", PASSWORD, session.as_deref());
    let bobs = try_step(&world, &bob, "A", Some(&bobs)).await;
    assert!(matches!(bobs, Err(AccountError::AuthenticatedOtherwise(_))), "{bobs:?}");
    assert!(matches!(step(&world, &alice, "A", Some(&right)).await, UiaOutcome::Complete));
}

#[tokio::test]
async fn a_session_expires() {
    let world = world().await;
    let alice = world.user("alice").await;
    let session = challenge(step(&world, &alice, "A", None).await).session;
    world.clock.advance_ms(UIA_SESSION_LIFETIME_MS);
    let right = password_of("alice", PASSWORD, session.as_deref());
    let info = challenge(step(&world, &alice, "A", Some(&right)).await);
    assert_eq!(code(&info).as_deref(), Some("M_FORBIDDEN"));
    assert!(info.session != session && info.session.is_some());
}

#[tokio::test]
async fn stages_come_in_order_and_count_once() {
    let world = world_with(|settings| settings.registration.tokens = vec!["sesame".into()]).await;
    let flows = || vec![AuthFlow::new(vec![AuthType::RegistrationToken, AuthType::Dummy])];
    let binding = UiaBinding::new("POST /register", None, &());
    let step = async |auth: Option<AuthData>| {
        world.accounts.interactive_auth(binding, flows(), None, auth.as_ref()).await.unwrap()
    };
    let session = challenge(step(None).await).session.unwrap();
    let early = challenge(step(Some(dummy(&session))).await);
    assert_eq!((code(&early).as_deref(), early.completed.len()), (Some("M_FORBIDDEN"), 0));
    let wrong = challenge(step(Some(token("wrong", &session))).await);
    assert_eq!((code(&wrong).as_deref(), wrong.completed.len()), (Some("M_UNAUTHORIZED"), 0));
    let first = challenge(step(Some(token("sesame", &session))).await);
    assert_eq!((code(&first), first.completed), (None, vec![AuthType::RegistrationToken]));
    let repeated = challenge(step(Some(token("wrong", &session))).await);
    assert_eq!((code(&repeated), repeated.completed), (None, vec![AuthType::RegistrationToken]));
    let asked = challenge(step(Some(auth(json!({ "session": session })))).await);
    assert_eq!(asked.completed, vec![AuthType::RegistrationToken]);
    let unheard = challenge(step(Some(auth(json!({ "type": "org.example", "session": session })))).await);
    assert_eq!(code(&unheard).as_deref(), Some("M_FORBIDDEN"));
    assert!(matches!(step(Some(dummy(&session))).await, UiaOutcome::Complete));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_completes_one_request_of_many_at_the_same_time() {
    let world = world().await;
    let alice = world.user("alice").await;
    for _ in 0..20 {
        let session = challenge(step(&world, &alice, "A", None).await).session;
        let right = password_of("alice", PASSWORD, session.as_deref());
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (accounts, right, alice) = (world.accounts.clone(), right.clone(), alice.clone());
            tasks.spawn(async move {
                let binding = UiaBinding::new("DELETE /devices", Some(alice.nid), &"A");
                let flows = accounts.password_flows();
                accounts.interactive_auth(binding, flows, Some(&alice.id), Some(&right)).await.unwrap()
            });
        }
        let outcomes = tasks.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, UiaOutcome::Complete)).count(), 1);
    }
}
