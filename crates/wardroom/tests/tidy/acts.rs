//! Each act of the audit trail is told of, has its codes checked by others' programs, and is made by a test.

use std::collections::BTreeSet;

use wardroom_audit::Act;

use crate::{files, read};

/// The page that tells what is recorded.
const PAGE: &str = "docs/healthcare.md";
/// What validators of others hold against every act.
const CATALOGUE: &str = "tests/atna/catalogue.py";
/// Tests over HTTP.
const BLACKBOX: &str = "crates/wardroom/tests/blackbox";
/// Made by a test of a crate, since it takes a clock that jumps: the file.
const ELSEWHERE: &[(Act, &str)] = &[(Act::RetentionShred, "crates/rooms/src/retention/tests/records.rs")];

/// Those that a text does not have between these two.
fn missing(text: &str, before: &str, behind: &str) -> Vec<&'static str> {
    let words = Act::ALL.iter().map(|act| act.word());
    words.filter(|word| !text.contains(&format!("{before}{word}{behind}"))).collect()
}

#[test]
fn every_act_has_its_codes_in_the_documentation() {
    let page = read(PAGE);
    let rows: String = page.lines().filter(|line| line.starts_with("| `")).collect();
    let missing = missing(&rows, "`", "`");
    assert!(missing.is_empty(), "{PAGE} has no row of {missing:?}");
}

#[test]
fn every_act_is_shown_to_validators_of_others() {
    let catalogue = read(CATALOGUE);
    let words: BTreeSet<&str> = catalogue.split(['"', ' ']).collect();
    let missing: Vec<&str> = Act::ALL.iter().map(|act| act.word()).filter(|word| !words.contains(word)).collect();
    assert!(missing.is_empty(), "{CATALOGUE} has no row of {missing:?}");
}

#[test]
fn every_act_is_made_by_a_test() {
    let tests: String = files(BLACKBOX, &[".rs"]).iter().map(|file| read(file)).collect();
    let mut missing = missing(&tests, "\"", "\"");
    for (act, file) in ELSEWHERE {
        let name = format!("Act::{act:?}");
        assert!(read(file).contains(&name), "{file} has no {name}");
        missing.retain(|word| *word != act.word());
    }
    assert!(missing.is_empty(), "no test names {missing:?}");
}
