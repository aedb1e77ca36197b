//! What is not served says so: 404 `M_UNRECOGNIZED`, never a fake success; a wrong method is 405.

use wardroom_testkit::{Actor, Body, Reply, Target, json, raw};

use crate::ward;

/// Endpoints of the specification that are not served yet. Each leaves this list with the change that serves it.
const NOT_YET: &[(&str, &str)] = &[
    ("POST", "/_matrix/client/v3/account/3pid/add"),
    ("POST", "/_matrix/client/v3/account/3pid/bind"),
    ("POST", "/_matrix/client/v3/account/3pid/delete"),
    ("POST", "/_matrix/client/v3/account/3pid/unbind"),
    ("POST", "/_matrix/client/v3/account/3pid/email/requestToken"),
    ("POST", "/_matrix/client/v3/account/3pid/msisdn/requestToken"),
    ("POST", "/_matrix/client/v3/account/password/email/requestToken"),
    ("POST", "/_matrix/client/v3/account/password/msisdn/requestToken"),
    ("POST", "/_matrix/client/v3/register/email/requestToken"),
    ("POST", "/_matrix/client/v3/register/msisdn/requestToken"),
    ("POST", "/_matrix/client/v1/appservice/irc/ping"),
    ("PUT", "/_matrix/client/v3/directory/list/appservice/irc/!a:b"),
    ("GET", "/_matrix/client/v1/auth_metadata"),
    ("GET", "/_matrix/client/v3/login/sso/redirect"),
    ("GET", "/_matrix/client/v3/login/sso/redirect/idp"),
    ("GET", "/_matrix/client/v3/thirdparty/protocol/irc"),
    ("GET", "/_matrix/client/v3/thirdparty/location/irc"),
    ("GET", "/_matrix/client/v3/thirdparty/user/irc"),
    ("GET", "/_matrix/client/v3/thirdparty/location"),
    ("GET", "/_matrix/client/v3/thirdparty/user"),
    ("GET", "/_matrix/client/unstable/org.matrix.msc2965/auth_issuer"),
    ("POST", "/_matrix/client/unstable/org.matrix.msc4108/rendezvous"),
    ("POST", "/_synapse/admin/v1/users/@alice:hospital-a.example/shadow_ban"),
    ("GET", "/_synapse/admin/v1/search_users/@alice:hospital-a.example"),
    ("POST", "/_synapse/admin/v1/delete_group/x"),
    ("GET", "/_matrix/client/v3/no/such/endpoint"),
    ("POST", "/_matrix/client/v9/createRoom"),
    ("GET", "/_matrix/client/api/v1/publicRooms"),
    ("GET", "/_matrix/nothing"),
    ("GET", "/_matrix"),
    ("GET", "/_matrix/client"),
];

/// Served paths with methods that they do not have.
const WRONG_METHODS: &[(&str, &str)] = &[
    ("POST", "/_matrix/client/versions"),
    ("DELETE", "/_matrix/client/v3/sync"),
    ("POST", "/_matrix/client/v3/sync"),
    ("GET", "/_matrix/client/v3/createRoom"),
    ("PATCH", "/_matrix/client/v3/createRoom"),
    ("PUT", "/_matrix/client/v3/login"),
    ("DELETE", "/_matrix/client/v3/register"),
    ("GET", "/_matrix/client/v3/logout"),
    ("POST", "/_matrix/client/v3/rooms/!a:b/messages"),
    ("DELETE", "/_matrix/client/v3/rooms/!a:b/state/m.room.name"),
    ("GET", "/_matrix/client/v3/rooms/!a:b/send/m.room.message/1"),
    ("POST", "/_matrix/client/v3/directory/room/%23a:b"),
    ("PUT", "/_matrix/client/v3/account/whoami"),
    ("DELETE", "/_matrix/client/v3/profile/@a:b"),
];

fn ask(actor: &impl Actor, method: &str, target: &Target) -> Reply {
    let body = if method == "GET" || method == "DELETE" { Body::Empty } else { json!({}).into() };
    actor.request(method, target, body)
}

/// Asserts one answer for each row, asking with and without a token, and shows all that differ at once.
#[track_caller]
fn each_is(status: u16, rows: &[(&str, &str)]) {
    let alice = ward().user("alice");
    let nobody = alice.anonymous();
    let mut others = Vec::new();
    for (method, path) in rows {
        for answer in [ask(&alice, method, &raw(path)), ask(&nobody, method, &raw(path))] {
            let errcode =
                serde_json::from_slice(&answer.bytes).map(|json: wardroom_testkit::Value| json["errcode"].clone());
            if answer.status != status || !errcode.is_ok_and(|errcode| errcode == "M_UNRECOGNIZED") {
                others.push(answer.story());
            }
        }
    }
    assert!(others.is_empty(), "expected {status} M_UNRECOGNIZED of these:\n{}", others.join("\n"));
}

#[test]
fn an_endpoint_that_is_not_served_is_unrecognized() {
    each_is(404, NOT_YET);
}

#[test]
fn a_wrong_method_is_unrecognized() {
    each_is(405, WRONG_METHODS);
}

#[test]
fn a_head_request_is_a_get_without_a_body() {
    let answer = ward().anonymous().request("HEAD", &raw("/_matrix/client/versions"), Body::Empty);
    assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{}", answer.story());
}

#[test]
fn old_paths_of_stable_endpoints_lead_to_the_same_place() {
    let alice = ward().user("alice");
    let whoami = alice.get(raw("/_matrix/client/r0/account/whoami")).ok();
    assert_eq!(whoami, alice.get(raw("/_matrix/client/v3/account/whoami")).ok());
}
