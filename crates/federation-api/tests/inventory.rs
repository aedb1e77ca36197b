//! The routing table against the inventory of the specification's endpoints (`endpoints.csv`, v1.19, server-server):
//! what is served is in it, and what of it is not served stands in a list here, with its reason.

use std::collections::BTreeSet;

const INVENTORY: &str = include_str!("endpoints.csv");

/// Rows that are not served, each with the reason.
const NOT_SERVED: &[(&str, &str, &str)] = &[
    ("GET", "/_matrix/federation/v1/query/{queryType}", "there are no kinds of query but the two of the specification"),
    ("POST", "/_matrix/policy/v1/sign", "this is no policy server"),
];

/// What is served although the inventory does not have it.
const BEYOND: &[(&str, &str)] = &[
    // What servers ask that find no second version, which the specification has dropped.
    ("PUT", "/_matrix/federation/v1/send_join/{}/{}"),
    ("PUT", "/_matrix/federation/v1/send_leave/{}/{}"),
    // The path of servers that name the key that they want.
    ("GET", "/_matrix/key/v2/query/{}/{}"),
    ("GET", "/_matrix/key/v2/server/{}"),
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

fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    INVENTORY.lines().skip(1).map(|line| {
        let row: Vec<&str> = line.split(',').collect();
        (row[1], row[2])
    })
}

fn served() -> BTreeSet<(String, String)> {
    wardroom_federation_api::routes().listed().iter().map(|route| key(route.method.as_str(), &route.path)).collect()
}

#[test]
fn every_stable_endpoint_is_served_or_has_a_reason() {
    let served = served();
    let mut problems = Vec::new();
    for (method, path) in rows() {
        let excused = NOT_SERVED.iter().any(|row| (row.0, row.1) == (method, path));
        match (served.contains(&key(method, path)), excused) {
            (true, true) => problems.push(format!("{method} {path} is served, and stands in the list of what is not")),
            (false, false) => problems.push(format!("{method} {path} is neither served nor in the list")),
            _ => {}
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    assert_eq!(rows().count(), 36);
}

#[test]
fn every_reason_is_needed() {
    for (method, path, reason) in NOT_SERVED {
        assert!(rows().any(|row| row == (*method, *path)) && !reason.is_empty(), "{method} {path}");
    }
}

#[test]
fn nothing_is_served_that_the_inventory_does_not_know() {
    let known: BTreeSet<_> = rows().map(|(method, path)| key(method, path)).collect();
    let beyond = |(method, path): &(String, String)| {
        BEYOND.contains(&(method.as_str(), path.as_str())) || path.contains("/unstable/")
    };
    let unknown: Vec<_> = served().into_iter().filter(|route| !known.contains(route) && !beyond(route)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}
