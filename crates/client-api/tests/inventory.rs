//! The routing table against the inventory of the specification's endpoints (`endpoints.csv`, v1.19): what is served
//! is in it, and what of it is not served stands in a list here, with its reason.

use std::collections::BTreeSet;

const INVENTORY: &str = include_str!("endpoints.csv");

/// Rows that are not served, by prefix of their path, each with the reason.
const NOT_SERVED: &[(&str, &str, &str)] = &[
    ("POST", "/_matrix/client/v3/account/3pid", "addresses of people come with an identity service or a directory"),
    ("POST", "/_matrix/client/v3/account/password/email/requestToken", "the server sends no e-mail"),
    ("POST", "/_matrix/client/v3/account/password/msisdn/requestToken", "the server sends no text messages"),
    ("POST", "/_matrix/client/v3/register/email/requestToken", "the server sends no e-mail"),
    ("POST", "/_matrix/client/v3/register/msisdn/requestToken", "the server sends no text messages"),
    (
        "GET",
        "/_matrix/client/v1/auth_metadata",
        "the server is no OAuth 2.0 server: the specified answer of one that is none",
    ),
    ("POST", "/_matrix/client/v1/appservice/", "there are no application services yet"),
    ("PUT", "/_matrix/client/v3/directory/list/appservice/", "there are no application services yet"),
    ("GET", "/_matrix/client/v3/thirdparty/protocol/", "bridges are application services"),
    ("GET", "/_matrix/client/v3/thirdparty/location", "bridges are application services"),
    ("GET", "/_matrix/client/v3/thirdparty/user", "bridges are application services"),
];

/// What is served although no version of the specification that is in force has it.
const BEYOND: &[(&str, &str)] = &[
    // The push rules of one kind.
    ("GET", "/_matrix/client/v3/pushrules/global/{}/"),
    // Paths to push rules that the specification does not have are refused by name.
    ("GET", "/_matrix/client/v3/pushrules/{}"),
    ("PUT", "/_matrix/client/v3/pushrules/{}"),
    ("DELETE", "/_matrix/client/v3/pushrules/{}"),
    ("PUT", "/_matrix/client/v3/pushrules/"),
    ("PUT", "/_matrix/client/v3/pushrules/global/"),
    ("PUT", "/_matrix/client/v3/pushrules/global/{}/"),
    // Scripts send without a transaction id.
    ("POST", "/_matrix/client/v3/rooms/{}/send/{}"),
    // And redact without one.
    ("POST", "/_matrix/client/v3/rooms/{}/redact/{}"),
    // How long messages are kept (MSC1763), which clients ask for under this name too.
    ("GET", "/_matrix/client/v3/retention/configuration"),
    // The specification has this for every stage of user-interactive authentication, in prose.
    ("GET", "/_matrix/client/v3/auth/m.login.sso/fallback/web"),
];

/// A row, with the names of the path's variables left out: ours are ruma's.
fn key(method: &str, path: &str) -> (String, String) {
    let mut plain = String::new();
    for part in path.split('/').skip(1) {
        plain.push('/');
        plain.push_str(if part.starts_with('{') { "{}" } else { part });
    }
    (method.to_owned(), plain)
}

fn rows(status: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = INVENTORY.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    lines.filter(move |row| row[0] == status).map(|row| (row[1], row[2]))
}

fn excused(method: &str, path: &str) -> bool {
    let fits = |(of, prefix, _): &&(&str, &str, &str)| (*of == "*" || *of == method) && path.starts_with(prefix);
    NOT_SERVED.iter().any(|row| fits(&row))
}

fn served() -> BTreeSet<(String, String)> {
    let (routes, media) = (wardroom_client_api::routes(), wardroom_client_api::media_routes());
    routes.listed().iter().chain(media.listed()).map(|route| key(route.method.as_str(), &route.path)).collect()
}

#[test]
fn every_stable_endpoint_is_served_or_has_a_reason() {
    let served = served();
    let mut problems = Vec::new();
    for (method, path) in rows("stable") {
        match (served.contains(&key(method, path)), excused(method, path)) {
            (true, true) => problems.push(format!("{method} {path} is served, and stands in the list of what is not")),
            (false, false) => problems.push(format!("{method} {path} is neither served nor in the list")),
            _ => {}
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_reason_is_needed() {
    for row @ (of, prefix, reason) in NOT_SERVED {
        let needed = rows("stable").any(|(method, path)| (*of == "*" || *of == method) && path.starts_with(prefix));
        assert!(needed && !reason.is_empty(), "{row:?}");
    }
}

#[test]
fn nothing_is_served_that_the_inventory_does_not_know() {
    let known: BTreeSet<_> = ["stable", "unstable", "prose", "deprecated"]
        .iter()
        .flat_map(|status| rows(status))
        .map(|(method, path)| key(method, path))
        .collect();
    // Older versions of paths, and paths without the slash at their end, lead to the same place; a field of a profile
    // that the specification names is one of the fields that it leaves open.
    let canonical = |(method, path): &(String, String)| {
        let path = path.replacen("/r0/", "/v3/", 1);
        let path = path
            .replace("/profile/{}/displayname", "/profile/{}/{}")
            .replace("/profile/{}/avatar_url", "/profile/{}/{}");
        (method.clone(), path)
    };
    let with_slash = |(method, path): &(String, String)| (method.clone(), format!("{path}/"));
    let unknown: Vec<_> = served()
        .iter()
        .map(canonical)
        .filter(|route| !known.contains(route) && !known.contains(&with_slash(route)))
        .filter(|(method, path)| !path.contains("/unstable/") && !BEYOND.contains(&(method.as_str(), path.as_str())))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}
