use proptest::prelude::*;
use serde_json::{Value, json};

use super::{apply, read};
use crate::{ENTERPRISE_URN, ScimError, schema::ResourceKind};

fn patched(before: &Value, operations: Value) -> Result<Value, ScimError> {
    let mut resource = before.as_object().unwrap().clone();
    let mut body = json!({});
    body["Operations"] = operations;
    for operation in read(ResourceKind::User, &body)? {
        apply(&mut resource, &operation)?;
    }
    ResourceKind::User.read(&Value::Object(resource)).map(Value::Object)
}

fn user() -> Value {
    json!({
        "userName": "bjensen", "active": true, "title": "Nurse", "name": { "givenName": "Barbara" },
        "emails": [{ "type": "work", "value": "b@h1.example", "primary": true }],
        ENTERPRISE_URN: { "department": "ICU" },
    })
}

#[test]
fn the_forms_of_the_rfc_are_done() {
    let home = json!({ "type": "home", "value": "b@home.example" });
    for (operations, pointer, expected) in [
        (json!([{ "op": "add", "value": { "nickName": "Babs" } }]), "/nickName", json!("Babs")),
        (json!([{ "op": "add", "path": "emails", "value": [home] }]), "/emails/1/value", json!("b@home.example")),
        (json!([{ "op": "replace", "path": "emails", "value": [home] }]), "/emails", json!([home])),
        (json!([{ "op": "remove", "path": "title" }]), "/title", Value::Null),
        (json!([{ "op": "remove", "path": "emails[type eq \"work\"]" }]), "/emails", Value::Null),
        (json!([{ "op": "replace", "path": "name.familyName", "value": "J" }]), "/name/familyName", json!("J")),
        (json!([{ "op": "add", "path": "name", "value": { "familyName": "J" } }]), "/name/givenName", json!("Barbara")),
        (
            json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "new@h1.example" }]),
            "/emails/0/value",
            json!("new@h1.example"),
        ),
        (
            json!([{ "op": "replace", "path": format!("{ENTERPRISE_URN}:department"), "value": "OR" }]),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department",
            json!("OR"),
        ),
    ] {
        let after = patched(&user(), operations.clone()).unwrap();
        assert_eq!(after.pointer(pointer).cloned().unwrap_or_default(), expected, "{operations}");
    }
}

#[test]
fn the_forms_of_known_directories_are_done() {
    for (operations, pointer, expected) in [
        (json!([{ "op": "Replace", "path": "active", "value": "False" }]), "/active", json!(false)),
        (json!([{ "op": "replace", "value": { "active": false } }]), "/active", json!(false)),
        (json!([{ "op": "Add", "value": { "name.familyName": "J" } }]), "/name/familyName", json!("J")),
        (
            json!([{ "op": "Add", "path": "emails[type eq \"home\"].value", "value": "b@home.example" }]),
            "/emails/1",
            json!({ "type": "home", "value": "b@home.example" }),
        ),
        (
            json!([{ "op": "Replace", "path": "roles[primary eq \"True\"].value", "value": "nurse" }]),
            "/roles/0",
            json!({ "primary": true, "value": "nurse" }),
        ),
        (
            json!([{ "op": "Add", "path": format!("{ENTERPRISE_URN}:manager"), "value": "42" }]),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/manager/value",
            json!("42"),
        ),
        (
            json!([{ "op": "replace", "value": { ENTERPRISE_URN: { "department": "OR" } } }]),
            "/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User/department",
            json!("OR"),
        ),
        (
            json!([{ "op": "add", "path": "addresses[type eq \"work\"].country", "value": "DE" }]),
            "/addresses",
            Value::Null,
        ),
        (json!([{ "op": "remove", "path": "emails", "value": [{ "value": "b@h1.example" }] }]), "/emails", Value::Null),
    ] {
        let after = patched(&user(), operations.clone()).unwrap();
        assert_eq!(after.pointer(pointer).cloned().unwrap_or_default(), expected, "{operations}");
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let kind = |operations: Value| patched(&user(), operations).unwrap_err().code().1.unwrap();
    assert_eq!(kind(json!([{ "op": "move", "path": "title" }])), "invalidSyntax");
    assert_eq!(kind(json!("add")), "invalidSyntax");
    assert_eq!(kind(json!([{ "op": "remove" }])), "noTarget");
    assert_eq!(kind(json!([{ "op": "add", "path": "nothing", "value": 1 }])), "invalidPath");
    assert_eq!(kind(json!([{ "op": "add", "path": "title.x", "value": 1 }])), "invalidPath");
    assert_eq!(kind(json!([{ "op": "add", "path": "emails[type eq", "value": 1 }])), "invalidPath");
    assert_eq!(kind(json!([{ "op": "add", "path": "emails[type xx 1]", "value": 1 }])), "invalidFilter");
    assert_eq!(
        kind(json!([{ "op": "replace", "path": "emails[type pr and value co \"zzz\"].value", "value": "y" }])),
        "noTarget"
    );
    assert_eq!(kind(json!([{ "op": "add", "path": "groups", "value": [] }])), "mutability");
    assert_eq!(kind(json!([{ "op": "remove", "path": "userName" }])), "invalidValue");
    assert_eq!(kind(json!([{ "op": "replace", "path": "active", "value": "perhaps" }])), "invalidValue");
    let many = vec![json!({ "op": "remove", "path": "title" }); super::OPERATIONS_MAX + 1];
    assert_eq!(kind(json!(many)), "tooMany");
}

proptest! {
    #[test]
    fn no_path_or_value_panics(
        op in "add|Remove|replace",
        path in "\\PC{0,40}|(emails|name|title|active|roles)(\\[(type|value) eq \"[a-z]{0,3}\"\\])?(\\.[a-zA-Z]{0,9})?",
        value in prop_oneof![
            Just(Value::Null), Just(json!([])), Just(json!({})), Just(json!("x")), Just(json!(1)),
            Just(json!([{ "value": "x" }, null, 1])), Just(json!({ "value": [1], "name": { "a": 1 } })),
        ],
    ) {
        let _ = patched(&user(), json!([{ "op": op, "path": path, "value": value }]));
        let _ = patched(&user(), json!([{ "op": op, "value": { path: value } }]));
    }
}
