//! `[master_key]`

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the key comes from under which everything is sealed: a file or a command, not both.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MasterKeyConfig {
    /// A file with 32 bytes in base64, made on first start.
    pub(crate) file: Option<PathBuf>,
    /// A shell command that prints 32 bytes in base64.
    pub(crate) command: Option<String>,
}

/// The one source that is used.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    File(PathBuf),
    Command(&'a str),
}

impl MasterKeyConfig {
    /// The source; a file in the data directory if nothing is said.
    pub(crate) fn source(&self, data_dir: &Path) -> Source<'_> {
        match (&self.command, &self.file) {
            (Some(command), _) => Source::Command(command),
            (None, Some(file)) => Source::File(file.clone()),
            (None, None) => Source::File(data_dir.join("master.key")),
        }
    }

    pub(super) fn problems(&self) -> Option<String> {
        let both = self.file.is_some() && self.command.is_some();
        both.then(|| "master_key: file and command are both given, one is enough".to_owned())
    }
}
