//! What every answer has, whatever the endpoint.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use tower::ServiceExt as _;

use crate::world::World;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

#[tokio::test]
async fn unknown_paths_and_methods_are_json() {
    let world = World::new().await;
    let (status, code, _) = world.ask(Method::GET, "/_matrix/client/v3/nothing", "").await.error();
    assert_eq!((status, code.as_str()), (404, "M_UNRECOGNIZED"));
    let answer = world.ask(Method::DELETE, WHOAMI, "").await;
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    let (status, code, _) = answer.error();
    assert_eq!((status, code.as_str()), (405, "M_UNRECOGNIZED"));
}

#[tokio::test]
async fn get_answers_head_too() {
    let world = World::new().await;
    let answer = world.ask(Method::HEAD, WHOAMI, "").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_ne!(answer.headers["content-length"], "0");
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere() {
    let world = World::new().await;
    for (method, uri, status) in [
        (Method::GET, WHOAMI, 200),
        (Method::GET, "/nothing", 404),
        (Method::DELETE, WHOAMI, 405),
        (Method::GET, "/panic", 500),
        (Method::OPTIONS, WHOAMI, 204),
        (Method::OPTIONS, "/nothing", 204),
    ] {
        let answer = world.ask(method.clone(), uri, "").await;
        assert_eq!(answer.status, status, "{method} {uri}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*");
        assert_eq!(answer.headers["access-control-allow-headers"], "X-Requested-With, Content-Type, Authorization");
        assert!(answer.headers["access-control-allow-methods"].to_str().unwrap().contains("DELETE"));
    }
}

#[tokio::test]
async fn a_panic_is_an_answer_that_tells_nothing() {
    let world = World::new().await;
    let (status, code, sentence) = world.ask(Method::GET, "/panic", "").await.error();
    assert_eq!((status, code.as_str()), (500, "M_UNKNOWN"));
    assert!(!sentence.contains("secret"));
}

#[tokio::test]
async fn a_change_is_finished_when_the_client_hangs_up() {
    let world = World::new().await;
    let request = Request::builder()
        .method("POST")
        .uri("/_matrix/client/v3/createRoom")
        .header("Authorization", format!("Bearer {}", world.token))
        .body(Body::from("{}"))
        .unwrap();
    let answer = world.router.clone().oneshot(request);
    let hung_up = tokio::time::timeout(Duration::from_millis(10), answer).await;
    assert!(hung_up.is_err(), "the handler takes longer");
    let finished = tokio::time::timeout(Duration::from_secs(10), world.state.created.acquire()).await;
    assert!(finished.is_ok(), "the handler was dropped");
}

#[tokio::test]
async fn requests_are_counted_by_pattern() {
    let world = World::new().await;
    world.ask(Method::GET, "/_matrix/client/v3/rooms/!a:a.example/state/x", "").await;
    world.ask(Method::GET, "/secret/path", "").await;
    let samples = world.metrics.samples();
    let routes: Vec<&str> = samples.iter().map(|sample| sample.route.as_str()).collect();
    assert_eq!(routes, ["/_matrix/client/v3/rooms/{room_id}/state/{event_type}", "none"]);
    assert_eq!(world.metrics.in_flight(), 0);
}
