use std::{collections::HashMap, sync::Arc};

use ruma::{OwnedUserId, UserId, user_id};
use wardroom_audit::AuditLog;
use wardroom_clock::ManualClock;
use wardroom_store::{Catalogue, Store};

use super::{Binding, Roles, Said, Source};
use crate::{
    CareError,
    role::{Requirement, Role},
    tables::TABLES,
};

const NOW_MS: u64 = 1_700_000_000_000;

struct World {
    store: Store,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        let store = Store::in_memory(Catalogue::new(&[TABLES]).unwrap());
        Self { store, clock: Arc::new(ManualClock::new(NOW_MS)) }
    }

    async fn roles(&self) -> Roles {
        Roles::load(self.store.clone(), Arc::clone(&self.clock) as _, AuditLog::silent()).await.unwrap()
    }
}

fn binding(role: &str, from_ms: Option<u64>, until_ms: Option<u64>) -> Binding {
    let role = Role::parse(role).unwrap();
    Binding { role, from_ms, until_ms, reason: String::new(), set_by: "test".to_owned(), set_ms: NOW_MS }
}

fn said(roles: &[&str]) -> Said {
    Said { active: None, bindings: roles.iter().map(|role| binding(role, None, None)).collect() }
}

fn held(roles: &Roles, user: &UserId, now_ms: u64) -> Vec<String> {
    let holder = roles.of(user);
    holder.iter().flat_map(|holder| holder.roles_at(now_ms)).map(ToString::to_string).collect()
}

#[tokio::test]
async fn what_all_sources_say_counts_and_survives_a_restart() {
    let (world, alice) = (World::new(), user_id!("@alice:a.example"));
    let roles = world.roles().await;
    assert!(roles.say(alice, Source::Ldap, said(&["nurse@h1"])).await.unwrap());
    assert!(!roles.say(alice, Source::Ldap, said(&["nurse@h1"])).await.unwrap(), "nothing new");
    roles.say(alice, Source::Manual, said(&["charge-nurse@h1/icu"])).await.unwrap();
    let again = world.roles().await;
    for roles in [&roles, &again] {
        assert_eq!(held(roles, alice, NOW_MS), ["charge-nurse@h1/icu", "nurse@h1"]);
        let icu = Requirement::parse("unit:icu@h1").unwrap();
        assert_eq!(roles.holders_of(&icu, None, 10), [alice]);
        assert!(roles.holders_of(&icu, Some(alice), 10).is_empty());
    }
    again.say(alice, Source::Ldap, Said::default()).await.unwrap();
    again.say(alice, Source::Manual, Said::default()).await.unwrap();
    assert!(again.of(alice).is_none() && world.roles().await.of(alice).is_none());
}

#[tokio::test]
async fn the_source_of_the_highest_rank_says_who_is_there() {
    let (world, alice) = (World::new(), user_id!("@alice:a.example"));
    let roles = world.roles().await;
    roles.say(alice, Source::Ldap, Said { active: Some(true), ..said(&["nurse@h1"]) }).await.unwrap();
    roles.say(alice, Source::Manual, said(&["guest@h1"])).await.unwrap();
    roles.say(alice, Source::Scim, Said { active: Some(false), ..Said::default() }).await.unwrap();
    assert!(held(&roles, alice, NOW_MS).is_empty());
    roles.say(alice, Source::Scim, Said { active: Some(true), ..Said::default() }).await.unwrap();
    assert_eq!(held(&roles, alice, NOW_MS).len(), 2);
    roles.say(alice, Source::Ldap, Said { active: Some(false), ..said(&["nurse@h1"]) }).await.unwrap();
    assert_eq!(held(&roles, alice, NOW_MS).len(), 2, "a lower rank does not outvote");
}

#[tokio::test]
async fn roles_begin_and_end_by_themselves() {
    let (world, alice) = (World::new(), user_id!("@alice:a.example"));
    let roles = world.roles().await;
    let bindings = vec![binding("night@h1", Some(NOW_MS + 1_000), Some(NOW_MS + 2_000))];
    roles.say(alice, Source::Manual, Said { active: None, bindings }).await.unwrap();
    assert!(held(&roles, alice, NOW_MS + 999).is_empty());
    assert_eq!(held(&roles, alice, NOW_MS + 1_000), ["night@h1"]);
    assert_eq!(held(&roles, alice, NOW_MS + 1_999), ["night@h1"]);
    assert!(held(&roles, alice, NOW_MS + 2_000).is_empty());
    let again = world.roles().await;
    assert_eq!(again.next_change_ms(), Some(NOW_MS + 1_000));
    assert!(again.changed_by_time().is_empty());
    world.clock.advance_ms(1_000);
    assert_eq!(again.changed_by_time(), [alice]);
    assert_eq!(again.next_change_ms(), Some(NOW_MS + 2_000));
    let wrong = Said { active: None, bindings: vec![binding("night@h1", Some(2), Some(2))] };
    assert!(matches!(again.say(alice, Source::Manual, wrong).await, Err(CareError::Invalid(_))));
}

#[tokio::test]
async fn a_list_that_takes_too_much_away_is_not_taken() {
    let world = World::new();
    let roles = world.roles().await;
    let user = |number: usize| OwnedUserId::try_from(format!("@u{number}:a.example")).unwrap();
    let list = |users: std::ops::Range<usize>| -> HashMap<OwnedUserId, Said> {
        users.map(|number| (user(number), said(&["nurse@h1"]))).collect()
    };
    assert_eq!(roles.replace(Source::Ldap, list(0..100), 20).await.unwrap().changed, 100);
    let empty = roles.replace(Source::Ldap, HashMap::new(), 20).await;
    assert!(matches!(empty, Err(CareError::Brake { losing: 100, held: 100, percent_max: 20 })));
    assert_eq!(held(&roles, &user(99), NOW_MS), ["nurse@h1"]);
    let fewer = roles.replace(Source::Ldap, list(0..80), 20).await.unwrap();
    assert_eq!((fewer.changed, fewer.listed), (20, 80));
    assert!(roles.of(&user(99)).is_none());
    assert_eq!(roles.in_use().values().copied().collect::<Vec<_>>(), [80]);
    assert_eq!(roles.replace(Source::Ldap, HashMap::new(), 100).await.unwrap().changed, 80, "when it is wanted");
}
