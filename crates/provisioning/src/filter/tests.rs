use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FILTER_DEPTH_MAX, FILTER_TERMS_MAX, Filter};

fn user() -> Value {
    json!({
        "id": "2819c223", "userName": "Bjensen@Example.com", "externalId": "Ab1", "active": true, "title": "Nurse",
        "name": { "familyName": "O'Malley" },
        "emails": [{ "type": "work", "value": "b@example.com" }, { "type": "home", "value": "b@home.example" }],
        "meta": { "lastModified": "2011-05-13T04:42:34.000Z" },
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "ICU" },
    })
}

#[test]
fn filters_mean_what_the_rfc_says() {
    for (filter, met) in [
        (r#"userName eq "bjensen@example.com""#, true),
        (r#"USERNAME Eq "BJENSEN@example.com""#, true),
        (r#"externalId eq "ab1""#, false),
        (r#"externalId eq "Ab1""#, true),
        (r#"name.familyName co "o'malley""#, true),
        (r#"userName sw "B""#, true),
        (r#"userName ew "org""#, false),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "bj""#, true),
        (r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "icu""#, true),
        ("title pr", true),
        ("nickName pr", false),
        (r#"meta.lastModified gt "2011-05-13T04:42:34Z""#, false),
        (r#"meta.lastModified ge "2011-05-13T06:42:34+02:00""#, true),
        (r#"meta.lastModified lt "2012-01-01T00:00:00Z""#, true),
        (r#"title pr and active eq false"#, false),
        (r#"title eq "Doctor" or active eq true"#, true),
        (r#"active eq "True""#, true),
        (r#"title eq "x" and title eq "y" or active eq true"#, true),
        (r#"title eq "x" and (title eq "y" or active eq true)"#, false),
        (r#"not (title eq "Nurse")"#, false),
        (r#"title ne "Doctor""#, true),
        (r#"nickName ne "x""#, true),
        (r#"nickName eq null"#, true),
        (r#"emails co "example.com""#, true),
        (r#"emails.type eq "work""#, true),
        (r#"emails[type eq "work" and value co "@home.example"]"#, false),
        (r#"emails[type eq "home" and value co "@home.example"] and title pr"#, true),
    ] {
        assert_eq!(Filter::parse(filter).unwrap().is_met_by(&user()), met, "{filter}");
    }
}

#[test]
fn malformed_and_hostile_filters_are_refused() {
    let nested = |depth: usize| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
    let long = |terms: usize| vec!["a pr"; terms].join(" or ");
    assert!(Filter::parse(&nested(FILTER_DEPTH_MAX)).is_ok());
    assert!(Filter::parse(&long(FILTER_TERMS_MAX)).is_ok());
    let hostile = [
        nested(FILTER_DEPTH_MAX + 1),
        nested(2_000),
        "not (".repeat(800),
        "a[".repeat(2_000),
        long(FILTER_TERMS_MAX + 1),
        format!("a eq \"{}\"", "x".repeat(5_000)),
    ];
    for filter in hostile.iter().map(String::as_str).chain([
        "",
        " ",
        "a",
        "a eq",
        "a xx 1",
        "a eq \"x",
        "a eq x",
        "a pr b",
        "(a pr",
        "a pr)",
        "a pr and",
        "a[b pr",
        "1 eq 1",
        "a..b pr",
        "a.b.c pr",
        "active gt true",
        "a co 1",
        "a eq [1]",
        "a eq {}",
        "urn:unknown:x pr",
    ]) {
        assert!(Filter::parse(filter).is_err(), "{filter}");
    }
}

#[test]
fn lookups_by_an_index_are_seen() {
    let filter = Filter::parse(r#"active eq true and (userName eq "A")"#).unwrap();
    assert_eq!(filter.demands("username"), Some("A"));
    let filter = Filter::parse(r#"userName eq "A" or active eq true"#).unwrap();
    assert_eq!(filter.demands("username"), None);
    let filter = Filter::parse(r#"value eq "1" or value eq "2""#).unwrap();
    assert_eq!(filter.texts_of("value"), Some(vec!["1", "2"]));
}

proptest! {
    #[test]
    fn no_filter_panics(text in "\\PC{0,200}|([a-z. ()\\[\\]\"\\\\]|eq|and|or|not|pr| ){0,100}") {
        if let Ok(filter) = Filter::parse(&text) {
            let _ = filter.is_met_by(&user());
        }
    }

    #[test]
    fn a_text_is_found_whatever_is_in_it(text in "\\PC{0,50}") {
        let filter = format!("title eq {}", json!(text));
        let user = json!({ "title": text });
        prop_assert!(Filter::parse(&filter).unwrap().is_met_by(&user));
    }
}
