//! The requests that RFC 7644 itself gives as examples, section by section.

use wardroom_testkit::{Value, json};

use super::Hospital;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// The person of the examples (section 3.3).
fn barbara() -> Value {
    let name = json!({ "formatted": "Ms. Barbara J Jensen III", "familyName": "Jensen", "givenName": "Barbara" });
    json!({ "schemas": [USER], "userName": "bjensen", "externalId": "bjensen", "name": name })
}

fn id_of(resource: &Value) -> String {
    resource["id"].as_str().unwrap().to_owned()
}

#[test]
fn section_3_3_a_user_is_made_and_not_twice() {
    let hospital = Hospital::start();
    let reply = hospital.ask("POST", "/Users", barbara());
    assert_eq!(reply.status, 201, "{}", reply.story());
    let made = reply.json();
    assert_eq!(reply.header("location"), made["meta"]["location"].as_str());
    assert_eq!((&made["meta"]["resourceType"], &made["name"]["familyName"]), (&json!("User"), &json!("Jensen")));
    let again = hospital.ask("POST", "/Users", barbara());
    assert_eq!((again.status, &again.json()["scimType"]), (409, &json!("uniqueness")));
    assert_eq!(hospital.get(&format!("/Users/{}", id_of(&made)))["userName"], "bjensen");
}

#[test]
fn section_3_4_2_2_filters_are_understood() {
    let hospital = Hospital::start();
    let mut user = barbara();
    user["title"] = json!("Tour Guide");
    user["userType"] = json!("Employee");
    user["emails"] = json!([{ "value": "bjensen@example.com", "type": "work", "primary": true }]);
    hospital.make("Users", user);
    for (filter, found) in [
        (r#"userName eq "bjensen""#, 1),
        (r#"name.familyName co "O'Malley""#, 0),
        (r#"userName sw "J""#, 0),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "b""#, 1),
        ("title pr", 1),
        (r#"meta.lastModified gt "2011-05-13T04:42:34Z""#, 1),
        (r#"meta.lastModified lt "2011-05-13T04:42:34Z""#, 0),
        (r#"title pr and userType eq "Employee""#, 1),
        (r#"title pr or userType eq "Intern""#, 1),
        (r#"userType eq "Employee" and (emails.type eq "work")"#, 1),
        (r#"userType eq "Employee" and emails[type eq "work" and value co "@example.com"]"#, 1),
        (r#"userType ne "Employee" and not (emails.value co "example.com" or emails.value co "example.org")"#, 0),
    ] {
        let encoded = wardroom_testkit::encode(filter);
        let list = hospital.get(&format!("/Users?filter={encoded}"));
        assert_eq!(list["totalResults"], found, "{filter}: {list}");
    }
}

#[test]
fn section_3_4_3_a_search_by_post() {
    let hospital = Hospital::start();
    hospital.make("Users", barbara());
    let search = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "attributes": ["displayName", "userName"],
        "filter": "userName sw \"bjen\"",
        "startIndex": 1,
        "count": 10,
    });
    let found = hospital.ask("POST", "/.search", search).ok();
    assert_eq!((&found["totalResults"], &found["Resources"][0]["userName"]), (&json!(1), &json!("bjensen")));
    assert!(found["Resources"][0].get("name").is_none(), "{found}");
}

#[test]
fn section_3_5_1_a_user_is_replaced() {
    let hospital = Hospital::start();
    let path = format!("/Users/{}", id_of(&hospital.make("Users", barbara())));
    let mut whole = barbara();
    whole["emails"] = json!([{ "value": "bjensen@example.com" }, { "value": "babs@jensen.org" }]);
    let replaced = hospital.ask("PUT", &path, whole).ok();
    assert_eq!(replaced["emails"].as_array().map(Vec::len), Some(2), "{replaced}");
}

#[test]
fn section_3_5_2_parts_are_added_replaced_and_removed() {
    let hospital = Hospital::start();
    let id = id_of(&hospital.make("Users", barbara()));
    let path = format!("/Users/{id}");
    let emails = json!([{ "value": "babs@jensen.org", "type": "home" }]);
    let added = json!([{ "op": "add", "value": { "emails": emails, "nickName": "Babs" } }]);
    let added = hospital.patch(&path, added).ok();
    assert_eq!((&added["nickName"], &added["emails"][0]["type"]), (&json!("Babs"), &json!("home")), "{added}");
    let replaced = json!([{ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "b@jensen.org" }]);
    assert_eq!(hospital.patch(&path, replaced).ok()["emails"][0]["value"], "b@jensen.org");
    let removed = json!([{ "op": "remove", "path": "emails[type eq \"home\" and value ew \"jensen.org\"]" }]);
    assert!(hospital.patch(&path, removed).ok().get("emails").is_none());

    let group = hospital.make("Groups", json!({ "displayName": "Tour Guides" }));
    let group = format!("/Groups/{}", id_of(&group));
    let member = json!({ "display": "Babs Jensen", "value": id });
    let operation = json!([{ "op": "add", "path": "members", "value": [member] }]);
    hospital.patch(&group, operation);
    assert_eq!(hospital.get(&group)["members"][0]["value"], json!(id));
    let operation = json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]);
    hospital.patch(&group, operation);
    assert!(hospital.get(&group)["members"].as_array().is_none_or(Vec::is_empty));
    let operation = json!([{ "op": "replace", "path": "members", "value": [{ "value": id }] }]);
    hospital.patch(&group, operation);
    assert_eq!(hospital.get(&group)["members"].as_array().map(Vec::len), Some(1));
    let operation = json!([{ "op": "remove", "path": "members" }]);
    hospital.patch(&group, operation);
    assert!(hospital.get(&group)["members"].as_array().is_none_or(Vec::is_empty));
}

#[test]
fn section_3_6_what_is_deleted_is_gone() {
    let hospital = Hospital::start();
    let path = format!("/Users/{}", id_of(&hospital.make("Users", barbara())));
    assert_eq!(hospital.ask("DELETE", &path, Value::Null).status, 204);
    assert_eq!(hospital.ask("GET", &path, Value::Null).status, 404);
}
