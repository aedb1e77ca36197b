//! The dependencies of the workspace: each with a reason, each used.

use crate::{crates, files, none, read, read_toml};

#[test]
fn every_dependency_has_a_reason() {
    let text = read("Cargo.toml");
    let section = text.split("\n[workspace.dependencies]\n").nth(1).expect("the section is there");
    let mut problems = Vec::new();
    let mut reason = false;
    for line in section.lines().take_while(|line| !line.starts_with('[')) {
        let is_dependency = line.split_once(" = ").is_some_and(|(name, _)| !name.contains([' ', '#', '"']));
        if is_dependency {
            if !reason && !line.contains("path = \"crates/") {
                problems.push(format!("Cargo.toml: no comment above `{line}`"));
            }
            reason = false;
        } else if line.starts_with('#') {
            reason = true;
        } else if line.is_empty() {
            reason = false;
        }
    }
    none(&problems);
}

#[test]
fn every_dependency_is_used() {
    let mut problems = Vec::new();
    let mut used = std::collections::BTreeSet::new();
    for name in crates() {
        let manifest = read_toml(&format!("crates/{name}/Cargo.toml"));
        let places = [("dependencies", &["src"][..]), ("dev-dependencies", &["src", "tests", "examples", "benches"])];
        for (section, folders) in places {
            let folders = folders.iter().map(|folder| format!("crates/{name}/{folder}"));
            let sources: Vec<String> =
                folders.flat_map(|folder| files(&folder, &[".rs"])).map(|path| read(&path)).collect();
            let Some(section) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for dependency in section.keys() {
                used.insert(dependency.clone());
                let import = dependency.replace('-', "_");
                if !sources.iter().any(|source| names(source, &import)) {
                    problems.push(format!("{name} does not use {dependency}"));
                }
            }
        }
    }
    let workspace = read_toml("Cargo.toml");
    let all = workspace["workspace"]["dependencies"].as_table().unwrap();
    problems.extend(all.keys().filter(|name| !used.contains(*name)).map(|name| format!("nobody uses {name}")));
    none(&problems);
}

/// Whether the word stands in the text.
fn names(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

#[test]
fn crates_take_versions_and_lints_from_the_workspace() {
    let mut problems = Vec::new();
    for name in crates() {
        let path = format!("crates/{name}/Cargo.toml");
        let manifest = read_toml(&path);
        if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&toml::Value::Boolean(true)) {
            problems.push(format!("{path}: [lints] workspace = true is missing"));
        }
        let expected = if name == "wardroom" { name.clone() } else { format!("wardroom-{name}") };
        if manifest["package"]["name"].as_str() != Some(&expected) {
            problems.push(format!("{path}: the package is not called {expected}"));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(section) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for (dependency, value) in section {
                if value.get("workspace") != Some(&toml::Value::Boolean(true)) {
                    problems.push(format!("{path}: {dependency} does not come from the workspace"));
                }
            }
        }
    }
    none(&problems);
}
