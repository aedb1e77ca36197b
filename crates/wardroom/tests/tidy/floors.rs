//! The direction of dependencies between the crates, as `docs/architecture.md` draws it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{crates, none, read, read_toml};

const DOCUMENT: &str = "docs/architecture.md";

/// A row of the table: the floor, and the crates that this one may use.
struct Row {
    floor: f32,
    uses: BTreeSet<String>,
}

/// The table under the line that begins with "| floor".
fn table() -> BTreeMap<String, Row> {
    let text = read(DOCUMENT);
    let rows = text.lines().skip_while(|line| !line.starts_with("| floor")).skip(2);
    let mut table = BTreeMap::new();
    for line in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let floor = cells[0].parse().unwrap_or_else(|error| panic!("{DOCUMENT}: {line}: {error}"));
        let uses: BTreeSet<String> = names(cells[2]).into_iter().collect();
        for name in names(cells[1]) {
            table.insert(name, Row { floor, uses: uses.clone() });
        }
    }
    table
}

/// Crates of ours in a section of a crate's `Cargo.toml`, by folder name.
fn uses(name: &str, section: &str) -> BTreeSet<String> {
    let manifest = read_toml(&format!("crates/{name}/Cargo.toml"));
    let Some(section) = manifest.get(section).and_then(toml::Value::as_table) else { return BTreeSet::new() };
    section.keys().filter_map(|key| key.strip_prefix("wardroom-")).map(str::to_owned).collect()
}

#[test]
fn every_crate_is_in_the_table_and_uses_what_it_says() {
    let table = table();
    let mut problems = Vec::new();
    let listed: Vec<&String> = table.keys().collect();
    let present = crates();
    if listed != present.iter().collect::<Vec<_>>() {
        problems.push(format!("{DOCUMENT} lists {listed:?}, the folders are {present:?}"));
    }
    for (name, row) in &table {
        let actual = uses(name, "dependencies");
        if actual != row.uses {
            problems.push(format!("{name} uses {actual:?}, {DOCUMENT} says {:?}", row.uses));
        }
    }
    none(&problems);
}

#[test]
fn dependencies_point_down() {
    let table = table();
    let mut problems = Vec::new();
    for (name, row) in &table {
        for used in &row.uses {
            let below = table.get(used).is_some_and(|used| used.floor < row.floor);
            if !below {
                problems.push(format!("{name} (floor {}) uses {used}, which is not below it", row.floor));
            }
        }
    }
    none(&problems);
}

#[test]
fn what_must_not_be_known_is_not_named() {
    // (crate of ours, foreign crate that it must not depend on)
    let foreign = |name: &str| -> BTreeSet<String> {
        let manifest = read_toml(&format!("crates/{name}/Cargo.toml"));
        let section = manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        section.keys().cloned().collect()
    };
    let mut problems = Vec::new();
    for name in crates() {
        let foreign = foreign(&name);
        let mut only = |library: &str, owners: &[&str]| {
            if foreign.contains(library) && !owners.contains(&name.as_str()) {
                problems.push(format!("{name} depends on {library}, which belongs to {owners:?}"));
            }
        };
        only("rocksdb", &["store"]);
        only(
            "axum",
            &["web", "client-api", "federation-api", "admin-api", "scim-api", "fhir-api", "wardroom", "testkit"],
        );
        only("figment", &["wardroom"]);
        only("reqwest", &["outbound", "federation", "testkit"]);
    }
    if read_toml("crates/event/Cargo.toml")["dependencies"].as_table().unwrap().contains_key("tokio") {
        problems.push("event depends on tokio: it does no I/O".to_owned());
    }
    none(&problems);
}
