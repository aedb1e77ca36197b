//! Keeps the house: what a compiler does not check and a reviewer should not have to.
//!
//! Each check lists everything that is wrong, with its place. An exception is a named waiver with a reason in
//! [`waivers`], never a silent one.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod acts;
mod dependencies;
mod floors;
mod guards;
mod policy;
mod sources;
mod spdx;
mod waivers;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A file of the repository.
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A TOML file of the repository.
fn read_toml(path: &str) -> toml::Table {
    read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Names of the folders under `crates/`, sorted.
fn crates() -> Vec<String> {
    let folders = fs::read_dir(root().join("crates")).unwrap();
    let mut names: Vec<String> = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Files below a folder whose names end so, as paths from the top, sorted. Build output and installed packages are
/// passed by.
fn files(folder: &str, ends: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                if !["target", "node_modules", "data"].contains(&name.as_str())
                    && (!name.starts_with('.') || name == ".ci")
                {
                    waiting.push(entry.path());
                }
            } else if ends.iter().any(|end| name.ends_with(end)) {
                found.push(entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Fails with everything that is wrong.
#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n  {}", problems.len(), problems.join("\n  "));
}
