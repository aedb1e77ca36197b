//! Push rules.

use std::sync::Arc;

use ruma::push::{Action, NewPatternedPushRule, NewPushRule, NewSimplePushRule, RuleKind, Ruleset};
use wardroom_accounts::{AccountError, DataScope, OWN_USER_ID};

use crate::world::world;

fn cake(id: &str) -> NewPushRule {
    NewPushRule::Content(NewPatternedPushRule::new(id.to_owned(), "cake".to_owned(), vec![Action::Notify]))
}

#[tokio::test]
async fn a_new_user_has_the_servers_rules_as_account_data() {
    let world = world().await;
    let alice = world.user("alice").await;
    let content = world.accounts.account_data(alice.nid, DataScope::Global, "m.push_rules").await.unwrap().unwrap();
    let content: serde_json::Value = serde_json::from_str(content.get()).unwrap();
    let mut default = Ruleset::server_default(&alice.id);
    // A kind that no version of the specification has.
    default.postcontent.clear();
    let default = serde_json::to_value(default).unwrap();
    assert_eq!(content["global"], default);
    let rules = world.accounts.push_rules(alice.nid).await.unwrap();
    assert_eq!(serde_json::to_value(&*rules).unwrap(), default);
}

#[tokio::test]
async fn rules_are_added_changed_and_removed() {
    let world = world().await;
    let accounts = &world.accounts;
    let alice = world.user("alice").await;
    let start = world.store.position();
    accounts.push_rules(alice.nid).await.unwrap();
    accounts.set_push_rule(&alice.id, cake("cake"), None, None).await.unwrap();
    let room = "!ward:hospital-a.example".try_into().unwrap();
    let rule = NewPushRule::Room(NewSimplePushRule::new(room, vec![]));
    accounts.set_push_rule(&alice.id, rule, None, None).await.unwrap();
    accounts.set_push_rule_enabled(&alice.id, RuleKind::Content, "cake", false).await.unwrap();
    accounts.set_push_rule_actions(&alice.id, RuleKind::Content, "cake", vec![]).await.unwrap();
    accounts.set_push_rule_enabled(&alice.id, RuleKind::Override, ".m.rule.master", true).await.unwrap();
    let rule = accounts.push_rule(alice.nid, RuleKind::Content, "cake").await.unwrap().unwrap();
    assert!(!rule.enabled() && rule.actions().is_empty());
    let master = accounts.push_rule(alice.nid, RuleKind::Override, ".m.rule.master").await.unwrap().unwrap();
    assert!(master.enabled());
    let changes = accounts.account_data_since(alice.nid, start, world.store.position()).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].event_type, "m.push_rules");

    accounts.delete_push_rule(&alice.id, RuleKind::Content, "cake").await.unwrap();
    assert!(accounts.push_rule(alice.nid, RuleKind::Content, "cake").await.unwrap().is_none());
    assert!(accounts.push_rule(alice.nid, RuleKind::from("unheard of"), "cake").await.unwrap().is_none());
}

#[tokio::test]
async fn impossible_changes_change_nothing() {
    let world = world().await;
    let accounts = &world.accounts;
    let alice = world.user("alice").await;
    accounts.set_push_rule(&alice.id, cake("cake"), None, None).await.unwrap();
    let position = world.store.position();
    let id = &alice.id;
    let long = "x".repeat(256);
    let invalid = [
        accounts.set_push_rule(id, cake(".m.rule.cake"), None, None).await,
        accounts.set_push_rule(id, cake("a/b"), None, None).await,
        accounts.set_push_rule(id, cake("a\\b"), None, None).await,
        accounts.set_push_rule(id, cake("new"), Some(".m.rule.master"), None).await,
        accounts.set_push_rule(id, cake("cake"), Some("cake"), None).await,
        accounts.set_push_rule(id, cake("new"), Some("nowhere"), None).await,
        accounts.delete_push_rule(id, RuleKind::Override, ".m.rule.master").await,
    ];
    for result in invalid {
        assert!(matches!(result, Err(AccountError::InvalidPushRule(_))), "{result:?}");
    }
    assert!(matches!(accounts.set_push_rule(id, cake(&long), None, None).await, Err(AccountError::Limit { .. })));
    let unknown = [
        accounts.delete_push_rule(id, RuleKind::Content, "nowhere").await,
        accounts.set_push_rule_enabled(id, RuleKind::Content, "nowhere", true).await,
        accounts.set_push_rule_actions(id, RuleKind::Room, "cake", vec![]).await,
        accounts.set_push_rule_enabled(id, RuleKind::from("unheard of"), "cake", true).await,
    ];
    for result in unknown {
        assert!(matches!(result, Err(AccountError::UnknownPushRule)), "{result:?}");
    }
    assert_eq!(world.store.position(), position);
}

#[tokio::test]
async fn users_with_the_same_rules_share_them() {
    let world = world().await;
    let accounts = &world.accounts;
    let (alice, bob, carol) = (world.user("alice").await, world.user("bob").await, world.user("carol").await);
    let of = async |user: &wardroom_accounts::User| accounts.shared_push_rules(user.nid).await.unwrap();
    assert!(Arc::ptr_eq(&of(&alice).await, &of(&bob).await));
    let json = serde_json::to_string(&*of(&alice).await).unwrap();
    assert!(!json.contains("@alice"), "{json}");
    assert_eq!(json.matches(&serde_json::to_string(OWN_USER_ID).unwrap()).count(), 2);

    accounts.set_push_rule(&alice.id, cake("cake"), None, None).await.unwrap();
    assert!(!Arc::ptr_eq(&of(&alice).await, &of(&bob).await));
    accounts.set_push_rule(&carol.id, cake("cake"), None, None).await.unwrap();
    assert!(Arc::ptr_eq(&of(&alice).await, &of(&carol).await));
    for user in [&alice, &carol] {
        let me = NewPatternedPushRule::new("me".to_owned(), user.id.to_string(), vec![Action::Notify]);
        accounts.set_push_rule(&user.id, NewPushRule::Content(me), None, None).await.unwrap();
    }
    let (of_alice, of_carol) = (of(&alice).await, of(&carol).await);
    assert_eq!(of_alice.content.get("me").unwrap().pattern, alice.id);
    assert_eq!(of_carol.content.get("me").unwrap().pattern, carol.id);
}
