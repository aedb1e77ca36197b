//! Errors in full sentences.

use std::{error::Error, fmt::Write as _};

/// An error and what caused it, in one line.
pub(crate) fn in_full(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // Writing to a String does not fail.
        let _ = write!(sentence, ": {cause}");
        next = cause.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use super::in_full;
    use crate::keys::KeyError;

    #[test]
    fn every_cause_is_told_once() {
        let source = io::Error::other("the cause");
        let error = KeyError::File { path: PathBuf::from("x"), source };
        assert_eq!(in_full(&error), "master_key.file x: the cause");
    }
}
