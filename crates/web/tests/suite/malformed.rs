//! What is wrong with a request is said in the specification's codes, with the name of the field.

use axum::body::Body;
use http::{Method, Request};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value};

use crate::world::World;

const LOGIN: &str = "/_matrix/client/v3/login";
const INVITE: &str = "/_matrix/client/v3/rooms/!a:a.example/invite";
const PASSWORD: &str = "/_matrix/client/v3/account/password";
const FILTER: &str = "/_matrix/client/v3/user/@alice:a.example/filter";
const MESSAGES: &str = "/_matrix/client/v3/rooms/!a:a.example/messages";

#[tokio::test]
async fn bodies() {
    let world = World::new().await;
    for (uri, body, errcode, named) in [
        (LOGIN, "", "M_BAD_JSON", "`type`"),
        (LOGIN, "{}", "M_BAD_JSON", "`type`"),
        (LOGIN, "{\"type\": 1}", "M_BAD_JSON", "`type`"),
        (LOGIN, "{", "M_NOT_JSON", "JSON"),
        (LOGIN, "[]", "M_BAD_JSON", "object"),
        (LOGIN, "\"x\"", "M_BAD_JSON", "object"),
        (LOGIN, "nonsense", "M_NOT_JSON", "JSON"),
        (LOGIN, "{\"type\":\"m.login.password\",\"password\":1}", "M_BAD_JSON", "`password`"),
        (LOGIN, "{\"type\":\"m.login.password\"}", "M_BAD_JSON", "`password` is missing"),
        (
            LOGIN,
            "{\"type\":\"m.login.password\",\"password\":\"x\",\"identifier\":{\"type\":\"m.id.user\",\"user\":5}}",
            "M_BAD_JSON",
            "`identifier.user`",
        ),
        (LOGIN, "{\"type\":\"m.login.password\",\"password\":\"x\",\"device_id\":5}", "M_BAD_JSON", "`device_id`"),
        (INVITE, "{}", "M_BAD_JSON", "`user_id`"),
        (INVITE, "{\"user_id\":7}", "M_BAD_JSON", "`user_id`"),
        (INVITE, "{\"user_id\":\"alice\"}", "M_BAD_JSON", "`user_id`"),
        (PASSWORD, "{\"new_password\":{}}", "M_BAD_JSON", "`new_password`"),
        (PASSWORD, "{\"new_password\":\"x\",\"logout_devices\":\"yes\"}", "M_BAD_JSON", "`logout_devices`"),
        (FILTER, "{\"room\":{\"timeline\":{\"limit\":1.5}}}", "M_BAD_JSON", "`room.timeline.limit`"),
        (FILTER, "{\"room\":{\"timeline\":{\"limit\":-1}}}", "M_BAD_JSON", "`room.timeline.limit`"),
        (FILTER, "{\"room\":{\"rooms\":[\"!a:b\",\"x\"]}}", "M_BAD_JSON", "`room.rooms`"),
    ] {
        let (status, code, sentence) = world.ask(Method::POST, uri, body).await.error();
        assert_eq!((status, code.as_str()), (400, errcode), "{uri} {body}: {sentence}");
        assert!(sentence.contains(named), "{uri} {body}: {sentence}");
    }
}

#[tokio::test]
async fn unknown_fields_and_empty_bodies_are_fine() {
    let world = World::new().await;
    let body = "{\"user_id\":\"@bob:a.example\",\"surprise\":[1.5]}";
    assert_eq!(world.ask(Method::POST, INVITE, body).await.status, 200);
    assert_eq!(world.ask(Method::POST, FILTER, "").await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let world = World::new().await;
    let body = b"{\"user_id\":\"@bob:a.example\",\"x\":\"\xff\"}".to_vec();
    let (status, code, _) = world.ask(Method::POST, INVITE, body).await.error();
    assert_eq!((status, code.as_str()), (400, "M_NOT_JSON"));
}

#[tokio::test]
async fn paths_and_queries() {
    let world = World::new().await;
    for (uri, errcode, named) in [
        ("/_matrix/client/v3/rooms/nowhere/messages?dir=b", "M_INVALID_PARAM", "`room_id`"),
        ("/_matrix/client/v3/rooms/%FF/messages?dir=b", "M_INVALID_PARAM", "UTF-8"),
        ("/_matrix/client/v3/rooms/nowhere/state/m.room.name/x", "M_INVALID_PARAM", "`room_id`"),
        (&format!("{MESSAGES}?dir=x"), "M_INVALID_PARAM", "`dir`"),
        (&format!("{MESSAGES}?dir=b&limit=-1"), "M_INVALID_PARAM", "`limit`"),
        (&format!("{MESSAGES}?limit=many&dir=b"), "M_INVALID_PARAM", "`limit`"),
        (MESSAGES, "M_MISSING_PARAM", "`dir`"),
    ] {
        let (status, code, sentence) = world.ask(Method::GET, uri, "").await.error();
        assert_eq!((status, code.as_str()), (400, errcode), "{uri}: {sentence}");
        assert!(sentence.contains(named), "{uri}: {sentence}");
    }
}

#[tokio::test]
async fn path_arguments_are_decoded() {
    let world = World::new().await;
    let answer = world.ask(Method::GET, "/_matrix/client/v3/rooms/!a%3Aa.example/state/a%2Fb", "").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"a/b|"[..]));
}

#[tokio::test]
async fn tokens() {
    let world = World::new().await;
    let uri = "/_matrix/client/v3/account/whoami";
    let ask = |uri: String, header: Option<&'static str>| {
        let mut request = Request::builder().uri(uri);
        if let Some(header) = header {
            request = request.header("Authorization", header);
        }
        world.send(request.body(Body::empty()).unwrap())
    };
    let missing = ask(uri.to_owned(), None).await.error();
    assert_eq!((missing.0, missing.1.as_str()), (401, "M_MISSING_TOKEN"));
    let unknown = ask(uri.to_owned(), Some("Bearer nobody")).await.error();
    assert_eq!((unknown.0, unknown.1.as_str()), (401, "M_UNKNOWN_TOKEN"));
    let scheme = ask(uri.to_owned(), Some("Basic YTpi")).await.error();
    assert_eq!((scheme.0, scheme.1.as_str()), (401, "M_MISSING_TOKEN"));
    assert_eq!(world.ask(Method::GET, uri, "").await.json()["user_id"], "@alice:a.example");
    let by_query = ask(format!("{uri}?access_token={}", world.token), None).await;
    assert_eq!(by_query.json()["user_id"], "@alice:a.example");
}

#[tokio::test]
async fn guests_may_use_what_is_listed() {
    let mut world = World::new().await;
    world.token = world.guest().await;
    assert_eq!(world.ask(Method::GET, "/_matrix/client/v3/account/whoami", "").await.status, 200);
    let (status, code, _) = world.ask(Method::POST, INVITE, "{}").await.error();
    assert_eq!((status, code.as_str()), (403, "M_GUEST_ACCESS_FORBIDDEN"));
}

#[tokio::test]
async fn strangers_do_not_get_to_send_a_body() {
    let world = World::new().await;
    let endless = futures_util::stream::pending::<Result<&'static str, std::io::Error>>();
    let request = Request::builder().method("POST").uri(INVITE).body(Body::from_stream(endless)).unwrap();
    assert_eq!(world.send(request).await.error().1, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_body_over_the_limit() {
    let world = World::new().await;
    let body = format!("{{\"user_id\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let (status, code, _) = world.ask(Method::POST, INVITE, body).await.error();
    assert_eq!((status, code.as_str()), (413, "M_TOO_LARGE"));
}

/// Bodies that are nearly right: known fields with values of any type, somewhere in the tree.
fn odd_body() -> impl Strategy<Value = Value> {
    let known = [
        "type",
        "user_id",
        "password",
        "new_password",
        "identifier",
        "user",
        "auth",
        "session",
        "room",
        "timeline",
        "limit",
        "rooms",
        "event_fields",
        "id_server",
        "address",
        "medium",
        "logout_devices",
        "device_id",
    ];
    let name = prop_oneof![3 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}"];
    let words = ["m.login.password", "m.id.user", "@a:b", "!a:b", ""];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(words.to_vec()).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 20, 4, {
        let name = name.clone();
        move |inner| {
            let fields = vec((name.clone(), inner.clone()), 0..4);
            prop_oneof![
                vec(inner, 0..4).prop_map(Value::from),
                fields.prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        }
    });
    vec((name, value), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>()))
}

#[test]
fn any_body_is_read_or_refused_with_a_sentence() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    let endpoints = proptest::sample::select(vec![LOGIN, INVITE, PASSWORD, FILTER]);
    let outcome = runner.run(&(endpoints, odd_body()), |(uri, body)| {
        let answer = runtime.block_on(world.ask(Method::POST, uri, body.to_string()));
        if answer.status != 200 {
            let (status, code, sentence) = answer.error();
            prop_assert!(status == 400 && ["M_BAD_JSON", "M_NOT_JSON"].contains(&code.as_str()), "{}", sentence);
            prop_assert!(!sentence.is_empty());
        }
        Ok(())
    });
    outcome.unwrap();
}
