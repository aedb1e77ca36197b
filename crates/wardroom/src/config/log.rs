//! `[log]`

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What is worth a line: the libraries that narrate every step are quiet.
const FILTER_DEFAULT: &str = "info,ruma_state_res=warn,ruma_common=warn,hyper=warn,h2=warn,rustls=warn";

/// Logs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// Levels by target.
    pub(crate) filter: String,
    /// Lines for people or for machines.
    pub(crate) format: Format,
}

/// Form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: FILTER_DEFAULT.to_owned(), format: Format::Text }
    }
}

impl Log {
    pub(super) fn problems(&self) -> Option<String> {
        EnvFilter::try_new(&self.filter).err().map(|error| format!("log.filter: {error}"))
    }
}
