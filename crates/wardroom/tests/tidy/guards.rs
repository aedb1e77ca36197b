//! The tests that the documentation names are there.

use crate::read;

/// The page of guards: each row of its tables has a test.
const PAGE: &str = "docs/guards.md";
/// The page that says which rule is met by what, and the heading of that part of it.
const RULES: (&str, &str) = ("docs/healthcare.md", "## Which rule is met by what");

/// The names in backticks that are paths of tests, such as `access::doors::a_test`.
fn named(page: &str) -> Vec<&str> {
    page.split('`').skip(1).step_by(2).filter(|name| name.contains("::") && !name.contains('/')).collect()
}

/// Whether a black-box test of this path is there, or one of a crate, as `rooms::retention::tests::a_test`.
fn is_there(path: &str) -> bool {
    let Some((module, test)) = path.rsplit_once("::") else { return false };
    let file = module.replace("::", "/");
    let (of_crate, rest) = file.split_once('/').unwrap_or((&file, "lib"));
    let places = [format!("crates/wardroom/tests/blackbox/{file}.rs"), format!("crates/{of_crate}/src/{rest}.rs")];
    let tests = [format!("#[test]\nfn {test}()"), format!("#[tokio::test]\nasync fn {test}()")];
    let has = |file: &String| {
        crate::root().join(file).exists() && {
            let text = read(file);
            tests.iter().any(|test| text.contains(test))
        }
    };
    places.iter().any(has)
}

/// Rows of a page's tables.
fn rows(page: &str) -> impl Iterator<Item = &str> {
    let heads = ["| ---", "| guard", "| rule"];
    page.lines().filter(move |line| line.starts_with("| ") && !heads.iter().any(|head| line.starts_with(head)))
}

/// Fails where a page names few tests, or one that is not there.
fn all_are_there(name: &str, page: &str) {
    let names = named(page);
    assert!(names.len() > 40, "{name} names only {} tests", names.len());
    let missing: Vec<&str> = names.into_iter().filter(|test| !is_there(test)).collect();
    assert!(missing.is_empty(), "{name} names tests that are not there: {missing:#?}");
}

#[test]
fn every_guard_names_a_test_that_is_there() {
    let page = read(PAGE);
    all_are_there(PAGE, &page);
    let without: Vec<&str> = rows(&page).filter(|row| named(row).is_empty()).collect();
    assert!(without.is_empty(), "{PAGE} has rows without a test: {without:#?}");
}

#[test]
fn every_rule_names_tests_that_are_there() {
    let (name, heading) = RULES;
    let page = read(name);
    let (_, section) = page.split_once(heading).unwrap_or_else(|| panic!("{name} has no {heading}"));
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    all_are_there(name, section);
    // A row without a test says in its last column who else meets the rule.
    let last = |row: &str| row.trim_end_matches(" |").rsplit('|').next().unwrap_or_default().trim().to_owned();
    let open: Vec<&str> = rows(section).filter(|row| last(row).is_empty()).collect();
    assert!(open.is_empty(), "{name} has rows without tests: {open:#?}");
}
