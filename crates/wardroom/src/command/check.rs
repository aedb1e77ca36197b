//! `wardroom check`.

use std::fmt::Write as _;

use super::{ConfigFile, Failure, print};
use crate::{keys, listeners};

pub(super) fn run(file: &ConfigFile) -> Result<(), Failure> {
    let config = file.load()?;
    let mut problems = Vec::new();
    problems.extend(keys::check(&config));
    problems.extend(listeners::check(&config.listener));
    problems.extend(config.missing_files());
    for warning in config.warnings() {
        print(&format!("note: {warning}\n"))?;
    }
    if problems.is_empty() {
        print("The configuration is good.\n")?;
        return Ok(());
    }
    let mut sentences = String::from("the configuration does not work:");
    for problem in problems {
        // Writing to a String does not fail.
        let _ = write!(sentences, "\n  {problem}");
    }
    Err(sentences.into())
}
