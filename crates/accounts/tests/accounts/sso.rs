//! Accounts of people whom an identity provider knows.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use ruma::{
    OwnedUserId, UserId,
    api::client::uiaa::{AuthData, AuthType, FallbackAcknowledgement},
    device_id,
};
use serde_json::{Map, Value};
use wardroom_accounts::{
    AccountError, ClaimsListener, Login, LoginRequest, SsoIdentity, SsoNewcomer, UiaBinding, UiaOutcome, User,
};

use crate::world::{World, world};

const ISSUER: &str = "https://login.hospital-a.example";
const LIFETIME: Duration = Duration::from_secs(10);

fn person(subject: &'static str, session: &'static str) -> SsoIdentity<'static> {
    SsoIdentity { issuer: ISSUER, subject, session: Some(session), email: None }
}

const fn newcomer(localpart: &str) -> SsoNewcomer<'_> {
    SsoNewcomer { localpart, display_name: Some("Dr. Alice"), link_existing: false }
}

async fn account(world: &World, identity: &SsoIdentity<'_>, localpart: &str) -> Result<User, AccountError> {
    world.accounts.sso_account(identity, Some(&newcomer(localpart))).await
}

async fn sign_in(world: &World, identity: &SsoIdentity<'_>, user: &User) -> Login {
    let token = world.accounts.new_sso_login_token(user.nid, identity, LIFETIME);
    world.accounts.login_with_token(&token, &LoginRequest::default()).await.unwrap()
}

async fn whose(world: &World, login: &Login) -> Option<OwnedUserId> {
    world.whoami(&login.access_token).await
}

#[tokio::test]
async fn a_person_has_one_account_whatever_they_are_called_later() {
    let world = world().await;
    let alice = account(&world, &person("42", "s1"), "alice").await.unwrap();
    assert_eq!(alice.id, "@alice:hospital-a.example");
    let profile = world.accounts.profile(&alice.id).await.unwrap().unwrap();
    assert_eq!(profile.displayname.as_deref(), Some("Dr. Alice"));
    let again = account(&world, &person("42", "s2"), "alice.married").await.unwrap();
    assert_eq!(again.id, alice.id);
    let other_issuer = SsoIdentity { issuer: "https://elsewhere.example", ..person("42", "s1") };
    let refused = account(&world, &other_issuer, "alice").await;
    assert!(matches!(refused, Err(AccountError::NotLinked)), "{refused:?}");
    let unknown = world.accounts.sso_account(&person("43", "s1"), None).await;
    assert!(matches!(unknown, Err(AccountError::NotLinked)), "{unknown:?}");
}

#[tokio::test]
async fn an_account_is_given_to_a_person_only_where_that_is_allowed_and_to_one_of_a_provider() {
    let world = world().await;
    let alice = world.user("alice").await;
    assert!(matches!(account(&world, &person("42", "s1"), "alice").await, Err(AccountError::NotLinked)));
    let allowed = SsoNewcomer { link_existing: true, ..newcomer("alice") };
    let linked = world.accounts.sso_account(&person("42", "s1"), Some(&allowed)).await.unwrap();
    assert_eq!(linked.nid, alice.nid);
    let second = world.accounts.sso_account(&person("43", "s1"), Some(&allowed)).await;
    assert!(matches!(second, Err(AccountError::NotLinked)), "{second:?}");
    let elsewhere = SsoIdentity { issuer: "https://elsewhere.example", ..person("43", "s1") };
    assert_eq!(world.accounts.sso_account(&elsewhere, Some(&allowed)).await.unwrap().nid, alice.nid);
    assert_eq!(world.accounts.sso_links(alice.nid).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_deactivated_account_is_never_given_out_again() {
    let world = world().await;
    let alice = account(&world, &person("42", "s1"), "alice").await.unwrap();
    world.accounts.deactivate(&alice.id).await.unwrap();
    assert!(matches!(account(&world, &person("42", "s2"), "alice2").await, Err(AccountError::Deactivated)));
    let allowed = SsoNewcomer { link_existing: true, ..newcomer("alice") };
    let another = world.accounts.sso_account(&person("43", "s1"), Some(&allowed)).await;
    assert!(matches!(another, Err(AccountError::NotLinked)), "{another:?}");
    assert!(world.accounts.sso_links(alice.nid).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_a_session_ends_the_devices_that_came_from_it_and_no_others() {
    let world = world().await;
    let alice = account(&world, &person("42", "ward"), "alice").await.unwrap();
    let ward = sign_in(&world, &person("42", "ward"), &alice).await;
    let home = sign_in(&world, &person("42", "home"), &alice).await;
    let password = world.login(&alice).await;
    let bob = account(&world, &person("7", "other"), "bob").await.unwrap();
    let other = sign_in(&world, &person("7", "other"), &bob).await;

    assert_eq!(world.accounts.end_sso_sessions("https://elsewhere.example", Some("42"), None).await.unwrap(), 0);
    assert_eq!(world.accounts.end_sso_sessions(ISSUER, None, Some("ward")).await.unwrap(), 1);
    assert_eq!(whose(&world, &ward).await, None);
    for login in [&home, &password] {
        assert_eq!(whose(&world, login).await.as_ref(), Some(&alice.id));
    }
    assert_eq!(world.accounts.end_sso_sessions(ISSUER, Some("42"), None).await.unwrap(), 1);
    assert_eq!(whose(&world, &home).await, None);
    assert_eq!(whose(&world, &password).await.as_ref(), Some(&alice.id));
    assert_eq!(whose(&world, &other).await.as_ref(), Some(&bob.id));
}

#[tokio::test]
async fn a_login_token_ends_with_the_session_at_the_provider() {
    let world = world().await;
    let alice = account(&world, &person("42", "ward"), "alice").await.unwrap();
    let token = world.accounts.new_sso_login_token(alice.nid, &person("42", "ward"), LIFETIME);
    world.accounts.end_sso_sessions(ISSUER, None, Some("ward")).await.unwrap();
    let refused = world.accounts.login_with_token(&token, &LoginRequest::default()).await;
    assert!(matches!(refused, Err(AccountError::UnknownLoginToken)), "{refused:?}");
    world.clock.advance_ms(1);
    let later = sign_in(&world, &person("42", "ward"), &alice).await;
    assert_eq!(whose(&world, &later).await, Some(alice.id));
}

#[tokio::test]
async fn a_device_that_another_one_let_in_ends_with_it() {
    let world = world().await;
    let alice = account(&world, &person("42", "ward"), "alice").await.unwrap();
    let ward = sign_in(&world, &person("42", "ward"), &alice).await;
    let session = world.accounts.authenticate(&ward.access_token).await.unwrap();
    let token = world.accounts.new_login_token(&session);
    let let_in = world.accounts.login_with_token(&token, &LoginRequest::default()).await.unwrap();
    assert_eq!(world.accounts.end_sso_sessions(ISSUER, None, Some("ward")).await.unwrap(), 2);
    assert_eq!(whose(&world, &let_in).await, None);
}

#[tokio::test]
async fn a_device_that_signs_in_anew_belongs_to_the_new_session() {
    let world = world().await;
    let alice = account(&world, &person("42", "old"), "alice").await.unwrap();
    let request = LoginRequest { device_id: Some(device_id!("WARD7")), ..LoginRequest::default() };
    let mut logins = Vec::new();
    for session in ["old", "new"] {
        let token = world.accounts.new_sso_login_token(alice.nid, &person("42", session), LIFETIME);
        logins.push(world.accounts.login_with_token(&token, &request).await.unwrap());
    }
    assert_eq!(world.accounts.end_sso_sessions(ISSUER, Some("42"), Some("old")).await.unwrap(), 0);
    assert_eq!(whose(&world, &logins[1]).await.as_ref(), Some(&alice.id));
    world.login_on(&alice, device_id!("WARD7")).await;
    assert_eq!(world.accounts.end_sso_sessions(ISSUER, Some("42"), None).await.unwrap(), 0, "it is a password's now");
}

/// User, provider, claims.
type Told = (OwnedUserId, String, Map<String, Value>);

struct Heard(Arc<Mutex<Vec<Told>>>);

impl ClaimsListener for Heard {
    fn claims<'a>(
        &'a self,
        user: &'a UserId,
        provider: &'a str,
        claims: &'a Map<String, Value>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move { self.0.lock().unwrap().push((user.to_owned(), provider.to_owned(), claims.clone())) })
    }
}

#[tokio::test]
async fn the_listener_hears_of_claims() {
    let world = world().await;
    let alice = account(&world, &person("42", "s1"), "alice").await.unwrap();
    let claims: Map<String, Value> = serde_json::from_str(r#"{"groups": ["ward-7"]}"#).unwrap();
    world.accounts.note_claims(&alice.id, "clinic", &claims).await;
    let heard = Arc::<Mutex<Vec<_>>>::default();
    world.accounts.tell_claims_to(Box::new(Heard(Arc::clone(&heard))));
    world.accounts.note_claims(&alice.id, "clinic", &claims).await;
    assert_eq!(*heard.lock().unwrap(), [(alice.id, "clinic".to_owned(), claims)]);
}

#[tokio::test]
async fn single_sign_on_confirms_an_operation_of_its_user_once() {
    let world = world().await;
    let alice = account(&world, &person("42", "s1"), "alice").await.unwrap();
    let bob = world.user("bob").await;
    let flows = world.accounts.reauthentication_flows(alice.nid, &[ISSUER]).await.unwrap();
    assert_eq!(flows.iter().map(|flow| flow.stages.clone()).collect::<Vec<_>>(), [vec![AuthType::Sso]]);
    let stages = |flows: Vec<ruma::api::client::uiaa::AuthFlow>| flows[0].stages.clone();
    for (user, issuers) in [(alice.nid, &[][..]), (alice.nid, &["https://elsewhere.example"][..]), (bob.nid, &[ISSUER])]
    {
        let flows = world.accounts.reauthentication_flows(user, issuers).await.unwrap();
        assert_eq!(stages(flows), [AuthType::Password]);
    }

    let binding = UiaBinding::new("POST /delete_devices", Some(alice.nid), &["A"]);
    let step = async |auth: Option<&AuthData>| {
        world.accounts.interactive_auth(binding, flows.clone(), Some(&alice.id), auth).await.unwrap()
    };
    let UiaOutcome::Challenge(info) = step(None).await else { panic!("nothing was proved yet") };
    let id = info.session.unwrap();
    let request = world.accounts.uia_request(&id).unwrap();
    assert_eq!((request.operation, request.user), ("POST /delete_devices", Some(alice.nid)));
    let done = AuthData::FallbackAcknowledgement(FallbackAcknowledgement::new(id.clone()));
    assert!(matches!(step(Some(&done)).await, UiaOutcome::Challenge(_)), "nobody has signed in");
    assert!(!world.accounts.pass_sso_stage(&id, bob.nid), "it is not his");
    assert!(world.accounts.pass_sso_stage(&id, alice.nid));
    assert!(matches!(step(Some(&done)).await, UiaOutcome::Complete));
    assert!(matches!(step(Some(&done)).await, UiaOutcome::Challenge(_)), "once");
    assert!(!world.accounts.pass_sso_stage(&id, alice.nid));
}
