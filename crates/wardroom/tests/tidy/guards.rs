//! The tests that the documentation names are there.

use crate::read;

/// The page that names them.
const PAGE: &str = "docs/guards.md";

/// The names in backticks that are paths of tests, such as `access::doors::a_test`.
fn named(page: &str) -> Vec<&str> {
    page.split('`').skip(1).step_by(2).filter(|name| name.contains("::") && !name.contains('/')).collect()
}

/// Whether a black-box test of this path is there.
fn is_there(path: &str) -> bool {
    let Some((module, test)) = path.rsplit_once("::") else { return false };
    let file = format!("crates/wardroom/tests/blackbox/{}.rs", module.replace("::", "/"));
    let root = crate::root().join(&file);
    root.exists() && {
        let source = read(&file);
        source.contains(&format!("#[test]\nfn {test}()"))
    }
}

#[test]
fn every_guard_names_a_test_that_is_there() {
    let page = read(PAGE);
    let names = named(&page);
    assert!(names.len() > 40, "{PAGE} names only {} tests", names.len());
    let missing: Vec<&str> = names.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "{PAGE} names tests that are not there: {missing:#?}");
    // Each row of its tables has one.
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---") && !line.starts_with("| guard"));
    let without: Vec<&str> = rows.filter(|row| named(row).is_empty()).collect();
    assert!(without.is_empty(), "{PAGE} has rows without a test: {without:#?}");
}
