//! `/pushrules`.

use wardroom_testkit::{Actor, Target, User, Value, events, json, raw, v3};

use crate::{SOON, ward};

fn rule(kind: &str, id: &str) -> Target {
    v3(&["pushrules", "global", kind, id])
}

fn rule_ids(user: &User, kind: &str) -> Vec<String> {
    let rules = user.get(v3(&["pushrules", ""])).ok();
    events(&rules["global"][kind]).iter().filter_map(|rule| rule["rule_id"].as_str()).map(str::to_owned).collect()
}

fn content_rule(pattern: &str) -> Value {
    json!({ "pattern": pattern, "actions": ["notify", { "set_tweak": "highlight" }] })
}

#[test]
fn a_new_user_has_the_default_rules() {
    let alice = ward().user("alice");
    let rules = alice.get(v3(&["pushrules", ""])).ok();
    assert_eq!(alice.get(v3(&["pushrules", "global", ""])).ok(), rules["global"]);
    let overrides = rule_ids(&alice, "override");
    for id in [".m.rule.master", ".m.rule.suppress_notices", ".m.rule.invite_for_me", ".m.rule.is_user_mention"] {
        assert!(overrides.iter().any(|known| known == id), "{id} is missing: {overrides:?}");
    }
    assert_eq!(overrides[0], ".m.rule.master");
    let underrides = rule_ids(&alice, "underride");
    for id in [".m.rule.room_one_to_one", ".m.rule.message", ".m.rule.encrypted"] {
        assert!(underrides.iter().any(|known| known == id), "{id} is missing: {underrides:?}");
    }
    let master = alice.get(rule("override", ".m.rule.master")).ok();
    assert_eq!((&master["default"], &master["enabled"]), (&json!(true), &json!(false)));
}

#[test]
fn a_user_adds_changes_and_removes_a_rule() {
    let alice = ward().user("alice");
    let mut sync = ward().follow(&alice);
    alice.get(rule("content", "cake")).refused(404, "M_NOT_FOUND");
    alice.put(rule("content", "cake"), content_rule("cake")).ok();
    let kept = alice.get(rule("content", "cake")).ok();
    assert_eq!((&kept["pattern"], &kept["enabled"], &kept["default"]), (&json!("cake"), &json!(true), &json!(false)));
    let answer = sync.until("the rules in sync", SOON, |sync| !events(&sync["account_data"]["events"]).is_empty());
    assert_eq!(answer["account_data"]["events"][0]["type"], "m.push_rules");

    alice.put(rule("content", "cake"), content_rule("pie")).ok();
    assert_eq!(alice.get(rule("content", "cake")).ok()["pattern"], "pie");
    alice.delete(rule("content", "cake")).ok();
    alice.get(rule("content", "cake")).refused(404, "M_NOT_FOUND");
    alice.delete(rule("content", "cake")).refused(404, "M_NOT_FOUND");
}

#[test]
fn a_rule_is_placed_before_or_after_another() {
    let alice = ward().user("alice");
    let own = |user: &User| -> Vec<String> {
        rule_ids(user, "content").into_iter().filter(|id| !id.starts_with('.')).collect()
    };
    alice.put(rule("content", "one"), content_rule("one")).ok();
    alice.put(rule("content", "two"), content_rule("two")).ok();
    assert_eq!(own(&alice), ["two", "one"], "a new rule is the most important");
    alice.put(rule("content", "three").query("after", "two"), content_rule("three")).ok();
    assert_eq!(own(&alice), ["two", "three", "one"]);
    alice.put(rule("content", "four").query("before", "one"), content_rule("four")).ok();
    assert_eq!(own(&alice), ["two", "three", "four", "one"]);
    let unknown = alice.put(rule("content", "five").query("after", "none"), content_rule("five"));
    unknown.refused_with_one_of(400, &["M_UNKNOWN", "M_NOT_FOUND", "M_INVALID_PARAM"]);
    assert_eq!(own(&alice), ["two", "three", "four", "one"]);
}

#[test]
fn a_rule_is_switched_and_its_actions_replaced() {
    let alice = ward().user("alice");
    for (kind, id) in [("override", ".m.rule.master"), ("underride", ".m.rule.message")] {
        let part = |part: &str| v3(&["pushrules", "global", kind, id, part]);
        let before = alice.get(part("enabled")).ok()["enabled"].as_bool().expect("a boolean");
        alice.put(part("enabled"), json!({ "enabled": !before })).ok();
        assert_eq!(alice.get(part("enabled")).ok()["enabled"], !before);
        alice.put(part("actions"), json!({ "actions": ["notify"] })).ok();
        assert_eq!(alice.get(part("actions")).ok(), json!({ "actions": ["notify"] }));
    }
    let unknown = v3(&["pushrules", "global", "content", "none", "enabled"]);
    alice.get(unknown.clone()).refused(404, "M_NOT_FOUND");
    alice.put(unknown, json!({ "enabled": true })).refused(404, "M_NOT_FOUND");
}

#[test]
fn rules_that_are_none_are_refused() {
    let alice = ward().user("alice");
    let before = alice.get(v3(&["pushrules", ""])).ok();
    for (target, body) in [
        (rule("content", ".reserved"), content_rule("x")),
        (rule("content", "back\\slash"), content_rule("x")),
        (rule("content", "no-actions"), json!({ "pattern": "x" })),
        (rule("content", "no-pattern"), json!({ "actions": [] })),
        (rule("override", "bad-conditions"), json!({ "actions": [], "conditions": "all" })),
        (rule("no-kind", "x"), content_rule("x")),
    ] {
        let answer = alice.put(target, body);
        assert!([400, 404].contains(&answer.status), "{}", answer.story());
    }
    let default = alice.delete(rule("override", ".m.rule.master"));
    assert!([400, 404].contains(&default.status), "a default rule stays: {}", default.story());
    assert_eq!(alice.get(v3(&["pushrules", ""])).ok(), before, "nothing changed");
}

#[test]
fn the_rules_of_one_kind_are_told_and_none_of_kinds_that_the_specification_lacks() {
    let alice = ward().user("alice");
    let all = alice.get(raw("/_matrix/client/v3/pushrules/")).ok();
    let underride = alice.get(raw("/_matrix/client/v3/pushrules/global/underride/")).ok();
    assert_eq!(underride, all["global"]["underride"]);
    assert_eq!(alice.get(raw("/_matrix/client/v3/pushrules/global/content/")).ok(), json!([]));
    assert!(all["global"].get("postcontent").is_none_or(|rules| *rules == json!([])), "{all}");
    alice.get(raw("/_matrix/client/v3/pushrules/global/nonsense/")).refused(400, "M_INVALID_PARAM");
}
