//! The routing table against the inventory of the specification's endpoints (`endpoints.csv`, v1.19, server-server):
//! all of it is served, and nothing else but what stands in a list here.

use std::collections::BTreeSet;

const INVENTORY: &str = include_str!("endpoints.csv");

/// What is served although the inventory does not have it.
const BEYOND: &[(&str, &str)] = &[
    // What servers ask that find no second version, which the specification has dropped.
    ("PUT", "/_matrix/federation/v1/send_join/{}/{}"),
    ("PUT", "/_matrix/federation/v1/send_leave/{}/{}"),
    // The path of servers that name the key that they want.
    ("GET", "/_matrix/key/v2/query/{}/{}"),
    ("GET", "/_matrix/key/v2/server/{}"),
    // What Wardrooms ask of each other: the partner's signed checkpoint, and a cosignature on ours.
    ("GET", "/_wardroom/federation/v1/audit/checkpoint"),
    ("POST", "/_wardroom/federation/v1/audit/cosignature"),
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
fn every_stable_endpoint_is_served() {
    let served = served();
    let missing: Vec<_> = rows().filter(|(method, path)| !served.contains(&key(method, path))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(rows().count(), 36);
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
