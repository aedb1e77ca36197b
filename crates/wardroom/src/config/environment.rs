//! Variables `WARDROOM_SECTION__KEY` over the file.
//!
//! Values are TOML, as in the file, except where the key holds text: there `12` is text too, and needs no quotes. That
//! is why this is not figment's own provider, which reads a number wherever it finds digits.

use std::env;

use figment::{
    Error, Metadata, Profile, Provider,
    util::nest,
    value::{Dict, Map, Value},
};

/// Name of this source in errors.
pub(super) const SOURCE: &str = "environment";

const PREFIX: &str = "WARDROOM_";

/// The access token of `wardroom admin`, which is no key.
pub(crate) const ADMIN_TOKEN: &str = "WARDROOM_ADMIN_TOKEN";

/// Keys whose values are text, whatever they look like.
const TEXT: [&str; 11] = [
    "server_name",
    "data_dir",
    "public_url",
    "master_key.file",
    "master_key.command",
    "registration.shared_secret",
    "rooms.default_version",
    "rooms.private_history",
    "push.badge",
    "log.filter",
    "log.format",
];

/// The variables that begin with `WARDROOM_`.
#[derive(Debug)]
pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    pub(super) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self::of(env::vars_os().filter_map(text))
    }

    pub(super) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |(name, value): (String, String)| {
            let key =
                name.strip_prefix(PREFIX).filter(|_| name != ADMIN_TOKEN)?.to_ascii_lowercase().replace("__", ".");
            Some((key, value))
        };
        let mut variables: Vec<_> = variables.into_iter().filter_map(ours).collect();
        variables.sort();
        Self(variables)
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(SOURCE)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut all = Dict::new();
        for (key, text) in &self.0 {
            let value = if TEXT.contains(&key.as_str()) { Value::from(unquoted(text)) } else { parsed(text) };
            if let Some(nested) = nest(key, value).into_dict() {
                merge(&mut all, nested);
            }
        }
        Ok(Profile::Default.collect(all))
    }
}

/// Quotes around a whole text are accepted, as in the file.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// The value as TOML writes it; what is no TOML is text.
fn parsed(text: &str) -> Value {
    let table = format!("value = {text}").parse::<toml::Table>().ok().filter(|table| table.len() == 1);
    let value = table.and_then(|mut table| table.remove("value"));
    value.and_then(|value| Value::serialize(value).ok()).unwrap_or_else(|| Value::from(text))
}

/// Merges `more` into `into`, key by key.
fn merge(into: &mut Dict, more: Dict) {
    for (key, value) in more {
        match (into.get_mut(&key), value) {
            (Some(Value::Dict(_, present)), Value::Dict(_, added)) => merge(present, added),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}
