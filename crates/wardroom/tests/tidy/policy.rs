//! The policy of `deny.toml` for everything that is compiled, as far as it can be checked offline.

use std::{collections::BTreeMap, process::Command};

use crate::{none, read_toml, root, spdx};

/// A foreign package of the build.
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// Everything that is compiled for this machine, from the lock file.
fn packages() -> Vec<Package> {
    let args = ["tree", "--workspace", "--locked", "--offline", "--edges", "normal,build,dev", "--prefix", "none"];
    let output =
        Command::new(env!("CARGO")).args(args).args(["--format", "{p}|{l}"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (package, licence) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
        let ours = words.any(|word| word.starts_with("(/"));
        if !ours {
            let licence = licence.trim_end_matches(" (*)");
            found.insert((name.to_owned(), version.to_owned()), licence.to_owned());
        }
    }
    assert!(found.len() > 100, "the packages were not found");
    found.into_iter().map(|((name, version), licence)| Package { name, version, licence }).collect()
}

/// Strings of an array of `deny.toml`.
fn strings(value: &toml::Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// A package as cargo-deny names it: `name`, `name@version` or `name:<version`.
fn is_meant(spec: &str, package: &Package) -> bool {
    if let Some((name, version)) = spec.split_once('@') {
        return name == package.name && version == package.version;
    }
    if let Some((name, below)) = spec.split_once(":<") {
        return name == package.name && numbers(&package.version) < numbers(below);
    }
    assert!(!spec.contains([':', '=', '>', '<']), "{spec}: this test reads name, name@version and name:<version");
    spec == package.name
}

/// A version's numbers, without what follows them.
fn numbers(version: &str) -> Vec<u64> {
    let numbers = version.split(['-', '+']).next().unwrap();
    numbers.split('.').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn licences_are_allowed() {
    let policy = read_toml("deny.toml");
    let allowed = strings(&policy["licenses"]["allow"]);
    let exceptions = policy["licenses"]["exceptions"].as_array().unwrap();
    let mut problems = Vec::new();
    for package in packages() {
        let mut mine = allowed.clone();
        for exception in exceptions.iter().filter(|exception| is_meant(exception["crate"].as_str().unwrap(), &package))
        {
            mine.extend(strings(&exception["allow"]));
        }
        if !spdx::is_allowed(&package.licence, &mine) {
            problems.push(format!("{} {}: licence {:?}", package.name, package.version, package.licence));
        }
    }
    none(&problems);
}

#[test]
fn refused_packages_are_not_there() {
    let policy = read_toml("deny.toml");
    let mut problems = Vec::new();
    for refused in policy["bans"]["deny"].as_array().unwrap() {
        let (spec, reason) = (refused["crate"].as_str().unwrap(), refused["reason"].as_str().unwrap());
        let found = packages().into_iter().filter(|package| is_meant(spec, package));
        problems.extend(found.map(|package| format!("{} {}: {reason}", package.name, package.version)));
    }
    none(&problems);
}

#[test]
fn a_second_version_has_a_reason() {
    let policy = read_toml("deny.toml");
    let skipped = policy["bans"]["skip"].as_array().unwrap();
    let mut versions: BTreeMap<String, Vec<Package>> = BTreeMap::new();
    for package in packages() {
        versions.entry(package.name.clone()).or_default().push(package);
    }
    let mut problems = Vec::new();
    let mut needed = vec![false; skipped.len()];
    for (name, packages) in versions.iter().filter(|(_, packages)| packages.len() > 1) {
        let mut left = packages.len();
        for package in packages {
            let skip = skipped.iter().position(|skip| is_meant(skip["crate"].as_str().unwrap(), package));
            if let Some(index) = skip {
                needed[index] = true;
                left -= 1;
            }
        }
        if left > 1 {
            let all: Vec<&str> = packages.iter().map(|package| package.version.as_str()).collect();
            problems.push(format!("{name} is there in versions {}", all.join(", ")));
        }
    }
    for (skip, _) in skipped.iter().zip(needed).filter(|(_, needed)| !needed) {
        problems.push(format!("deny.toml: the skip of {} is not needed any more", skip["crate"]));
    }
    problems
        .extend(skipped.iter().filter(|skip| skip.get("reason").is_none()).map(|skip| format!("{skip}: no reason")));
    none(&problems);
}

#[test]
fn everything_comes_from_the_registry() {
    let lock = read_toml("Cargo.lock");
    let mut problems = Vec::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        match package.get("source").and_then(toml::Value::as_str) {
            None if name == "wardroom" || name.starts_with("wardroom-") => {}
            Some("registry+https://github.com/rust-lang/crates.io-index") => {}
            source => problems.push(format!("{name} comes from {source:?}")),
        }
    }
    none(&problems);
}
