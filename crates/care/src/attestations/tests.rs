use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use ruma::{RoomId, UserId, owned_user_id, room_id, server_name, user_id};
use serde_json::{Value, json};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_store::{Catalogue, Scan, Store};

use super::{AttestTo, Attestations, Attesters, Unheard};
use crate::{
    judge::Judge,
    policy::AccessPolicy,
    role::{Requirement, Role},
    roles::{Binding, Said, Source},
    tables::{TABLES, WORDS},
};

const NOW_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Says what it is told to say, and counts.
#[derive(Debug, Default)]
struct Scripted {
    says: Mutex<Vec<u8>>,
    asked: Mutex<usize>,
}

impl Attesters for Scripted {
    fn ask<'a>(&'a self, _: &'a UserId, _: &'a RoomId) -> BoxFuture<'a, Result<Vec<u8>, Unheard>> {
        *self.asked.lock() += 1;
        let said = self.says.lock().clone();
        async move {
            // Others get a chance to ask meanwhile.
            tokio::task::yield_now().await;
            if said.is_empty() { Err(Unheard::Refused) } else { Ok(said) }
        }
        .boxed()
    }
}

struct World {
    clock: Arc<ManualClock>,
    judge: Judge,
    attestations: Attestations,
    partner: Arc<Scripted>,
}

impl World {
    async fn new(told: &[&str]) -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let judge = Judge::load(&store, clock.clone(), AuditLog::silent(), owned_user_id!("@_access:h1.example"))
            .await
            .unwrap();
        let roles = told.iter().map(|role| Requirement::parse(role).unwrap()).collect();
        let to = AttestTo { server: server_name!("h2.example").to_owned(), roles, before_invitations: false };
        let attestations = Attestations::new(store, clock.clone(), judge.clone(), vec![to]);
        let partner = Arc::new(Scripted::default());
        attestations.ask_by(Arc::clone(&partner) as _);
        Self { clock, judge, attestations, partner }
    }

    async fn give(&self, user: &UserId, source: Source, roles: &[(&str, Option<u64>)]) {
        let binding = |(role, until_ms): &(&str, Option<u64>)| Binding {
            role: Role::parse(role).unwrap(),
            from_ms: None,
            until_ms: *until_ms,
            reason: String::new(),
            set_by: "test".to_owned(),
            set_ms: NOW_MS,
        };
        let said = Said { active: None, bindings: roles.iter().map(binding).collect() };
        self.judge.roles().say(user, source, said).await.unwrap();
    }

    fn partner_says(&self, user: &UserId, jti: &str, roles: &[&str]) {
        let said = json!({
            "sub": user, "roles": roles, "org": user.server_name(), "aud": "h1.example", "room_id": "!r:h1.example",
            "iat": NOW_MS, "exp": NOW_MS + DAY_MS, "jti": jti,
        });
        *self.partner.says.lock() = said.to_string().into_bytes();
    }

    fn believed(&self, user: &UserId) -> Vec<String> {
        let holder = self.judge.roles().of(user);
        let attested = holder.iter().flat_map(|holder| holder.attested_at(self.judge.now_ms()));
        attested.map(ToString::to_string).collect()
    }
}

fn policy(authorities: &Value) -> AccessPolicy {
    let require = json!({ "any_of": [{ "all_of": ["physician@h2"] }] });
    AccessPolicy::read(&json!({ "version": 1, "require": require, "authorities": authorities })).unwrap()
}

#[tokio::test]
async fn a_server_is_told_what_it_may_be_told_until_the_first_of_it_ends() {
    let world = World::new(&["physician@h1", "nurse@h1/icu"]).await;
    let (alice, room, partner) = (user_id!("@alice:h1.example"), room_id!("!r:h1.example"), server_name!("h2.example"));
    let ends_ms = NOW_MS + 1_000;
    world.give(alice, Source::Manual, &[("physician@h1/icu", Some(ends_ms)), ("chief@h1", Some(NOW_MS + 1))]).await;
    world.give(alice, Source::Scim, &[("nurse@h1/icu", None), ("nurse@h1", None)]).await;
    world.give(alice, Source::Attestation, &[("physician@h1/surgery", None)]).await;
    let said = world.attestations.attest(alice, room, partner).await.unwrap().unwrap();
    assert_eq!(said.roles, ["nurse@h1/icu", "physician@h1/icu"]);
    assert_eq!((said.iat, said.exp, said.org.as_str()), (NOW_MS, ends_ms, "h1.example"));
    assert!(world.attestations.attest(alice, room, server_name!("h3.example")).await.unwrap().is_none());
    // Of two sources the one that gives it longer counts, and nothing is good for more than a day.
    world.give(alice, Source::Scim, &[("physician@h1/icu", None)]).await;
    let said = world.attestations.attest(alice, room, partner).await.unwrap().unwrap();
    assert_eq!(said.exp, NOW_MS + DAY_MS);
    let nobody = world.attestations.attest(user_id!("@nobody:h1.example"), room, partner).await.unwrap().unwrap();
    assert!(nobody.roles.is_empty());
}

#[tokio::test]
async fn what_a_server_says_counts_where_a_policy_lets_it_vouch() {
    let world = World::new(&[]).await;
    let (bob, own) = (user_id!("@bob:h2.example"), user_id!("@alice:h1.example"));
    for user in [bob, own] {
        world.give(user, Source::Attestation, &[("physician@h2", None)]).await;
    }
    assert!(world.judge.meets(bob, &policy(&json!({ "h2.example": ["physician@h2"] }))));
    for authorities in [
        json!({}),
        json!({ "h2.example": [] }),
        json!({ "h2.example": ["nurse@h2"] }),
        json!({ "h3.example": ["physician@h2"] }),
    ] {
        assert!(!world.judge.meets(bob, &policy(&authorities)), "{authorities}");
    }
    assert!(!world.judge.meets(own, &policy(&json!({ "h1.example": ["physician@h2"] }))), "of this server's own users");
    let physicians = Requirement::parse("physician@h2").unwrap();
    assert!(world.judge.roles().holders_of(&physicians, None, 10).is_empty());
    // Where an administrator says that somebody is not there, nobody else's word counts.
    world.judge.roles().say(bob, Source::Manual, Said { active: Some(false), bindings: Vec::new() }).await.unwrap();
    assert!(!world.judge.meets(bob, &policy(&json!({ "h2.example": ["physician@h2"] }))));
}

#[tokio::test]
async fn those_who_wait_at_the_same_time_share_an_answer_and_it_holds_for_a_minute() {
    let world = World::new(&[]).await;
    let (bob, room) = (user_id!("@bob:h2.example"), room_id!("!r:h1.example"));
    let ask = || world.attestations.hear(bob, room, || false);
    let all = futures_util::future::join_all((0..5).map(|_| ask())).await;
    assert_eq!(*world.partner.asked.lock(), 1);
    assert_eq!(all.iter().filter(|answer| answer.is_err()).count(), 1);
    world.partner_says(bob, "1", &["physician@h2"]);
    world.clock.advance_ms(59_000);
    ask().await.unwrap();
    assert!(world.believed(bob).is_empty());
    world.clock.advance_ms(1_000);
    ask().await.unwrap();
    assert_eq!(world.believed(bob), ["physician@h2"]);
    assert_eq!(*world.partner.asked.lock(), 2);
    // The same word once more is no other one; what stands there instead is.
    world.attestations.hear_again(bob, room).await.unwrap();
    world.partner_says(bob, "1", &["chief@h2"]);
    assert!(matches!(world.attestations.hear_again(bob, room).await, Err(Unheard::Untrustworthy(_))));
    assert_eq!(world.believed(bob), ["physician@h2"]);
    world.partner_says(bob, "2", &[]);
    world.attestations.hear_again(bob, room).await.unwrap();
    assert!(world.believed(bob).is_empty());
    // Words that are not good any more are forgotten.
    world.clock.advance_ms(DAY_MS);
    world.attestations.forget_words().await.unwrap();
    let kept = world.attestations.0.store.latest();
    assert!(kept.scan_keys(&WORDS, Scan::all()).await.unwrap().is_empty());
}
