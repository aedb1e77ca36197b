//! Push rules.

use serde_json::json;

use crate::world::{code, world};

#[tokio::test]
async fn rules_are_read_in_all_forms() {
    let world = world().await;
    let alice = world.client("alice").await;
    let (status, all) = world.get("/v3/pushrules/", &alice).await;
    assert_eq!(status, 200);
    for path in ["/v3/pushrules/global/", "/r0/pushrules/global/"] {
        assert_eq!(world.get(path, &alice).await, (200, all["global"].clone()));
    }
    let master = "/v3/pushrules/global/override/.m.rule.master";
    assert_eq!(world.get(master, &alice).await, (200, all["global"]["override"][0].clone()));
    assert_eq!(world.get(&format!("{master}/enabled"), &alice).await, (200, json!({ "enabled": false })));
    assert_eq!(world.get(&format!("{master}/actions"), &alice).await, (200, json!({ "actions": [] })));
    for path in ["override/nowhere", "override/nowhere/enabled", "override/nowhere/actions", "unheard/of"] {
        let answer = world.get(&format!("/v3/pushrules/global/{path}"), &alice).await;
        assert_eq!(code(&answer), (404, "M_NOT_FOUND"), "{path}");
    }
    assert_eq!(code(&world.get("/v3/pushrules", &alice).await), (404, "M_UNRECOGNIZED"));
}

#[tokio::test]
async fn what_is_wrong_with_a_path_is_said() {
    let world = world().await;
    let alice = world.client("alice").await;
    let misspelt =
        ["device/", "device/room/!a:b", "global", "global/room", "global/override/.m.rule.master/else", "a//b"];
    for path in misspelt {
        let path = format!("/v3/pushrules/{path}");
        assert_eq!(code(&world.get(&path, &alice).await), (400, "M_INVALID_PARAM"), "{path}");
        assert_eq!(code(&world.put(&path, &alice, json!({})).await), (400, "M_INVALID_PARAM"), "{path}");
        assert_eq!(code(&world.delete(&path, &alice, json!({})).await), (400, "M_INVALID_PARAM"), "{path}");
    }
    for path in ["", "global/", "global/room/"] {
        let path = format!("/r0/pushrules/{path}");
        assert_eq!(code(&world.put(&path, &alice, json!({})).await), (400, "M_INVALID_PARAM"), "{path}");
        assert_eq!(code(&world.delete(&path, &alice, json!({})).await), (405, "M_UNRECOGNIZED"), "{path}");
    }
}

#[tokio::test]
async fn rules_are_written() {
    let world = world().await;
    let alice = world.client("alice").await;
    let path = "/v3/pushrules/global/content/cake";
    let rule = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "sound", "value": "bell" }] });
    assert_eq!(world.put(path, &alice, rule.clone()).await, (200, json!({})));
    let (_, read) = world.get(path, &alice).await;
    assert_eq!(
        (&read["pattern"], &read["actions"], &read["enabled"]),
        (&rule["pattern"], &rule["actions"], &json!(true))
    );
    assert_eq!(world.put(&format!("{path}/enabled"), &alice, json!({ "enabled": false })).await, (200, json!({})));
    assert_eq!(world.put(&format!("{path}/actions"), &alice, json!({ "actions": [] })).await, (200, json!({})));
    let (_, read) = world.get(path, &alice).await;
    assert_eq!((&read["actions"], &read["enabled"]), (&json!([]), &json!(false)));
    let second = "/v3/pushrules/global/content/tea";
    assert_eq!(world.put(&format!("{second}?after=cake"), &alice, rule.clone()).await, (200, json!({})));
    // ruma 0.17 panics at this one when it is left alone with it.
    assert_eq!(world.put(&format!("{path}?after=tea"), &alice, rule.clone()).await, (200, json!({})));
    let (_, all) = world.get("/v3/pushrules/global/", &alice).await;
    let order: Vec<_> = all["content"].as_array().unwrap().iter().map(|rule| &rule["rule_id"]).collect();
    assert_eq!(order, ["tea", "cake"]);

    assert_eq!(code(&world.put(&format!("{path}?after=cake"), &alice, rule.clone()).await), (400, "M_INVALID_PARAM"));
    assert_eq!(
        code(&world.put(&format!("{path}?after=nowhere"), &alice, rule.clone()).await),
        (400, "M_INVALID_PARAM")
    );
    let reserved = "/v3/pushrules/global/content/.mine";
    assert_eq!(code(&world.put(reserved, &alice, rule.clone()).await), (400, "M_INVALID_PARAM"));
    assert_eq!(code(&world.put(path, &alice, json!({ "actions": [] })).await), (400, "M_BAD_JSON"));
    assert_eq!(world.put("/v3/pushrules/global/unheard/of", &alice, rule).await.0, 400);
    assert_eq!(world.delete(path, &alice, json!({})).await, (200, json!({})));
    assert_eq!(code(&world.delete(path, &alice, json!({})).await), (404, "M_NOT_FOUND"));
    let master = "/v3/pushrules/global/override/.m.rule.master";
    assert_eq!(code(&world.delete(master, &alice, json!({})).await), (400, "M_INVALID_PARAM"));
}
